"""tables.py - the Markdown of `make bench`, from rows that have run."""
import os
import platform
import subprocess

import harness
import marks
from harness import geomean, markdown

PACKAGES = ["libc6", "libmimalloc2.0", "libjemalloc2", "libtcmalloc-minimal4",
            "libtbbmalloc2"]
BASE = "hakmem"


def machine():
    """The machine and the versions that the figures come from."""
    model = "?"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo", encoding="ascii") as f:
        kib = int(f.readline().split()[1])
    versions = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}, ", *PACKAGES],
        capture_output=True, text=True, check=False).stdout
    return {"processor": model, "cores": os.cpu_count(),
            "memory_gib": round(kib / 2**20, 1), "kernel": platform.release(),
            "packages": versions.rstrip(", "),
            "load_at_start": round(os.getloadavg()[0], 1)}


def in_time(ns):
    for limit, unit in ((1e3, "ns"), (1e6, "us"), (1e9, "ms")):
        if ns < limit:
            return f"{ns / limit * 1e3:.3g} {unit}"
    return f"{ns / 1e9:.3g} s"


def ratio(value, bold_below=0.0):
    if value is None:
        return "-"
    return f"**{value:.2f}**" if value < bold_below else f"{value:.2f}"


def percent(value):
    return f"{100 * value:.0f} %"


def base_cells(row):
    """Time, spread, peak and faults of hakmem."""
    if not row.took_part(BASE):
        return ["failed", "", "", ""]
    widest = max(row.spread(n) for n in row.runs if row.took_part(n))
    return [in_time(row.time_ns(BASE)),
            f"{percent(row.spread(BASE))}, {percent(widest)}",
            f"{row.median(BASE, 'rss_bytes') / 2**20:.1f}",
            f"{row.median(BASE, 'faults'):.0f}"]


def time_ratio(row, name):
    """In bold if the peer is faster; with ~ if its interval has both sides."""
    value, sure = row.ratio(name, BASE), row.time_interval(name, BASE)
    if value is None or sure is None:
        return ratio(value, 0.995)
    if sure[0] <= 1 <= sure[1]:
        return "~" + ratio(value)
    return ratio(value, 0.995)


def peer_cell(row, name):
    if name in row.failures:
        return "failed"
    return " / ".join([time_ratio(row, name),
                       ratio(row.ratio(name, BASE, "rss_bytes")),
                       ratio(row.ratio(name, BASE, "faults"))])


def groups(rows):
    out = {}
    for row in rows:
        out.setdefault(row.group, []).append(row)
    return out


def means(rows, names, what="time"):
    """{group: {peer: mean}}, and the mean of the groups, with equal weights."""
    table = {group: {n: geomean(r.ratio(n, BASE, what) for r in part)
                     for n in names} for group, part in groups(rows).items()}
    table["all groups"] = {n: geomean(part[n] for part in table.values())
                           for n in names}
    return table


def summary(rows, names):
    lines = []
    for what, title in (("time", "time"), ("rss_bytes", "peak RSS"),
                        ("faults", "minor faults")):
        for group, mean in means(rows, names, what).items():
            if what == "time" or group == "all groups":
                lines.append([f"{title}, {group}",
                              *(ratio(mean[n], 0.995) for n in names)])
    return ("Geometric means of the ratios to hakmem; above 1: hakmem takes "
            "less. \"All groups\"\nis the mean of the groups, so that a group "
            "of many rows weighs no more.\n\n"
            + markdown(["", *names], lines))


def table(rows, names):
    head = ["workload", "hakmem", "spread: hakmem, widest", "peak MiB",
            "minor faults", *names]
    lines = []
    for group, part in groups(rows).items():
        lines += [[row.name, *base_cells(row),
                   *(peer_cell(row, n) for n in names)] for row in part]
        mean = [means(part, names, what)[group]
                for what in ("time", "rss_bytes", "faults")]
        lines.append([f"*{group}, geometric mean*", "", "", "", "",
                      *(" / ".join(ratio(m[n]) for m in mean)
                        for n in names)])
    return ("Peers: time / peak RSS / minor faults, in multiples of hakmem's; "
            "above 1: hakmem takes\nless; bold: the peer is faster; ~: the 95 % "
            "interval of the time's ratio has 1 in it.\nSpread: "
            "(worst - best) / median.\n\n" + markdown(head, lines))


