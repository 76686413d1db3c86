#!/usr/bin/env python3
"""pair.py - measures the first mark, ns of a malloc/free pair, side by side.

usage: pair.py [--rounds N] [--batch N] [--pairs N] [--sizes 16,64,...]
               [--json]
"""
import argparse

import harness
from harness import (Contender, Row, calls_alone, fused, hakmem, peers,
                     program)

PEERS = ["glibc", "mimalloc", "jemalloc", "tcmalloc"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=4000000)
    parser.add_argument("--sizes", default="16,64,256,1024")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    who = [hakmem(), fused("hakmem fused"), *peers(PEERS),
           hakmem("hakmem owns()", CORE_FREE_ROUTE="owns"),
           calls_alone(), Contender("inlined LIFO", args=["--floor"])]
    rows = [Row(f"{size} B", program("pair", size, args.batch, args.pairs),
                who, unit="ns")
            for size in map(int, args.sizes.split(","))]
    harness.run_rows_or_exit(rows, args.rounds)
    if args.json:
        harness.as_json(rows)
        return
    print(f"ns a pair, batch {args.batch}, median of {args.rounds} rounds "
          "(x the fastest peer)\n")
    best = {row: min(row.time_ns(n) for n in PEERS if n in row.runs)
            for row in rows}
    print(harness.markdown(
        ["", *(row.name for row in rows)],
        [[c.name, *(f"{row.time_ns(c.name):.2f} "
                    f"({row.time_ns(c.name) / best[row]:.2f})"
                    for row in rows)] for c in who]))


if __name__ == "__main__":
    main()
