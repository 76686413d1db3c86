// replay.js - draws memory over the trace for the page of hakctl replay. page.js
// is in front of it.
"use strict";

const rows = data.curve;
const lineColours = ["--live", "--meta", "--caches", "--purge", "--pages",
                     "--rounding", "--files", "--text"];
const dashes = [[], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 4]];
let axis = "call";

function curve(label, value, members) {
    return {label, fill: false, borderWidth: 2, borderDash: [],
            data: rows.map(row => ({x: row[axis], y: value(row)}))
                      .filter(point => point.y !== null), ...members};
}

function datasets() {
    const sets = data.contenders.map((contender, i) => curve(
        contender.name, row => row.rss[i],
        {borderColor: colour(lineColours[i % lineColours.length]),
         borderDash: dashes[i % dashes.length]}));
    sets.push(curve("live bytes", row => row.live,
                    {fill: "origin", borderWidth: 1, borderColor: colour("--other"),
                     backgroundColor: colour("--purged")}));
    if (rows.some(row => row.recorded !== null))
        sets.push(curve("the recorded process in all", row => row.recorded,
                        {borderWidth: 1, borderColor: colour("--quiet"),
                         borderDash: [1, 3]}));
    return sets;
}

const callsText = n => n.toLocaleString("en").replaceAll(",", "\u202f") + " calls";
const axisText = n => axis === "call" ? callsText(n) : timeText(n);

function axes(sets) {
    const most = Math.max(...sets.flatMap(set => set.data.map(point => point.y)));
    const text = {color: colour("--quiet")}, grid = {color: colour("--line")};
    return {
        x: {type: "linear", min: rows[0][axis], max: rows[rows.length - 1][axis], grid,
            ticks: {...text, maxRotation: 0, autoSkipPadding: 24,
                    includeBounds: false, callback: axisText}},
        y: {beginAtZero: true, grid,
            ticks: {...text, stepSize: bytesStep(most),
                    callback: v => bytesText(v).replace(/\.0+ /, " ")}},
    };
}

function drawChart() {
    const sets = datasets();
    if (chart)
        chart.destroy();
    chart = new Chart(at("curve-chart"), {
        type: "line", data: {datasets: sets},
        options: {
            animation: false, maintainAspectRatio: false, parsing: false,
            normalized: true, scales: axes(sets),
            interaction: {mode: "index", intersect: false, axis: "x"},
            elements: {point: {radius: 0, hoverRadius: 3}, line: {tension: 0}},
            plugins: {
                legend: {display: false},
                tooltip: {callbacks: {
                    title: items => items.length ? axisText(items[0].raw.x) : "",
                    label: item => ` ${item.dataset.label}: ${bytesText(item.raw.y)}`,
                }},
            },
        },
    });
    drawLegend();
}

function summary() {
    const peaks = data.contenders.map((contender, i) => {
        const peak = rows.reduce((a, b) => b.rss[i] > a.rss[i] ? b : a);
        return `${contender.name} has at most ${bytesText(peak.rss[i])}`;
    });
    return `Memory over the trace. ${peaks.join(", ")}. The table below has all ` +
        "figures.";
}

function startAxis() {
    const buttons = [...at("axis").children];
    for (const button of buttons)
        button.onclick = () => {
            axis = button.dataset.axis;
            for (const other of buttons)
                other.setAttribute("aria-pressed", other === button);
            drawChart();
        };
    at("axis").hidden = rows[rows.length - 1].t === rows[0].t;
}

function startChart() {
    if (typeof Chart === "undefined" || rows.length < 2) {
        at("no-charts").hidden = typeof Chart !== "undefined";
        return;
    }
    at("curve").querySelector(".script").hidden = false;
    at("credit").hidden = false;
    at("curve-chart").setAttribute("aria-label", summary());
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    startAxis();
    drawChart();
    dark.addEventListener("change", drawChart);
}

startChart();
