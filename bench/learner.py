#!/usr/bin/env python3
"""learner.py - measures whether routes matter, and whether the learner pays.

usage: learner.py [--rounds N] [--only WORDS] [--contenders NAMES] [--quick]
                  [--list] [--json FILE]

Runs programs in turn on conf/default.ini; on the same with C5, C6 and C7 routed
to mid_v35, in all combinations; with C4 to C7 in smallmid; on conf/learner.ini,
in mode off and in mode apply; and ("often") on tests/lib/learner.ini, whose
rules move classes to and fro. Figures are CPU time (user and system) and peak
RSS of the process. Each is divided by that of the run on conf/default.ini in
the same round; tables have the medians of these ratios, with ~ where their 95 %
interval has both sides of 1 (from 6 rounds on). "Both" is the geometric mean of
time and memory. The best fixed INI of a program is chosen among the figures
that are shown, so it profits from their noise. Exit status 1: a run failed.
"""
import argparse
import json
import os
import re
import statistics
import sys

import harness
import tables
from harness import Row, geomean, hakmem, interval, markdown, program
from programs import (DATA, RedisRow, installed, made, program_rows,
                      random_numbers, script)

BASE = "default"
LEARNERS = ("often", "learner off", "learner")
WHAT = (("cpu_seconds", "CPU time"), ("rss_bytes", "peak RSS"))


# ---- contenders --------------------------------------------------------------

def routings():
    """All subsets of C5, C6 and C7 that mid_v35 can serve, but the empty one,
    which is conf/default.ini."""
    for mask in range(1, 8):
        classes = [f"C{c}" for c in (5, 6, 7) if mask >> (c - 5) & 1]
        yield hakmem("+".join(classes), MID_V35_ENABLED="1",
                     MID_V35_CLASSES=f"{mask << 5:#x}")


def contenders():
    return [hakmem(BASE), *routings(),
            hakmem("smallmid", SMALLMID_ENABLE="1"),
            hakmem("often", "tests/lib/learner.ini"),
            hakmem("learner off", "learner", LEARNER_MODE="off"),
            hakmem("learner", "learner", LEARNER_MODE="apply")]


# ---- programs ----------------------------------------------------------------

def cpp_source(classes):
    """Templates of the standard library, for types of our own."""
    out = ["#include <algorithm>", "#include <functional>", "#include <map>",
           "#include <string>", "#include <vector>"]
    for i in range(classes):
        out.append(
            f"struct s{i} {{ int k; std::string n; double d[{i % 7 + 1}]; }};\n"
            f"int f{i}(std::vector<s{i}> &v) {{\n"
            f"std::map<std::string, std::vector<s{i}>> m;\n"
            f"for (auto &x : v) m[x.n].push_back(x);\n"
            f"std::sort(v.begin(), v.end(), [](const s{i} &a, const s{i} &b)\n"
            f"{{ return a.k < b.k; }});\n"
            f"std::function<int(int)> g = [&](int k) {{ return v[k].k; }};\n"
            f"return g({i}) + (int)m.size(); }}")
    return "\n".join(out) + "\n"


def documents(count):
    """One JSON document of records with nested lists."""
    numbers = random_numbers(4)
    return "[" + ",\n".join(json.dumps(
        {"id": i, "name": f"name {next(numbers) % count}",
         "text": "x" * (next(numbers) % 400),
         "list": [next(numbers) % 100 for _ in range(i % 12)],
         "in": {"a": {"b": i % 17}}}) for i in range(count)) + "]\n"


JQ = ('map(select(.id % 3 != 0) | .name += "-" + .text[0:9] | del(.list)) | '
      'group_by(.in.a.b) | map({n: length, t: (map(.text) | add | length)})')

# Rows of `make bench`, by name, and how often each runs in a measurement.
SHARED = ("gcc -O2", "python3, objects", "sqlite3", "redis", "perl, words",
          "git repack", "z3")


def programs(who, quick):
    """Whole programs: group "programs"."""
    found = {r.name: r for r in program_rows(who, quick)}
    out = [found[name] for name in SHARED if name in found]

    def size(full, little):
        return little if quick else full

    def add(name, argv, env=None):
        out.append(Row(name, argv, who, env, "s", "programs", quiet=False))

    if gxx := installed("g++"):
        n = size(4, 1)
        add("g++, templates", lambda: [
            gxx, "-O1", "-c", made(f"{n}.cc", lambda: cpp_source(n)), "-o",
            os.path.join(DATA, "out.o")])
    if jq := installed("jq"):
        count = size(20000, 500)
        add("jq", lambda: [jq, "-c", JQ, made(f"{count}.json",
                                              lambda: documents(count))])
    if python := installed("python3"):
        env = {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}
        add("python3, phases", [python, "-S", script("phases.py"),
                                str(size(30000, 1000)), "2"], env)
        add("python3, handed over", [python, "-S", script("handed.py"),
                                     str(size(100000, 5000))], env)
    if perl := installed("perl"):
        add("perl, shared queue", [perl, script("shared.pl"),
                                   str(size(20000, 500))],
            {"PERL_HASH_SEED": "0"})
    return out