def kept(row, name):
    """The RSS at the end; None if the row does not print it."""
    if not row.took_part(name) or None in row.values(name, "after_bytes"):
        return None
    return row.median(name, "after_bytes")


def after(rows, names):
    """A table of the RSS after memory was freed; "" if no row prints it."""
    lines = []
    for row in rows:
        cells = [kept(row, n) for n in (BASE, *names)]
        if any(cells):
            lines.append([row.name, *(f"{c / 2**20:.1f}" if c else "-"
                                      for c in cells)])
    if not lines:
        return ""
    return ("Resident one second after, MiB.\n\n"
            + markdown(["workload", BASE, *names], lines))


def curve_tables(rows):
    """A table for each curve: the time of an operation at each point."""
    curves = {}
    for row in rows:
        curves.setdefault(row.curve, []).append(row)
    out = []
    for curve, part in curves.items():
        names = list(part[0].runs)
        out.append(markdown(
            [f"time of an operation; {curve}", *names],
            [[str(row.x), *(in_time(row.time_ns(n)) if row.took_part(n)
                            else "failed" for n in names)] for row in part]))
    return "\n\n".join(out)


def mechanisms(rows):
    names = list(dict.fromkeys(n for row in rows for n in row.runs))
    lines = []
    for row in rows:
        cells = [in_time(row.time_ns(BASE)) if row.took_part(BASE)
                 else "failed"]
        for n in names[1:]:
            cells.append("failed" if n in row.failures
                         else ratio(row.ratio(n, BASE)) if n in row.runs
                         else "")
        lines.append([row.name, *cells])
    return ("hakmem's time, and that of its variants in multiples of it.\n\n"
            + markdown(["", *names], lines))


def failures(rows):
    return "\n".join(f"- {row.name} on {name}: {why}" for row in rows
                     for name, why in row.failures.items())


def whole(rows, curves, variants, names, about, rounds):
    """The whole report. names: the peers."""
    parts = [f"{about['processor']}, {about['cores']} cores, "
             f"{about['memory_gib']} GiB, Linux {about['kernel']}; load "
             f"{about['load_at_start']} before the first run; "
             f"{about['packages']}. Medians of {rounds} round"
             f"{'s' * (rounds > 1)}."]
    if rounds < harness.LEAST_ROUNDS:
        parts.append(f"Fewer than {harness.LEAST_ROUNDS} rounds: a glance, no "
                     "figures to quote.")
    if rows:
        parts += ["### Means", summary(rows, names)]
        if text := marks.table(rows, names):
            parts += ["### Marks", text]
        parts += ["### Rows", table(rows, names)]
        if text := after(rows, names):
            parts.append(text)
    if curves:
        parts += ["### How the cost grows", curve_tables(curves)]
    if variants:
        parts += ["### What each mechanism earns", mechanisms(variants)]
    if text := failures(rows + curves + variants):
        parts += ["### Runs that failed", text]
    return "\n\n".join(parts) + "\n"


def as_dict(rows, curves, variants, names, about, rounds):
    """The report for programs to read: all figures of all runs."""
    out = {"machine": about, "rounds": rounds, "base": BASE, "peers": names,
           "means": {what: means(rows, names, what)
                     for what in ("time", "rss_bytes", "faults")},
           "rows": [], "curves": [], "mechanisms": []}
    for key, part in (("rows", rows), ("curves", curves),
                      ("mechanisms", variants)):
        for row in part:
            entry = harness.as_dict(row)
            entry["time_ns"] = {n: row.time_ns(n) for n in row.runs
                                if row.took_part(n)}
            entry["time_intervals"] = {n: row.time_interval(n, BASE)
                                       for n in row.runs}
            if key == "curves":
                entry["curve"], entry["x"] = row.curve, row.x
            out[key].append(entry)
    return out
