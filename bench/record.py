#!/usr/bin/env python3
"""record.py - measures what hakctl record costs.

usage: record.py [--rounds N] [--only WORD]

Runs programs of `make bench` on conf/default.ini in turn: as they are, and in
hakctl record. Figures are medians of the rounds. Of each round:

    slowdown  CPU time of the program while it is recorded, less that of the run
              beside it, for each call that is recorded
    wall      the same of the time that passes, as a ratio
    writer    CPU time of hakctl itself, for each call
    bytes     size of all files, for each call

Exit status 1: a run failed.
"""
import argparse
import os
import re
import shutil
import statistics
import sys
import tempfile

import harness
from harness import Contender, hakmem
from programs import program_rows

BASE, RECORDED = "hakmem", "recorded"
PROGRAMS = ("gcc", "redis", "sqlite3", "python3")


class Recordings:
    """Where the files of a run go, and what hakctl said of them."""

    def __init__(self, folder):
        self.folder = folder
        self.of = {}

    def within(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.mkdir(self.folder)
        return [os.path.join(harness.ROOT, "build/hakctl"), "record", "-o",
                os.path.join(self.folder, "x.trace"), "--"]

    def note(self, row):
        """After a run: calls, bytes, the writer's seconds, calls lost."""
        one = re.search(r"recorded (\d+) call.*hakctl: ([\d.]+) s of CPU.*"
                        r"; (\d+) calls? lost", row.said)
        more = re.search(r"other process\w*: (\d+) call", row.said)
        calls = int(one[1]) + (int(more[1]) if more else 0)
        size = sum(e.stat().st_size for e in os.scandir(self.folder))
        self.of.setdefault(row.name, []).append(
            (calls, size, float(one[2]), int(one[3])))


def watch(row, recordings):
    """Let a row note what hakctl says after each run in it."""
    run = row.one_run

    def one_run(contender):
        result = run(contender)
        if contender.name == RECORDED:
            recordings.note(row)
        return result
    row.one_run = one_run


def line(row, notes):
    ratios, slowdowns, writers = [], [], []
    pairs = zip(row.runs[BASE], row.runs[RECORDED], notes)
    for base, recorded, (calls, _, seconds, _) in pairs:
        ratios.append(recorded.seconds / base.seconds)
        slowdowns.append(
            (recorded.cpu_seconds - base.cpu_seconds) / calls * 1e9)
        writers.append(seconds / calls * 1e9)
    calls = statistics.median(n[0] for n in notes)
    size = statistics.median(n[1] / n[0] for n in notes)
    return [row.name, f"{calls / 1e6:.2f} M",
            f"{row.median(BASE, 'cpu_seconds'):.2f} s",
            f"{statistics.median(slowdowns):.0f} ns",
            f"{statistics.median(ratios):.2f}",
            f"{statistics.median(writers):.0f} ns", f"{size:.2f}",
            f"{sum(n[3] for n in notes)}"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, usage=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="rows with this word")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recordings = Recordings(os.path.join(folder, "traces"))
        base = hakmem(BASE)
        who = [base, Contender(RECORDED, "", base.env,
                               within=recordings.within)]
        rows = [r for r in program_rows(who, False)
                if r.name.startswith(PROGRAMS) and args.only in r.name]
        for row in rows:
            watch(row, recordings)
        good = harness.run_rows(rows, args.rounds)
        print(harness.markdown(
            ["program", "calls", "CPU", "slowdown a call", "wall",
             "writer a call", "bytes a call", "lost"],
            [line(r, recordings.of[r.name]) for r in rows if not r.failures]))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