def patterns(who, quick):
    """Programs of the bench that do little but allocate: group "patterns"."""
    out = []

    def add(name, bench, *args, least=16):
        out.append(Row(name, program(bench, *args), who,
                       {"HAKMEM_BENCH_MIN_SIZE": str(least)}, "op/s",
                       "patterns"))

    def count(full):
        return max(1, full // 20) if quick else full

    add("16..1024 B, ws 100000", "bench_random_mixed", count(4000000), 100000)
    add("257..1024 B, ws 10000", "bench_random_mixed", count(20000000), 10000,
        least=257)
    add("server, 4 threads", "bench_threads", "server", 4, count(8000000))
    add("half of others', 4 threads", "bench_threads", "swap", 4,
        count(2000000))
    add("producer/consumer", "bench_threads", "producer", 4, count(4000000))
    add("burst and shrink", "bench_memory", "burst", 64, count(8))
    return out


def phases(who, quick):
    """programs/phases.py again, with shorter and with longer phases."""
    python = installed("python3")
    return [Row(name, [python, "-S", script("phases.py"),
                       str(records // (10 if quick else 1)), str(times)], who,
                {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}, "s",
                "phases", quiet=False)
            for name, records, times in (("a third as long", 10000, 4),
                                         ("three times as long", 100000, 1))
            if python]


# ---- tables ------------------------------------------------------------------

def ratios(row, name, what):
    return tuple(a / b for a, b in zip(row.values(name, what),
                                       row.values(BASE, what)))


def ratio(row, name, what):
    """The median of the rounds' ratios to the run on BASE."""
    return statistics.median(ratios(row, name, what))


def both(row, name):
    """Time and memory in one figure, with equal weights."""
    return geomean(ratio(row, name, what) for what, _ in WHAT)


def cell(row, name, what):
    sure = interval(ratios(row, name, what))
    is_unsure = sure is not None and sure[0] <= 1 <= sure[1]
    return "~" * is_unsure + f"{ratio(row, name, what):.3f}"


def fixed(row):
    return [n for n in row.runs if n not in LEARNERS]


def best(row, figure):
    name = min(fixed(row), key=lambda n: figure(row, n))
    return name, figure(row, name)


def all_ratios(done, what, title):
    """Every contender on every program."""
    names = [n for n in done[0].runs if n != BASE]
    scale, unit = (1, "s") if what == "cpu_seconds" else (2**20, "MiB")
    lines = [[row.name, f"{row.median(BASE, what) / scale:.3g} {unit}",
              *(cell(row, n, what) for n in names)] for row in done]
    lines.append(["*geometric mean*", "", *(
        f"{geomean(ratio(row, n, what) for row in done):.3f}" for n in names)])
    return markdown([title, BASE, *names], lines)


def verdicts(done):
    """The learner beside the best fixed INI of each program."""
    figures = [(title, what, lambda r, n, what=what: ratio(r, n, what))
               for what, title in WHAT] + [("both", None, both)]
    lines = []
    for row in done:
        cells = [row.name]
        for _, what, figure in figures:
            name, value = best(row, figure)
            shown = cell(row, name, what) if what else f"{value:.3f}"
            cells += [f"{name} {shown}",
                      f"{figure(row, 'learner') / value:.3f}"]
        lines.append(cells)
    return markdown(["", *(c for title, _, _ in figures for c in
                           (f"{title}: best fixed", "learner / best"))], lines)


def single(done):
    """Each contender over all rows, time and memory with equal weights."""
    names = list(done[0].runs)
    means = {n: [geomean(ratio(r, n, what) for r in done) for what, _ in WHAT]
             for n in names}
    order = sorted(names, key=lambda n: geomean(means[n]))
    return markdown(["over all rows", "CPU time", "peak RSS", "both"], [
        [n, *(f"{v:.3f}" for v in (*means[n], geomean(means[n])))]
        for n in order])


def report(done):
    parts = []
    for group, part in tables.groups(done).items():
        parts += [f"### {group.capitalize()}"]
        parts += [all_ratios(part, what, title) for what, title in WHAT]
        parts += [verdicts(part), single(part)]
    parts += ["### All groups", single(done)]
    return "\n\n".join(parts)


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, usage=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", metavar="WORDS",
                        help="rows with one of these words; commas between")
    parser.add_argument("--contenders", default="", metavar="NAMES",
                        help="beside default and learner; commas between")
    parser.add_argument("--quick", action="store_true",
                        help="the least work that runs all")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--json", metavar="FILE", help="all figures")
    return parser.parse_args()


def chosen_contenders(text):
    """Those that --contenders names, and the two that every table needs."""
    every = contenders()
    wanted = {n.strip() for n in text.split(",") if n.strip()}
    if unknown := wanted - {c.name for c in every}:
        sys.exit(f"bench: no contender \"{unknown.pop()}\"; there are "
                 f"{', '.join(c.name for c in every)}")
    return [c for c in every
            if not wanted or c.name in wanted | {BASE, "learner"}]


def main():
    args = options()
    who = chosen_contenders(args.contenders)
    wanted = set(re.findall(r"[\w-]+", args.only.lower()))
    every = [r for rows in (programs, patterns, phases)
             for r in rows(who, args.quick)]
    chosen = [r for r in every
              if not wanted or wanted & r.words]
    if args.list:
        print("\n".join(r.name for r in chosen))
        return 0
    if not chosen or args.rounds < 1:
        sys.exit("bench: nothing to run; --list names the rows")
    good = harness.run_rows(chosen, args.rounds)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump([harness.as_dict(r) for r in chosen], f)
    done = [r for r in chosen if not r.failures]
    if done:
        print(report(done))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
