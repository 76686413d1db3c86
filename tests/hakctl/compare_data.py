#!/usr/bin/env python3
"""compare_data.py - data for the tests of hakctl compare, and a second opinion.

    compare_data.py make SEED ROUNDS RATIO NOISE   a file of --json, on stdout
    compare_data.py many N FOLDER RATIO NOISE      N of 10 rounds, seeds 1 to N
    compare_data.py check                          a file of --json, on stdin

make: two contenders of normal noise, in parts of their value, and a common
drift; RATIO is the second's share of the first's wall time, CPU time, memory
and faults. check: computes medians, ratios and intervals once more, with other
random numbers, and prints what differs.
"""
import json
import math
import random
import statistics
import sys

KEYS = ("wall_ns", "cpu_us", "peak_rss_kib", "minor_faults")


def make(out, seed, rounds, ratio, noise):
    rng = random.Random(seed)
    contenders = [{"name": n, "kind": "libc", "file": None, "runs": []}
                  for n in ("a", "b")]
    for number in range(1, rounds + 1):
        drift = 1 + 0.05 * math.sin(number)
        for c, share in zip(contenders, (1, ratio)):
            run = {"round": number, "user_us": 0, "system_us": 0}
            for key, size in zip(KEYS, (1e8, 9e4, 5e4, 7e3)):
                value = size * share * drift * (1 + rng.gauss(0, noise))
                run[key] = round(value)
            c["runs"].append(run)
    json.dump({"hakctl_compare": 1, "program": "data", "rounds": rounds,
               "warmup": 0, "contenders": contenders}, out)


def interval(logs):
    """The percentile bootstrap, and the order statistics of the sign test."""
    n, rng = len(logs), random.Random(5)
    medians = sorted(statistics.median(rng.choices(logs, k=n))
                     for _ in range(4000))
    k = max(i for i in range(1, n) if 2 * sum(
        math.comb(n, j) for j in range(i)) / 2 ** n <= 0.05)
    logs = sorted(logs)
    return min(medians[100], logs[k - 1]), max(medians[3900], logs[n - k])


def check():
    data = json.load(sys.stdin)
    base, *others = data["contenders"]
    for other in others:
        verdicts = [v for v in data["verdicts"]
                    if v["contender"] == other["name"]]
        for key, verdict in zip(KEYS, verdicts, strict=True):
            first, second = ([r[key] for r in c["runs"]]
                             for c in (base, other))
            logs = [math.log(b / a) for a, b in zip(first, second)]
            want = [statistics.median(second), statistics.median(logs),
                    *interval(logs)]
            got = [other["medians"][key],
                   *map(math.log, (verdict["ratio"], *verdict["interval"]))]
            near = [w * 1e-9 if i == 0 else 1e-9 if i == 1 else
                    0.1 * (want[3] - want[2]) for i, w in enumerate(want)]
            if any(abs(w - g) > n for w, g, n in zip(want, got, near)):
                print(f"{other['name']}, {key}: {got}, not {want}")


mode, *words = sys.argv[1:]
if mode == "make":
    make(sys.stdout, int(words[0]), int(words[1]), *map(float, words[2:]))
elif mode == "many":
    for number in range(1, int(words[0]) + 1):
        with open(f"{words[1]}/{number}.json", "w") as file:
            make(file, number, 10, *map(float, words[2:]))
else:
    check()
