#!/usr/bin/env python3
"""swaps.py - what 50 swaps of boxes cost a program under load. Run after `make`
and `make benches`:

    bench/swaps.py [--rounds 4] [--slice 1] [PROGRAM...]

PROGRAM is redis (SETs of redis-benchmark), postgres (under pgbench) or threads
(bench_swaps: 4 threads whose blocks are checked). A round is a process of its
own for each of three ways:

    none   no swaps: what the other load on the machine does to the ratios
    copy   ultra and a copy of it take turns, 50 swaps
    all    20 swaps with a copy, 16 with mid_v35, 14 with a foreign box

The run is cut into slices of a second. In every other slice there are 10 swaps,
evenly spread, and the last one leads back to ultra. Other load on the machine so
affects both kinds of slices alike. A ratio is that of a slice with swaps to the
mean of the two slices beside it; the table has medians over all rounds. "CPU" is
what was done in a second of the program's CPU time, all threads of it, and not
in a second of the clock. Memory is that before the first swap and after the
last, resident, without files and without what processes share. Of postgres, CPU
and memory are those of the four clients' processes.
"""
import argparse
import os
import statistics
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests/control"))

# pylint: disable=wrong-import-position
from control import Folder, same, until  # noqa: E402
from swapping import (LEGS, Boxes, Postgres, Redis, Stress,  # noqa: E402
                      missing, plan, readable_by_nobody, rss_bytes)

SWAPS, EACH = 50, 10
WAYS = {"none": (), "copy": (("copy", SWAPS),), "all": LEGS}
MIB = 1 << 20


def swap_within(servers, pairs, seconds):
    """Make the swaps in all servers, evenly spread over the time."""
    start = time.monotonic()
    for i, (old, new) in enumerate(pairs):
        time.sleep(max(0, start + seconds * (i + 0.5) / len(pairs) -
                       time.monotonic()))
        for server in servers:
            server.must(f"swap {old} {new}")


def cpu_seconds(pids):
    """What the processes have used so far, to a hundredth of a second."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii",
                  errors="replace") as f:
            words = f.read().rsplit(")", 1)[1].split()
        ticks += int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Load:
    """A program under load. slice() lets it work for a while; meanwhile() makes
    the swaps. Returns what was done, by the second and by the CPU second."""

    def __init__(self, program, servers, pids, done):
        self.program, self.servers, self.pids = program, servers, pids
        self.done = done

    def slice(self, seconds, pairs):
        cpu, start, before = cpu_seconds(self.pids), time.monotonic(), \
            self.done()
        swap_within(self.servers, pairs, seconds)
        time.sleep(max(0, start + seconds - time.monotonic()))
        done = self.done() - before
        return (done / (time.monotonic() - start),
                done / (cpu_seconds(self.pids) - cpu))

    def rss(self):
        return sum(map(rss_bytes, self.pids))


def threads(folder, work):
    with Stress(folder, os.path.join(TOP, "build/bench/bench_swaps")) as s:
        there = s.load_boxes()
        same(s.said_line("start"), "started")
        work(Load(s, [s.boxes()], [s.process.pid],
                  lambda: int(s.said_line("count"))), there)
        same(s.said_line("free"), "freed")
        same(s.said(), "")


def redis(folder, work):
    with Redis(folder) as r:
        digest = r.fill()
        there = r.load_boxes()
        run = r.benchmark(100000000, ["set"])
        work(Load(r, [r.boxes()], [r.process.pid], r.commands), there)
        if run.poll() is not None:
            sys.exit("redis-benchmark ended before the swaps")
        run.terminate()
        if "rror" in run.communicate()[0]:
            sys.exit("redis-benchmark saw an error")
        same(r.digest(), digest)


def postgres(folder, work):
    with Postgres(folder) as p:
        digest = p.fill()
        there = p.load_boxes()
        run = p.benchmark("-t", "10000000")
        pids = until(lambda: len(p.clients()) == 4 and p.clients(),
                     "the clients of pgbench")
        servers = [p.boxes()] + [Boxes(folder.socket(n)) for n in pids]
        work(Load(p, servers, pids, p.transactions), there)
        same(run.poll(), None)
        run.terminate()
        same(run.communicate()[1], "")
        until(lambda: p.clients() == [], "the end of the clients")
        same((p.digest(), len(p.sums())), (digest, 1))


def absent(name):
    """Why a program cannot run; None."""
    if name == "redis" and missing(Redis.needs):
        return f"there is no {missing(Redis.needs)}"
    if name == "postgres" and Postgres.programs() is None:
        return "there is no postgres with pgbench"
    if name == "postgres" and not readable_by_nobody():
        return "the user nobody cannot read the library"
    if name == "threads" and \
            not os.path.exists(os.path.join(TOP, "build/bench/bench_swaps")):
        return "make benches builds it"
    return None


PROGRAMS = {"threads": threads, "redis": redis, "postgres": postgres}


class Figures:
    """Those of all rounds of a program in one way."""

    def __init__(self, legs, seconds):
        self.legs, self.seconds = legs, seconds
        self.rates, self.ratios, self.cpu_ratios = [], [], []
        self.before, self.after = [], []

    def work(self, load, there):
        names = [box for box, _ in there]
        pairs = plan([leg for leg in self.legs if leg[0] in names])
        load.slice(self.seconds, [])  # it warms up
        self.before.append(load.rss())
        slices = [load.slice(self.seconds, [])]
        for i in range(0, SWAPS, EACH):
            slices.append(load.slice(self.seconds, pairs[i:i + EACH]))
            slices.append(load.slice(self.seconds, []))
        self.after.append(load.rss())
        for i in range(1, len(slices), 2):
            base = [(a + b) / 2 for a, b in zip(slices[i - 1], slices[i + 1])]
            self.rates.append(base[0])
            self.ratios.append(slices[i][0] / base[0])
            self.cpu_ratios.append(slices[i][1] / base[1])

    def row(self):
        return [f"{statistics.median(self.rates):.0f}",
                f"{statistics.median(self.ratios):.3f}",
                f"{statistics.median(self.cpu_ratios):.3f}",
                f"{statistics.median(self.before) / MIB:.1f}",
                f"{statistics.median(self.after) / MIB:.1f}"]


def measure(name, rounds, seconds):
    figures = {way: Figures(legs, seconds) for way, legs in WAYS.items()}
    for n in range(rounds):
        for way, figure in figures.items():
            folder = Folder()
            try:
                PROGRAMS[name](folder, figure.work)
            finally:
                folder.remove()
            print(f"bench: {name}, round {n + 1} of {rounds}, {way}",
                  file=sys.stderr)
    for way, figure in figures.items():
        print("| " + " | ".join([name, way, *figure.row()]) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--slice", type=float, default=1, metavar="SECONDS")
    parser.add_argument("program", nargs="*", metavar="PROGRAM")
    args = parser.parse_args()
    for name in args.program:
        if name not in PROGRAMS:
            sys.exit(f"swaps.py: no program \"{name}\"; there are "
                     f"{', '.join(PROGRAMS)}")
    print("| program | swaps | per second without | ratio | ratio, CPU | "
          "MiB before | after |\n|---|---|---:|---:|---:|---:|---:|")
    for name in args.program or PROGRAMS:
        why = absent(name)
        if why:
            print(f"swaps.py: {name} is left out: {why}", file=sys.stderr)
        else:
            measure(name, args.rounds, args.slice)


if __name__ == "__main__":
    main()
