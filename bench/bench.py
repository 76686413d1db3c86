#!/usr/bin/env python3
"""bench.py - measures hakmem beside other allocators, for `make bench`.

usage: bench.py [--bench WORDS] [--peers LIST] [--rounds N] [--quick] [--list]
       bench.py [--peers LIST] [--rounds N] -- PROGRAM [ARGS...]

Prints Markdown. Writes bench.md, bench.json, bench.svg, growth.svg and both
pictures as .png to build/bench/, or to build/bench/part/ if only some rows run.
WORDS are separated by commas and choose rows: a row runs if one of them is its
group, a tag or a word of its name (--list shows all). Peers: glibc, mimalloc,
jemalloc, tcmalloc, tbbmalloc, fused, or paths of libraries. After `--` comes a
program of build/bench/ by its name, whose figure is what it prints, or any
other command, whose figure is its time. HAKMEM_ variables then choose hakmem's
configuration. Exit status 1: a run failed.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys

import harness
import rows
import tables

PLOT_PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's matplotlib


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, usage=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="", metavar="WORDS")
    parser.add_argument("--peers", default="", metavar="LIST")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--quick", action="store_true",
                        help="a little of everything, to see that it runs")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--out", default="", metavar="FOLDER")
    parser.add_argument("command", nargs="*", metavar="PROGRAM")
    args = parser.parse_args()
    if args.rounds < 1:
        sys.exit("bench: at least one round")
    return args


def words(text):
    return text.replace(",", " ").split()


def chosen(candidates, wanted):
    return [r for r in candidates
            if not wanted or any(w in r.words for w in wanted)]


def of_command(command, contenders):
    """The row for a command line of the user."""
    own = os.path.join(harness.BENCH, command[0])
    is_own = "/" not in command[0] and os.access(own, os.X_OK)
    path = own if is_own else shutil.which(command[0])
    if path is None:
        sys.exit(f"bench: no program \"{command[0]}\", here or in build/bench")
    in_ns = command[0] in ("pair", "bench_stall")
    unit = "s" if not is_own else "ns" if in_ns else "op/s"
    given = {k: v for k, v in os.environ.items() if k.startswith("HAKMEM")}
    contenders[0].env.update(given)
    return harness.Row(" ".join(command), [path, *command[1:]], contenders,
                       env=given, unit=unit, group="command", quiet=is_own, same=False)


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write(text)


def plot(folder):
    """Draw the pictures, if matplotlib is installed."""
    python = PLOT_PYTHON if os.path.exists(PLOT_PYTHON) else sys.executable
    script = os.path.join(harness.ROOT, "bench/plot.py")
    subprocess.run([python, script, os.path.join(folder, "bench.json")],
                   check=False)


def main():
    args = options()
    contenders = [harness.hakmem(), *harness.peers(words(args.peers))]
    names = [c.name for c in contenders[1:]]
    if args.command:
        parts = [[of_command(args.command, contenders)], [], []]
    else:
        wanted = words(args.bench.lower())
        parts = [chosen(part, wanted) for part in (
            rows.table_rows(contenders, args.quick),
            rows.curve_rows(contenders, args.quick),
            rows.mechanism_rows(args.quick))]
    every = [row for part in parts for row in part]
    if args.list:
        for row in every:
            print(f"{row.group:12} {row.name}")
        return 0
    if not every:
        sys.exit(f"bench: no row has the word \"{args.bench}\"; "
                 "bench.py --list names them all")
    is_part = bool(args.bench or args.command or args.quick)
    out = args.out or os.path.join(harness.BENCH, "part" if is_part else "")
    os.makedirs(out, exist_ok=True)
    about = tables.machine()
    good = harness.run_rows(every, args.rounds)
    text = tables.whole(*parts, names, about, args.rounds)
    print(text)
    write(out, "bench.md", text)
    write(out, "bench.json", json.dumps(
        tables.as_dict(*parts, names, about, args.rounds), indent=1) + "\n")
    plot(out)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
