#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""foreign.py - runs programs on another allocator's library, once preloaded by
itself and once as a foreign box. `make bench-foreign` runs it.

The two ways take turns. The times are the least CPU time of each way. The ratio
is the median of the ratios of all pairs, so that other load on the machine
affects both alike.

    bench/foreign.py [--runs N] [--work N] [WORD...]   rows with such a word
"""
import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

import harness

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAKERS = [  # the row's name, the preloaded library, the INI of conf/foreign/
    ("mimalloc", "mimalloc", "mimalloc"),
    ("mimalloc, our memory", "mimalloc", "mimalloc-region"),
    ("jemalloc", "jemalloc", "jemalloc"),
    ("jemalloc, our memory", "jemalloc", "jemalloc-region"),
    ("tcmalloc", "tcmalloc", "tcmalloc"),
]


def programs(work, place):
    """Name, command, the end of its output, and its environment."""
    source = f"{place}/many.c"
    with open(source, "w", encoding="ascii") as file:
        for i in range(work // 200):
            file.write(f"int f{i}(int a, int *b) {{ int s = {i};\n"
                       "  for (int k = 0; k < a; k++) s += b[k] * k + a;\n"
                       "  return s ^ a; }\n")
    rows = f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL
        SELECT i + 1 FROM n WHERE i < {work * 5})
        SELECT count(*), sum(length(printf('%d-%x', i, i * i))) FROM n"""
    pair = f"{TOP}/build/bench/pair"
    tests = f"{TOP}/tests/programs"
    return [
        ("perl", ["perl", f"{tests}/work.pl", str(work)], 5, {}),
        ("python", ["/usr/bin/python3", f"{tests}/work.py", str(work // 4)], 7,
         {"PYTHONMALLOC": "malloc"}),
        ("gcc -O2", ["gcc", "-O2", "-c", source, "-o", f"{place}/many.o"], 0,
         {}),
        ("sqlite3", ["sqlite3", ":memory:", rows], 0, {}),
        ("pairs alone", [pair, "64", "100", str(work * 500)], 0, {}),
    ]


def seconds(program, preload, conf):
    name, command, status, more = program
    env = dict(os.environ, LD_PRELOAD=preload, **more)
    env["GLIBC_TUNABLES"] = "glibc.rtld.optional_static_tls=16384"
    if conf:
        env["HAKMEM_CONF"] = conf
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=env, stdout=subprocess.DEVNULL,
                          check=False)
    if done.returncode != status:
        sys.exit(f"foreign.py: {name} on {conf or preload} ended with "
                 f"{done.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime
            - before.ru_utime - before.ru_stime)


def row(program, maker, runs):
    name, peer, conf = maker
    own, ours = [], []
    for _ in range(runs):
        own.append(seconds(program, harness.PEERS[peer], None))
        ours.append(seconds(program, f"{TOP}/build/libhakmem.so",
                            f"{TOP}/conf/foreign/{conf}.ini"))
    ratio = statistics.median(b / a for a, b in zip(own, ours))
    print(f"{program[0]:14}{name:22}{min(own):9.3f} s{min(ours):11.3f} s"
          f"{ratio:8.2f}", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=15)
    options.add_argument("--work", type=int, default=20000)
    options.add_argument("word", nargs="*")
    given = options.parse_args()
    print(f"{'program':14}{'allocator':22}{'preloaded':>11}{'foreign box':>13}"
          f"{'ratio':>8}")
    with tempfile.TemporaryDirectory() as place:
        for program in programs(given.work, place):
            if shutil.which(program[1][0]) is None:
                continue
            for maker in MAKERS:
                name = f"{program[0]} {maker[0]}"
                if not given.word or any(w in name for w in given.word):
                    row(program, maker, given.runs)


if __name__ == "__main__":
    main()
