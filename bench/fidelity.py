#!/usr/bin/env python3
"""fidelity.py - is what hakctl replay says of an allocator true of the program?

usage: fidelity.py [--rounds N] [--only WORD] [--quick] [--json FILE]

Records programs of `make bench`, plays each recording on several allocators, and
runs the program itself on the same ones, in turn. glibc is the base. Of the
programs that start others, the process with the most calls is played.

    memory  peak RSS, as a ratio to glibc. Predicted: the program's on glibc, less
            what glibc has in the replay, and what the other one has there
    CPU     CPU time, as a ratio to glibc. Predicted: the program's on glibc, less
            the player's on glibc, and the player's on the other one. The player's
            own work is the same on each, so it cancels out
    calls   the same by the time in calls of the allocator alone
    order   pairs of allocators that the replay puts in the right order, of those
            that differ by more than the tolerance in the program

The tolerances are 5 % for memory and 10 % for time. Exit status 1: a run failed.
"""
import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

import harness
from harness import Contender, RunFailed, hakmem
from programs import program_rows

HAKCTL = os.path.join(harness.ROOT, "build/hakctl")
CONF = os.path.join(harness.ROOT, "conf/default.ini")
BASE = "glibc"
OTHERS = ("jemalloc", "mimalloc", "tcmalloc")
TOLERANCE = {"memory": .05, "CPU": .10, "calls": .10}


def allocators():
    """Contenders of programs, and the words that name them to hakctl replay."""
    found = harness.peers([BASE, *OTHERS])
    words = {c.name: ["--lib", c.preload] for c in found}
    words[BASE] = ["--libc"]
    return [*found, hakmem()], {**words, "hakmem": ["-c", CONF]}


# ---- recordings -------------------------------------------------------------

def calls_of(file):
    said = subprocess.run([HAKCTL, "trace", "--json", file], text=True,
                          capture_output=True, check=False).stdout
    return json.loads(said)["operations"] if said else 0


def record(row, folder):
    """Run a row once in hakctl record. Returns the trace with the most calls."""
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)

    def within():
        return [HAKCTL, "record", "-c", CONF, "-o",
                os.path.join(folder, "x.trace"), "--"]
    row.one_run(Contender("recorded", within=within))
    files = [e.path for e in os.scandir(folder) if e.name.endswith(".trace")]
    return max(files, key=calls_of)


def replay(trace, words, rounds):
    """The medians of each contender, by name."""
    names = list(words)
    done = subprocess.run(
        [HAKCTL, "replay", trace, *itertools.chain(*words.values()), "-n",
         str(rounds), "-j", "-"], text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise RunFailed(f"hakctl replay: {done.stderr.strip()[-300:]}")
    found = json.loads(done.stdout)
    return found["trace"]["calls"], {
        name: c["medians"] for name, c in zip(names, found["contenders"])}


# ---- judging ----------------------------------------------------------------

def rss(played):
    return played["peak_rss_bytes"] + played["library_rss_bytes"]


def predict(row, played, name):
    """Ratios to the base: memory, CPU, and CPU by calls alone."""
    memory = row.median(BASE, "rss_bytes")
    cpu = row.median(BASE, "cpu_seconds")

    def more(key):
        return (played[name][key] - played[BASE][key]) / 1e9
    return {"memory": 1 + (rss(played[name]) - rss(played[BASE])) / memory,
            "CPU": 1 + more("cpu_ns") / cpu, "calls": 1 + more("alloc_ns") / cpu}


def measure(row, name):
    cpu = row.ratio(name, BASE, "cpu_seconds")
    # Row.ratio does not divide by less than 1, for bytes.
    cpu = row.median(name, "cpu_seconds") / row.median(BASE, "cpu_seconds")
    return {"memory": row.ratio(name, BASE, "rss_bytes"), "CPU": cpu,
            "calls": cpu}


def order(real, predicted, what):
    """How many pairs that differ are in the right order, of how many."""
    right = all_ = 0
    for a, b in itertools.combinations(real, 2):
        ratio = real[a][what] / real[b][what]
        if max(ratio, 1 / ratio) < 1 + TOLERANCE[what]:
            continue
        all_ += 1
        right += (predicted[a][what] > predicted[b][what]) == (ratio > 1)
    return right, all_


def judge(row, calls, played):
    names = [c.name for c in row.contenders]
    real = {name: measure(row, name) for name in names}
    predicted = {name: predict(row, played, name) for name in names}
    return {"program": row.name, "calls": calls, "real": real,
            "predicted": predicted,
            "order": {what: order(real, predicted, what) for what in TOLERANCE}}


# ---- printing ---------------------------------------------------------------

def lines_of(found):
    """A line for each allocator but the base."""
    for name in found["real"]:
        if name == BASE:
            continue
        real, predicted = found["real"][name], found["predicted"][name]
        line = [f"{found['program']} ({found['calls'] / 1e3:.0f} k calls)",
                name]
        for what in ("memory", "CPU"):
            error = predicted[what] / real[what] - 1
            line += [f"{real[what]:.3f}", f"{predicted[what]:.3f}",
                     f"{100 * error:+.1f} %"]
        error = predicted["calls"] / real["calls"] - 1
        yield [*line, f"{100 * error:+.1f} %"]


def summary(all_found, what):
    errors = [abs(f["predicted"][n][what] / f["real"][n][what] - 1)
              for f in all_found for n in f["real"] if n != BASE]
    right, pairs = (sum(f["order"][what][i] for f in all_found) for i in (0, 1))
    within = sum(e <= TOLERANCE[what] for e in errors)
    return (f"{what}: {within} of {len(errors)} ratios within "
            f"{100 * TOLERANCE[what]:.0f} %, median error "
            f"{100 * statistics.median(errors):.1f} %, largest "
            f"{100 * max(errors):.1f} %; order right in {right} of {pairs} "
            "pairs that differ by more")


def print_all(all_found):
    print(harness.markdown(
        ["program", "allocator", "memory", "predicted", "error", "CPU",
         "predicted", "error", "error by calls"],
        [line for f in all_found for line in lines_of(f)]))
    print()
    for what in TOLERANCE:
        print(summary(all_found, what))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, usage=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="rows with this word")
    parser.add_argument("--quick", action="store_true", help="little inputs")
    parser.add_argument("--json", help="all ratios into this file")
    args = parser.parse_args()
    who, words = allocators()
    rows = [r for r in program_rows(who, args.quick)
            if r.group == "programs" and args.only in r.name]
    good, all_found = harness.run_rows(rows, args.rounds), []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            if row.failures:
                continue
            here = {c.name: words[c.name] for c in row.contenders}
            try:
                trace = record(row, os.path.join(folder, "traces"))
                all_found.append(judge(row, *replay(trace, here, args.rounds)))
            except RunFailed as why:
                print(f"bench: {row.name}: {why}", file=sys.stderr)
                good = False
    if not all_found:
        return 1
    print_all(all_found)
    if args.json:
        with open(args.json, "w", encoding="ascii") as f:
            json.dump(all_found, f, indent=1)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
