#!/usr/bin/env python3
"""profile.py - measures what the heap profile and the timeline cost.

usage: profile.py [--rounds N] [--only WORDS]

Runs rows of `make bench` on conf/default.ini in turn: with nothing more, with
[heap_profile] at its default distance of samples, with no limit on their cost,
and with [stats] timeline at 100 ms. Figures are the median CPU time of the
process, and of each round the ratio to the run with nothing; the median of
these ratios, with the quartiles. Exit status 1: a run failed.
"""
import argparse
import statistics
import sys
import tempfile

import harness
import rows
from harness import hakmem
from programs import program_rows

BASE = "hakmem"


def contenders(folder):
    profile = {"HEAP_PROFILE_FILE": f"{folder}/%p.pb.gz"}
    return [
        hakmem(BASE),
        hakmem("profile", **profile),
        hakmem("no limit", HEAP_PROFILE_COST="0", **profile),
        hakmem("timeline", STATS_TIMELINE=f"{folder}/%p.timeline",
               STATS_EVERY_MS="100"),
    ]


def quartiles(ratios):
    if len(ratios) < 2:
        return f"{ratios[0]:.3f}"
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.3f} ({low:.3f} .. {high:.3f})"


def table(chosen, names):
    lines, medians = [], {n: [] for n in names}
    for row in chosen:
        base = row.values(BASE, "cpu_seconds")
        cells = [row.name, f"{statistics.median(base):.3f} s"]
        for n in names:
            ratios = [a / b for a, b in zip(row.values(n, "cpu_seconds"), base)]
            medians[n].append(statistics.median(ratios))
            cells.append(quartiles(ratios))
        lines.append(cells)
    lines.append(["*geometric mean*", "", *(
        f"{harness.geomean(medians[n]):.3f}" for n in names)])
    return harness.markdown(["CPU time", BASE, *names], lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, usage=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="rows with this word")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        who = contenders(folder)
        every = [r for r in rows.table_rows(who, False)
                 if r.group != "programs" and r.name.startswith("pair")]
        every += program_rows(who, False)
        chosen = [r for r in every if args.only in r.name]
        good = harness.run_rows(chosen, args.rounds)
        names = [c.name for c in who[1:]]
        print(table([r for r in chosen
                     if all(r.took_part(n) for n in [BASE, *names])], names))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
