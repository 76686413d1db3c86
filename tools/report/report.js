// report.js - draws what the tables of the page of hakctl report have: memory
// over time, and the flame graph. page.js is in front of it.
"use strict";

// ---- figures in words -------------------------------------------------------

// Ticks of an axis: 1:30 or 2:05:00.
function clockText(ms, step) {
    const s = ms / 1000;
    const two = n => String(n).padStart(2, "0");
    if (data.duration_ms < 60000)
        return +s.toFixed(step < 1000 ? 1 : 0) + " s";
    const minutes = Math.floor(s / 60) % 60, hours = Math.floor(s / 3600);
    const rest = two(Math.round(s % 60));
    return hours > 0 ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

const shareText = (part, whole) =>
    whole > 0 ? (100 * part / whole).toFixed(1) + " %" : "0 %";

// ---- memory over time -------------------------------------------------------

const areaColours = ["--live", "--pages", "--caches", "--rounding", "--meta",
                     "--purge", "--files", "--other"];
const dirtyName = "waiting for purge";

// A fill with strokes, each area its own, so that it is known without colour.
function pattern(base, kind) {
    const size = 8, tile = make("canvas", {width: size, height: size});
    const c = tile.getContext("2d");
    c.fillStyle = base;
    c.fillRect(0, 0, size, size);
    c.strokeStyle = c.fillStyle = dark.matches ? "#00000055" : "#ffffff88";
    c.lineWidth = 1.5;
    c.beginPath();
    if (kind === 1) { c.moveTo(0, 8); c.lineTo(8, 0); }
    if (kind === 2) { c.moveTo(0, 0); c.lineTo(8, 8); }
    if (kind === 3) { c.moveTo(0, 4); c.lineTo(8, 4); }
    if (kind === 4) { c.moveTo(4, 0); c.lineTo(4, 8); }
    if (kind === 5) { c.arc(4, 4, 1.6, 0, 7); c.fill(); }
    c.stroke();
    return c.createPattern(tile, "repeat");
}

function area(label, i, value) {
    const base = colour(areaColours[i % areaColours.length]);
    return {label, fill: i === 0 ? "origin" : "-1", stack: "mapped",
            backgroundColor: pattern(base, i % 6), borderColor: base,
            borderWidth: 1, data: data.time.map(row => ({x: row.t, y: value(row)}))};
}

function line(label, key, width, dash) {
    return {label, fill: false, stack: key, borderColor: colour("--text"),
            borderWidth: width, borderDash: dash,
            data: data.time.map(row => ({x: row.t, y: row[key]}))};
}

function datasets() {
    const areas = data.boxes.map((name, i) =>
        area("mapped by " + name, i, row => row.boxes[i]));
    areas.push(area(dirtyName, data.boxes.length, row => row.dirty));
    // The first is drawn last, on top.
    return [line("RSS", "rss", 2.5, []), line("live", "live", 2, [6, 4]),
            ...areas];
}

// Events are dashed lines with the number that the list has. A number that
// would stand on the one before is left out.
const eventLines = {
    id: "events",
    afterDatasetsDraw(chart) {
        const c = chart.ctx, {left, right, top, bottom} = chart.chartArea;
        let last = -Infinity;
        c.save();
        c.strokeStyle = c.fillStyle = colour("--text");
        c.font = "600 11px sans-serif";
        c.textAlign = "center";
        c.lineWidth = 1;
        for (const event of data.events) {
            const x = Math.round(chart.scales.x.getPixelForValue(event.t)) + .5;
            if (x < left || x > right)
                continue;
            c.setLineDash([2, 3]);
            c.beginPath();
            c.moveTo(x, top);
            c.lineTo(x, bottom);
            c.stroke();
            if (x - last < 18)
                continue;
            last = x;
            c.fillText(event.number, x, top - 5);
        }
        c.restore();
    },
};

function axes() {
    const most = Math.max(...data.time.map(
        row => Math.max(row.rss, row.live,
                        row.dirty + row.boxes.reduce((a, b) => a + b, 0))));
    const text = {color: colour("--quiet")}, grid = {color: colour("--line")};
    return {
        x: {type: "linear", min: 0, max: data.time[data.time.length - 1].t, grid,
            ticks: {...text, maxRotation: 0, autoSkipPadding: 24, includeBounds: false,
                    callback: (v, i, all) =>
                        clockText(v, all.length > 1 ? all[1].value - all[0].value : 0)}},
        y: {stacked: true, beginAtZero: true, grid,
            ticks: {...text, stepSize: bytesStep(most),
                    callback: v => bytesText(v).replace(/\.0+ /, " ")}},
    };
}

function chartOptions() {
    return {
        animation: false, maintainAspectRatio: false, parsing: false,
        normalized: true, layout: {padding: {top: 16}},
        interaction: {mode: "index", intersect: false, axis: "x"},
        elements: {point: {radius: 0, hoverRadius: 3}, line: {tension: 0}},
        scales: axes(),
        plugins: {
            legend: {display: false},
            tooltip: {
                callbacks: {
                    title: items => items.length ? timeText(items[0].raw.x) : "",
                    label: item => ` ${item.dataset.label}: ${bytesText(item.raw.y)}`,
                },
            },
        },
    };
}

function drawChart() {
    if (chart)
        chart.destroy();
    chart = new Chart(at("time-chart"), {
        type: "line", data: {datasets: datasets()}, options: chartOptions(),
        plugins: [eventLines],
    });
    drawLegend();
    zoomChart();
}

function zoomChart() {
    const all = data.time[data.time.length - 1].t;
    const ends = [at("zoom-from"), at("zoom-to")].map(e => e.value / 1000 * all);
    const from = Math.min(...ends), to = Math.max(...ends, from + all / 1000);
    chart.options.scales.x.min = from;
    chart.options.scales.x.max = to;
    chart.update();
    at("zoom-text").value = `${timeText(from)} to ${timeText(to)}`;
}

// A drag over the chart shows the part of the time that it covers.
function zoomByDrag(canvas) {
    const all = data.time[data.time.length - 1].t;
    let start = null;
    const time = e => {
        const x = e.clientX - canvas.getBoundingClientRect().left;
        return Math.min(Math.max(chart.scales.x.getValueForPixel(x), 0), all);
    };
    canvas.onpointerdown = e => { start = e; };
    canvas.onpointerup = e => {
        if (start && Math.abs(e.clientX - start.clientX) > 8) {
            at("zoom-from").value = Math.min(time(start), time(e)) / all * 1000;
            at("zoom-to").value = Math.max(time(start), time(e)) / all * 1000;
            zoomChart();
        }
        start = null;
    };
}

function summary() {
    const rows = data.time, last = rows[rows.length - 1];
    const peak = rows.reduce((a, b) => b.rss > a.rss ? b : a);
    return `Memory over ${timeText(last.t)}. RSS was highest after ` +
        `${timeText(peak.t)} with ${bytesText(peak.rss)}, of which ` +
        `${bytesText(peak.live)} were live, and ${bytesText(last.rss)} at the ` +
        `end. ${data.events.length} events. The table below has all figures.`;
}

function startChart() {
    if (typeof Chart === "undefined" || data.time.length < 2) {
        at("no-charts").hidden = typeof Chart !== "undefined";
        return;
    }
    at("time").querySelector(".script").hidden = false;
    at("credit").hidden = false;
    at("time-chart").setAttribute("aria-label", summary());
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    at("zoom-from").oninput = at("zoom-to").oninput = zoomChart;
    at("zoom-all").onclick = () => {
        at("zoom-from").value = 0;
        at("zoom-to").value = 1000;
        zoomChart();
    };
    zoomByDrag(at("time-chart"));
    drawChart();
    dark.addEventListener("change", drawChart);
}

// ---- the flame graph --------------------------------------------------------

const views = ["In use", "At the peak", "Allocated", "Overhead"];
const flame = {root: null, zoom: null, focus: null, view: 0, word: ""};
const rowHeight = 22, narrowest = 5; // pixels

// [name, in use, peak, allocated, overhead, children] as objects.
function nodeOf(raw, parent) {
    const node = {name: data.profile.names[raw[0]], bytes: raw.slice(1, 5), parent,
                  depth: parent ? parent.depth + 1 : 0};
    node.children = raw[5].map(child => nodeOf(child, node));
    return node;
}

const bytesOf = node => node.bytes[flame.view];
const isHit = node => flame.word !== "" && node.depth > 0 &&
    node.name.toLowerCase().includes(flame.word);

// The library of "f (libc.so.6)" and of "libc.so.6+0x12".
function libraryOf(node) {
    const found = /\(([^()]*)\)$|^(.*)\+0x[0-9a-f]+$/.exec(node.name);
    return found ? found[1] || found[2] : "";
}

// A colour of four for a library, so that calls into another one are seen.
function shade(node) {
    let sum = 0;
    for (const c of libraryOf(node))
        sum = (sum * 31 + c.charCodeAt(0)) >>> 0;
    return "f" + sum % 4;
}

// A frame names its library only if its caller is in another one.
function labelOf(node) {
    const same = node.parent && libraryOf(node.parent) === libraryOf(node);
    return same ? node.name.replace(/ \([^()]*\)$/, "") : node.name;
}

function describe(node) {
    return `${node.name}: ${bytesText(bytesOf(node))}, ` +
        `${shareText(bytesOf(node), bytesOf(flame.root))} of all`;
}

function addFrame(graph, node, x, width, above) {
    const frame = make("button", {
        type: "button", title: describe(node), tabIndex: -1,
        textContent: width > 24 ? labelOf(node) : "",
        className: `${shade(node)}${width > 24 ? "" : " thin"}` +
            `${above ? " above" : ""}${isHit(node) ? " hit" : ""}`,
    });
    frame.style.left = x + "px";
    frame.style.top = node.depth * rowHeight + "px";
    frame.style.width = Math.max(width, 1) + "px";
    frame.setAttribute("role", "treeitem");
    frame.setAttribute("aria-level", node.depth + 1);
    frame.setAttribute("aria-label", describe(node));
    frame.node = node;
    node.frame = frame;
    graph.append(frame);
}

function addChildren(graph, parent, x, width) {
    const order = [...parent.children].sort((a, b) => bytesOf(b) - bytesOf(a));
    let deepest = parent.depth;
    for (const node of order) {
        const part = bytesOf(parent) > 0 ? width * bytesOf(node) / bytesOf(parent) : 0;
        if (part < narrowest)
            break;
        addFrame(graph, node, x, part, false);
        deepest = Math.max(deepest, addChildren(graph, node, x, part));
        x += part;
    }
    return deepest;
}

function forget(node) {
    node.frame = null;
    node.children.forEach(forget);
}

function tell(hits) {
    const zoom = flame.zoom;
    let text = `${bytesText(bytesOf(zoom))} ${views[flame.view].toLowerCase()}`;
    if (zoom !== flame.root)
        text = `${zoom.name}: ${text}, ` +
            `${shareText(bytesOf(zoom), bytesOf(flame.root))} of all`;
    if (flame.word !== "")
        text += `. Functions with "${flame.word}": ${hits.count}, ` +
            `${bytesText(hits.bytes)} (${shareText(hits.bytes, bytesOf(zoom))})`;
    at("flame-text").textContent = text + ".";
}

// The bytes below the outermost functions that match, each byte once.
function hitsOf(node, inside) {
    const hit = isHit(node);
    const sum = {count: hit ? 1 : 0, bytes: hit && !inside ? bytesOf(node) : 0};
    for (const child of node.children) {
        const more = hitsOf(child, inside || hit);
        sum.count += more.count;
        sum.bytes += more.bytes;
    }
    return sum;
}

function drawFlame() {
    const graph = at("graph"), width = graph.clientWidth;
    const callers = [];
    for (let node = flame.zoom; node; node = node.parent)
        callers.unshift(node);
    forget(flame.root);
    graph.replaceChildren();
    for (const node of callers)
        addFrame(graph, node, 0, width, node !== flame.zoom);
    const deepest = addChildren(graph, flame.zoom, 0, width);
    graph.style.height = (deepest + 1) * rowHeight + "px";
    at("zoom-out").disabled = flame.zoom === flame.root;
    if (!flame.focus || !flame.focus.frame)
        flame.focus = flame.zoom;
    flame.focus.frame.tabIndex = 0;
    tell(hitsOf(flame.zoom, false));
}

function zoomTo(node) {
    const inside = at("graph").contains(document.activeElement);
    flame.zoom = flame.focus = node;
    drawFlame();
    if (inside)
        flame.focus.frame.focus();
}

function moveTo(node) {
    if (!node || !node.frame)
        return;
    flame.focus.frame.tabIndex = -1;
    flame.focus = node;
    node.frame.tabIndex = 0;
    node.frame.focus();
}

function neighbour(node, step) {
    const row = [...at("graph").children].filter(f => f.node.depth === node.depth);
    const next = row[row.indexOf(node.frame) + step];
    return next ? next.node : null;
}

function flameKey(event) {
    const node = event.target.node;
    if (!node)
        return;
    const moves = {
        ArrowUp: () => node.parent,
        ArrowDown: () => node.children.filter(child => child.frame)
            .sort((a, b) => bytesOf(b) - bytesOf(a))[0],
        ArrowLeft: () => neighbour(node, -1),
        ArrowRight: () => neighbour(node, 1),
        Home: () => flame.root,
    };
    if (event.key === "Escape")
        zoomTo(flame.zoom.parent || flame.root);
    else if (moves[event.key])
        moveTo(moves[event.key]());
    else
        return;
    event.preventDefault();
}

function showView(i) {
    flame.view = i;
    [...at("views").children].forEach(
        (button, k) => button.setAttribute("aria-pressed", k === i));
    drawFlame();
}

function startFlame() {
    if (!data.profile)
        return;
    at("flame-tools").hidden = false;
    flame.root = flame.zoom = nodeOf(data.profile.tree, null);
    at("views").append(...views.map((name, i) => {
        const button = make("button", {type: "button", textContent: name});
        button.onclick = () => showView(i);
        return button;
    }));
    at("graph").onclick = e => e.target.node && zoomTo(e.target.node);
    at("graph").onkeydown = flameKey;
    at("zoom-out").onclick = () => zoomTo(flame.zoom.parent || flame.root);
    at("search").oninput = e => {
        flame.word = e.target.value.trim().toLowerCase();
        drawFlame();
    };
    at("search").onkeydown = e => {
        if (e.key === "Escape" && flame.zoom.parent)
            zoomTo(flame.zoom.parent);
    };
    // Most programs have freed nearly all at their end.
    const [inUse, peak] = data.profile.tree.slice(1, 3);
    showView(inUse * 10 < peak ? 1 : 0);
    new ResizeObserver(drawFlame).observe(at("graph"));
}

// ---- tables -----------------------------------------------------------------

// The columns of call sites sort by a click on their heads.
function sortBy(table, column, head) {
    const down = head.getAttribute("aria-sort") !== "descending";
    const value = row => {
        const cell = row.cells[column], figure = cell.querySelector("data");
        return figure ? Number(figure.value) : cell.textContent;
    };
    const compare = (a, b) => {
        const x = value(a), y = value(b);
        return typeof x === "number" ? x - y : x.localeCompare(y);
    };
    for (const other of table.tHead.rows[0].cells)
        other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(
        (a, b) => down ? compare(b, a) : compare(a, b)));
}

function startTables() {
    for (const table of document.querySelectorAll("table.sites"))
        [...table.tHead.rows[0].cells].forEach((head, i) => {
            const button = make("button", {type: "button",
                                           textContent: head.textContent});
            button.onclick = () => sortBy(table, i, head);
            head.replaceChildren(button);
        });
}

startTables();
startChart();
startFlame();
