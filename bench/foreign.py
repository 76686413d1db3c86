#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""foreign.py - a program on another maker's allocator, preloaded as its maker
means it against the same as a foreign box. `make bench-foreign` runs it.

The program is tests/programs/work.pl: hashes, strings, regular expressions.
Both ways by turns, the least CPU time of each counts.

    bench/foreign.py [--runs N] [--work N]
"""
import argparse
import os
import resource
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAIRS = [
    ("mimalloc", "libmimalloc.so.2"),
    ("jemalloc", "libjemalloc.so.2"),
    ("tcmalloc", "libtcmalloc_minimal.so.4"),
]


def seconds(preload, conf, work):
    env = dict(os.environ, LD_PRELOAD=preload)
    env["GLIBC_TUNABLES"] = "glibc.rtld.optional_static_tls=16384"
    if conf:
        env["HAKMEM_CONF"] = conf
    program = ["perl", f"{TOP}/tests/programs/work.pl", str(work)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(program, env=env, stdout=subprocess.DEVNULL,
                          check=False)
    if done.returncode != 5:  # what the program ends with
        sys.exit(f"foreign.py: {' '.join(program)} failed on {preload}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime
            - before.ru_utime - before.ru_stime)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=15)
    options.add_argument("--work", type=int, default=60000)
    given = options.parse_args()
    print(f"{'perl work.pl':14}{'preloaded':>11}{'foreign box':>13}{'ratio':>8}")
    for name, library in PAIRS:
        own, ours = [], []
        for _ in range(given.runs):
            own.append(seconds(library, None, given.work))
            ours.append(seconds(f"{TOP}/build/libhakmem.so",
                                f"{TOP}/conf/foreign/{name}.ini", given.work))
        print(f"{name:14}{min(own):9.3f} s{min(ours):11.3f} s"
              f"{min(ours) / min(own):8.2f}")


if __name__ == "__main__":
    main()
