#!/usr/bin/env python3
"""tap.py - measures what recording costs the program itself. Run after `make`
and `make benches`:

    bench/tap.py [--rounds 5] [--pairs 10000000]

build/bench/drain runs build/bench/pair on conf/default.ini and empties the
rings, without writing a trace. So no writer competes for the processor. Rounds
with and without recording take turns. The table has medians of CPU time, in ns a
call of malloc or free.
"""
import argparse
import os
import statistics
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BENCH = os.path.join(TOP, "build/bench")
# Size and batch of bench/pair.c.
ROWS = ((64, 1), (64, 100), (64, 10000), (5000, 1))


def cpu_ns(words, pairs):
    """CPU time of one run, in ns a call."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("HAKMEM_", "LD_PRELOAD"))}
    env["BENCH_PRELOAD"] = os.path.join(TOP, "build/libhakmem.so")
    env["HAKMEM_CONF"] = os.path.join(TOP, "conf/default.ini")
    p = subprocess.run([os.path.join(BENCH, "drain"), *words], env=env,
                       text=True, stdout=subprocess.PIPE, check=True)
    return float(p.stdout.split()[-1]) * 1e9 / (2 * pairs)


def measure(size, batch, options):
    program = [os.path.join(BENCH, "pair"), str(size), str(batch),
               str(options.pairs)]
    off, on = [], []
    for _ in range(options.rounds):
        off.append(cpu_ns(["--off", *program], options.pairs))
        on.append(cpu_ns(program, options.pairs))
    return statistics.median(off), statistics.median(on)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=10_000_000)
    options = parser.parse_args()
    print("| pairs | off | on | recording |\n|---|---:|---:|---:|")
    for size, batch in ROWS:
        off, on = measure(size, batch, options)
        print(f"| {size} B, batch {batch} | {off:.1f} ns | {on:.1f} ns | "
              f"{on - off:.1f} ns |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (OSError, subprocess.CalledProcessError) as e:
        sys.exit(f"tap.py: {e}; `make` and `make benches` build what it runs")
