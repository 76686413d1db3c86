// browser.js - uses the page of sample.timeline and sample.pb.gz; test_report.sh
// adds it to that page.
"use strict";

const wrong = [];

function check(what, got, wanted) {
    if (JSON.stringify(got) !== JSON.stringify(wanted))
        wrong.push(`${what}: ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
}

const frames = () => [...at("graph").children].map(f => f.node.name.split(/[<( ]/)[0]);
const focused = () => document.activeElement.node &&
    document.activeElement.node.name.split(/[<( ]/)[0];
const press = key => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
const click = (id, text) => [...at(id).querySelectorAll("button")].find(
    button => button.textContent.startsWith(text)).click();
const all = ["all", "main", "serve", "parse", "cache_put", "load"];

function checkFlame() {
    check("frames", frames(), all);
    check("stops of Tab", [...at("graph").children].filter(f => f.tabIndex === 0)
        .length, 1);
    at("graph").children[0].focus();
    ["ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight"].forEach(press);
    check("right of parse", focused(), "cache_put");
    ["ArrowUp", "ArrowRight"].forEach(press);
    check("right of serve", focused(), "load");
    press("ArrowLeft");
    document.activeElement.click();
    check("serve alone", frames(), all.slice(0, 5));
    check("its text", at("flame-text").textContent.includes("90.9 % of all"), true);
    check("focus stays", focused(), "serve");
    press("Escape");
    press("Escape");
    check("all again", [frames(), at("zoom-out").disabled], [all, true]);
    click("views", "Overhead");
    check("overhead", at("flame-text").textContent, "4.07 MiB overhead.");
    click("views", "In use");
    at("search").value = "CACHE";
    at("search").dispatchEvent(new Event("input"));
    check("found", [...document.querySelectorAll(".hit")].length, 1);
    check("bytes found", /: 1, 10.0 MiB/.test(at("flame-text").textContent), true);
}

function checkChart() {
    at("zoom-from").value = 500;
    at("zoom-from").dispatchEvent(new Event("input"));
    check("part of the time", at("zoom-text").value, "30.0 s to 1 min 00 s");
    check("its axis", chart.scales.x.min, 30000);
    at("zoom-all").click();
    check("whole time", chart.scales.x.min, 0);
    click("legend", "live");
    check("a line is hidden", chart.isDatasetVisible(1), false);
    check("its button", at("legend").children[1].getAttribute("aria-pressed"),
          "false");
}

function checkColumns() {
    const table = document.querySelector(".sites");
    const first = () => table.tBodies[0].rows[0].cells[0].textContent.slice(0, 5);
    table.querySelectorAll("th button")[3].click();
    check("most in use first", first(), "parse");
    table.querySelectorAll("th button")[3].click();
    check("least in use first", first(), "load");
}

try {
    checkFlame();
    checkChart();
    checkColumns();
} catch (error) {
    wrong.push(String(error));
}
document.body.dataset.wrong = wrong.join("; ");
