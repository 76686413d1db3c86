#!/usr/bin/env python3
"""exporter.py - how long a scrape of many processes takes, and what it costs
them. Run after `make`:

    bench/exporter.py [--processes 50] [--scrapes 60] [--interval 1]

Starts the processes with a control socket and one `hakctl exporter`, and scrapes
it. Each process has some live blocks of every size class and then sleeps, so
all of its CPU time is that of the scrapes.
"""
import argparse
import os
import subprocess
import sys
import time
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CTL = os.path.join(TOP, "build/hakctl")
PROGRAM = """
import sys, time
keep = [bytes(n) for n in range(520, 200000, 300)]
print(flush=True)
time.sleep(1e6)
"""


def cpu_seconds(pid):
    """All threads of a process, by the scheduler's own count."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def start(words):
    child = subprocess.Popen(words, stdout=subprocess.PIPE)
    line = child.stdout.readline()
    return child, line.decode()


def measure(args, url, pids):
    """Returns the times of the scrapes, their bytes, and a process's CPU."""
    times, size = [], 0
    urllib.request.urlopen(url).read()  # the first one finds nothing warm
    before, began = sum(map(cpu_seconds, pids)), time.monotonic()
    for _ in range(args.scrapes):
        at = time.monotonic()
        size = len(urllib.request.urlopen(url).read())
        times.append(time.monotonic() - at)
        time.sleep(max(0, args.interval - times[-1]))
    spent = sum(map(cpu_seconds, pids)) - before
    return times, size, spent / len(pids) / (time.monotonic() - began)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--scrapes", type=int, default=60)
    parser.add_argument("--interval", type=float, default=1)
    args = parser.parse_args()
    children = []
    try:
        for _ in range(args.processes):
            children.append(start([CTL, "run", "--control", "--",
                                   "/usr/bin/python3", "-c", PROGRAM])[0])
        exporter, said = start([CTL, "exporter", "--listen", "127.0.0.1:0"])
        children.append(exporter)
        if not said.startswith("listening on "):
            sys.exit("the exporter does not start")
        url = said.split()[-1]
        times, size, cpu = measure(args, url, [c.pid for c in children[:-1]])
    finally:
        for child in children:
            child.kill()
            child.wait()
    times.sort()
    print(f"{args.processes} processes, {args.scrapes} scrapes of "
          f"{size / 1024:.0f} KiB: median {times[len(times) // 2] * 1000:.0f} ms, "
          f"slowest {times[-1] * 1000:.0f} ms; "
          f"CPU of a process {cpu * 100:.3f} %")


if __name__ == "__main__":
    main()
