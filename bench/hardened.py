#!/usr/bin/env python3
"""hardened.py - measures conf/hardened.ini beside other hardened allocators.

usage: hardened.py [--rounds N] [--only WORDS]

Runs rows of `make bench`, the small workloads with a quarter of the counts.
Figures are the median CPU time of the process. Ratios are to hakmem on
conf/hardened.ini; above 1, hakmem is faster. Peers: the same with `zero = no`,
LLVM's Scudo, glibc with MALLOC_CHECK_=3, glibc; and hardened_malloc, if the
environment names its library by HARDENED_MALLOC=FILE. Exit status 1: a run
failed.
"""
import argparse
import glob
import os
import statistics
import sys

import harness
import rows
from harness import Contender, hakmem
from programs import program_rows

BASE = "hardened"
ROWS = [
    "pair, 16 B, batch 100", "pair, 64 B, batch 1", "pair, 64 B, batch 100",
    "pair, 256 B, batch 100", "pair, 1 KiB, batch 100",
    "pair, 4 KiB, batch 100", "pair, 32 KiB, batch 30",
    "random, 16..1024 B, ws 1000", "random, 16..1024 B, ws 10000",
    "random, 1..8 KiB, ws 1000", "random, 16 B..64 KiB, ws 1000",
    "server, blocks handed on, 1 thread", "server, blocks handed on, 2 threads",
    "producer/consumer, all remote, 2 threads",
    "bench_mid_large_mt, 2 threads",
    "gcc -O2", "python3, objects", "perl, words", "sqlite3", "git repack",
]


def scudo():
    """The library of the newest clang that is installed, or None."""
    found = glob.glob("/usr/lib/llvm-*/lib/clang/*/lib/linux/"
                      "libclang_rt.scudo_standalone-x86_64.so")
    return max(found) if found else None


def contenders():
    checking = harness.LIBS + "libc_malloc_debug.so.0"
    out = [hakmem(BASE, "hardened"),
           hakmem("zero = no", "hardened", BOX_HARDENED_ZERO="no")]
    for name, lib, env in (
            ("hardened_malloc", os.environ.get("HARDENED_MALLOC"), {}),
            ("Scudo", scudo(), {}),
            ("glibc, checks", checking,
             {"GLIBC_TUNABLES": "glibc.malloc.check=3"}),
            ("glibc", harness.PEERS["glibc"], {})):
        if lib and os.path.exists(lib):
            out.append(Contender(name, os.path.abspath(lib), env))
        elif name != "hardened_malloc" or lib:
            print(f"hardened.py: no {lib or name}, left out", file=sys.stderr)
    return out


def table(chosen, names):
    lines, ratios = [], {n: [] for n in names}
    for row in chosen:
        cpu = {n: statistics.median(row.values(n, "cpu_seconds"))
               for n in [BASE, *names] if row.took_part(n)}
        cells = [row.name, f"{cpu[BASE]:.3f} s" if BASE in cpu else "failed"]
        for n in names:
            ratio = cpu[n] / cpu[BASE] if n in cpu and BASE in cpu else None
            ratios[n].append(ratio)
            cells.append(f"{ratio:.2f}" if ratio else "failed")
        lines.append(cells)
    lines.append(["*geometric mean*", "", *(
        f"{harness.geomean(ratios[n]) or 0:.2f}" for n in names)])
    return harness.markdown(["CPU time", BASE, *names], lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, usage=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows with this word")
    args = parser.parse_args()
    who = contenders()
    rows.QUICK = 4
    wanted = [w for w in ROWS if args.only in w]
    # Whole programs keep their counts: of a quarter the start would be a large
    # part.
    every = [r for r in rows.table_rows(who, True) if r.group != "programs"]
    every += program_rows(who, False)
    chosen = [r for r in every
              if any(f"{r.name},".startswith(f"{w},") for w in wanted)]
    good = harness.run_rows(chosen, args.rounds)
    print(table(chosen, [c.name for c in who[1:]]))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
