#!/usr/bin/env python3
"""pair.py - the first mark: ns of a malloc/free pair, side by side.

Every round runs each allocator once for each size, in turn, so that what
else the machine does falls on all alike; the table shows medians, and their
ratio to the fastest peer's.

usage: pair.py [--rounds N] [--batch N] [--sizes 16,64,...] [--json]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAIR = os.path.join(ROOT, "build/bench/pair")
HAKMEM = os.path.join(ROOT, "build/libhakmem.so")
FUSED = os.path.join(ROOT, "build/fused/default/libhakmem.so")
LIBS = "/usr/lib/x86_64-linux-gnu/"
PEERS = {
    "glibc": "",
    "mimalloc": LIBS + "libmimalloc.so.2.0",
    "jemalloc": LIBS + "libjemalloc.so.2",
    "tcmalloc": LIBS + "libtcmalloc_minimal.so.4",
}


def contenders():
    """Name -> (preload, extra environment, extra arguments)."""
    conf = {"HAKMEM_CONF": os.path.join(ROOT, "conf/default.ini")}
    table = {"hakmem": (HAKMEM, conf, [])}
    for name, lib in PEERS.items():
        if lib and not os.path.exists(lib):
            print(f"pair.py: {name}: no {lib}, left out", file=sys.stderr)
            continue
        table[name] = (lib, {}, [])
    if os.path.exists(FUSED):
        table["hakmem fused"] = (FUSED, {}, [])
    table["hakmem owns()"] = (
        HAKMEM, {**conf, "HAKMEM_CORE_FREE_ROUTE": "owns"}, [])
    table["inlined LIFO"] = ("", {}, ["--floor"])
    return table


def run(contender, size, batch, pairs):
    preload, extra, args = contender
    env = {k: v for k, v in os.environ.items() if not k.startswith("HAKMEM")}
    env.update(extra)
    if preload:
        env["LD_PRELOAD"] = preload
    out = subprocess.run([PAIR, *args, str(size), str(batch), str(pairs)],
                         env=env, check=True, capture_output=True, text=True)
    if out.stderr:
        sys.exit(f"pair.py: {out.stderr}")
    return float(out.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=4000000)
    parser.add_argument("--sizes", default="16,64,256,1024")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    sizes = [int(s) for s in args.sizes.split(",")]
    table = contenders()
    times = {(n, s): [] for n in table for s in sizes}
    for _ in range(args.rounds):
        for size in sizes:
            for name, contender in table.items():
                times[name, size].append(
                    run(contender, size, args.batch, args.pairs))
    median = {k: statistics.median(v) for k, v in times.items()}
    best = {s: min(median[n, s] for n in PEERS if (n, s) in median)
            for s in sizes}
    if args.json:
        print(json.dumps({f"{n} {s}": v for (n, s), v in times.items()}))
        return
    print(f"ns a pair, batch {args.batch}, median of {args.rounds} "
          "(x the fastest peer)")
    print(f"{'':16}" + "".join(f"{s:>9} B      " for s in sizes))
    for name in table:
        print(f"{name:16}" + "".join(
            f"{median[name, s]:9.2f} ({median[name, s] / best[s]:4.2f})"
            for s in sizes))


if __name__ == "__main__":
    main()
