#!/usr/bin/env python3
"""plot.py - draws pictures of a bench.json and puts them beside it.

usage: plot.py [build/bench/bench.json]

bench.svg and bench.png have the geometric means and each row's ratios,
growth.svg and growth.png the curves. Needs matplotlib (Debian:
python3-matplotlib).
"""
import json
import os
import sys

# Colours that colour-blind people can tell apart (Okabe and Ito, 2008).
COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9",
           "#999999"]
MARKS = "osD^vPX"
BASE_COLOUR = "#000000"


def style(names, base):
    out = {base: {"color": BASE_COLOUR, "marker": "o"}}
    for i, name in enumerate(n for n in names if n != base):
        out[name] = {"color": COLOURS[i % len(COLOURS)],
                     "marker": MARKS[i % len(MARKS)]}
    return out


def save(figure, folder, name):
    for kind in ("svg", "png"):
        path = os.path.join(folder, f"{name}.{kind}")
        figure.savefig(path, dpi=110, facecolor="white", bbox_inches="tight")
        print(f"bench: {os.path.relpath(path)}", file=sys.stderr)


def ratio_axis(axes, values):
    """An axis of multiples of hakmem's figure, logarithmic, around 1."""
    axes.set_xscale("log")
    least, most = min([0.5, *values]) * 0.9, max([2, *values]) * 1.1
    axes.set_xlim(least, most)
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
             if least <= t <= most]
    axes.set_xticks(ticks, [f"{t:g}x" for t in ticks])
    axes.minorticks_off()
    axes.axvline(1, color=BASE_COLOUR, linewidth=1)
    axes.grid(axis="x", alpha=0.3)


def bars(axes, data, looks):
    """Draw the geometric means over all groups: time, peak RSS, faults."""
    kinds = [("time", "time"), ("rss_bytes", "peak RSS"),
             ("faults", "minor faults")]
    peers = data["peers"]
    height = 0.8 / len(peers)
    shown = []
    for k, (what, _) in enumerate(kinds):
        for i, name in enumerate(peers):
            value = data["means"][what]["all groups"].get(name)
            if value is None:
                continue
            y = k + (i - (len(peers) - 1) / 2) * height
            axes.barh(y, value - 1, height * 0.9, left=1,
                      color=looks[name]["color"])
            axes.annotate(f"{value:.2f}", (value, y), fontsize=7, va="center",
                          xytext=(3 if value >= 1 else -3, 0),
                          textcoords="offset points",
                          ha="left" if value >= 1 else "right")
            shown.append(value)
    axes.margins(y=0.02)
    axes.set_yticks(range(len(kinds)), [title for _, title in kinds])
    axes.invert_yaxis()
    ratio_axis(axes, [v * w for v in shown for w in (0.85, 1.15)])
    axes.set_title("Geometric means of all groups: multiples of hakmem's, "
                   "right of the line hakmem takes less", fontsize=9,
                   loc="left")


def dots(axes, data, looks):
    """Draw each row's ratios of time."""
    rows, labels, group, shown = data["rows"], [], None, []
    for y, row in enumerate(rows):
        mine = row["time_ns"].get(data["base"])
        if row["group"] != group:
            axes.axhline(y - 0.5, color="#888888", linewidth=0.6)
        group = row["group"]
        labels.append(row["name"])
        for name in data["peers"]:
            if mine and name in row["time_ns"]:
                shown.append(row["time_ns"][name] / mine)
                axes.plot(shown[-1], y, markersize=4, linestyle="",
                          **looks[name])
    axes.set_yticks(range(len(rows)), labels, fontsize=7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", alpha=0.15)
    ratio_axis(axes, shown)
    axes.set_title("Time of each row, in multiples of hakmem's", fontsize=9,
                   loc="left")


def about(data):
    machine = data["machine"]
    return (f"{machine['processor']}, {machine['cores']} cores; medians; "
            f"rounds: {data['rounds']}; {machine['packages']}")


def draw_rows(plt, data, folder):
    looks = style(data["peers"], data["base"])
    bar_inches = 0.6 + 0.14 * 3 * len(data["peers"])
    row_inches = 0.6 + 0.14 * len(data["rows"])
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(9, bar_inches + row_inches + 0.6), layout="constrained",
        gridspec_kw={"height_ratios": [bar_inches, row_inches]})
    bars(top, data, looks)
    dots(bottom, data, looks)
    handles = [plt.Line2D([], [], linestyle="", label=name, **looks[name])
               for name in data["peers"]]
    top.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.08),
               ncols=len(handles), fontsize=8, frameon=False)
    figure.text(0, -0.005, about(data), fontsize=6, va="top", wrap=True)
    save(figure, folder, "bench")


def draw_curves(plt, data, folder):
    curves = {}
    for row in data["curves"]:
        curves.setdefault(row["curve"], []).append(row)
    across = min(2, len(curves))
    down = (len(curves) + across - 1) // across
    figure, grid = plt.subplots(down, across, squeeze=False,
                                figsize=(4.6 * across, 3.2 * down),
                                layout="constrained")
    for axes, (curve, rows) in zip(grid.flat, curves.items()):
        names = list(dict.fromkeys(n for r in rows for n in r["time_ns"]))
        looks = style(names, data["base"])
        for name in names:
            at = [(r["x"], r["time_ns"][name]) for r in rows
                  if name in r["time_ns"]]
            axes.plot(*zip(*at), markersize=4, linewidth=1.2, label=name,
                      **looks[name])
        axes.set_xscale("log", base=2 if curve != "live heap, MiB" else 10)
        ticks = [r["x"] for r in rows]
        axes.set_xticks(ticks, [str(t) for t in ticks], fontsize=7)
        axes.minorticks_off()
        axes.set_ylim(0)
        axes.set_xlabel(curve, fontsize=8)
        axes.set_ylabel("ns an operation", fontsize=8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, frameon=False)
    for axes in list(grid.flat)[len(curves):]:
        axes.remove()
    figure.text(0, -0.005, about(data), fontsize=6, va="top", wrap=True)
    save(figure, folder, "growth")


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "build/bench/bench.json"
    try:
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        sys.exit("bench: no pictures, since there is no matplotlib; "
                 "apt-get install python3-matplotlib brings it")
    matplotlib.rcParams["svg.hashsalt"] = "hakmem"
    with open(path, encoding="utf-8") as f:
        data = json.load(f)
    folder = os.path.dirname(path) or "."
    if data["rows"] and data["peers"]:
        draw_rows(plt, data, folder)
    if data["curves"]:
        draw_curves(plt, data, folder)


if __name__ == "__main__":
    main()
