// page.js - what the scripts of pages share. All figures come from the element
// #data.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const at = id => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");

function make(tag, members, ...children) {
    const element = Object.assign(document.createElement(tag), members);
    element.append(...children);
    return element;
}

// ---- figures in words -------------------------------------------------------

function bytesText(n) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let i = 0;
    for (; n >= 1024 && i + 1 < units.length; i++)
        n /= 1024;
    return n.toFixed(i === 0 || n >= 100 ? 0 : n >= 10 ? 1 : 2) + " " + units[i];
}

function timeText(ms) {
    const two = n => String(n).padStart(2, "0");
    const s = Math.floor(ms / 1000);
    if (ms < 60000)
        return (Math.floor(ms / 100) / 10).toFixed(1) + " s";
    if (s < 3600)
        return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
    return `${Math.floor(s / 3600)} h ${two(Math.floor(s % 3600 / 60))} min`;
}

const colour = name =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// ---- charts -----------------------------------------------------------------

// A step of 1, 2 or 5 times a power of ten of a binary unit.
function bytesStep(most) {
    const unit = 1024 ** Math.floor(Math.log2(Math.max(most, 1)) / 10);
    const rough = most / unit / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find(n => n * power >= rough) * power;
    return step * unit;
}

let chart = null;

function swatch(set) {
    const box = make("canvas", {width: 22, height: 12});
    const c = box.getContext("2d");
    if (set.fill) {
        c.fillStyle = set.backgroundColor;
        c.fillRect(0, 0, 22, 12);
    } else {
        c.strokeStyle = set.borderColor;
        c.lineWidth = set.borderWidth;
        c.setLineDash(set.borderDash);
        c.moveTo(0, 6);
        c.lineTo(22, 6);
        c.stroke();
    }
    box.setAttribute("aria-hidden", "true");
    return box;
}

function drawLegend() {
    const hidden = [...at("legend").children].map(
        button => button.getAttribute("aria-pressed") === "false");
    at("legend").replaceChildren(...chart.data.datasets.map((set, i) => {
        const button = make("button", {type: "button"}, swatch(set), set.label);
        const show = on => {
            button.setAttribute("aria-pressed", on);
            chart.setDatasetVisibility(i, on);
        };
        button.onclick = () => {
            show(!chart.isDatasetVisible(i));
            chart.update();
        };
        show(!hidden[i]);
        return button;
    }));
}

