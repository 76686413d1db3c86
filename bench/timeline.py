#!/usr/bin/env python3
"""timeline.py - measures what the thread of [stats] timeline costs.

usage: timeline.py [--seconds N] [--every-ms N]

Programs with more and more memory run with a timeline for some seconds each.
The CPU time of the timeline's thread is printed in percent of a CPU, and how
many points came. A wake-up by itself costs something, and on a virtual machine
much. So each program also has a thread that only sleeps for the same periods;
its CPU time is printed beside. Exit status 1: the timeline took 0.2 % more than
that thread.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PYTHON = os.path.realpath("/usr/bin/python3" if os.path.exists(
    "/usr/bin/python3") else sys.executable)
PROGRAM = """
import random, sys, threading, time
def sleeper(every):
    while True:
        time.sleep(every)
threading.Thread(target=sleeper, args=(EVERY,), daemon=True).start()
blocks = [bytes(random.randrange(32, 4000)) for _ in range(BLOCKS)]
print(threading.enumerate()[1].native_id, flush=True)
for line in sys.stdin:
    pass
"""
MIB = 1 << 20


def cpu_us(pid, thread):
    stat = pathlib.Path(f"/proc/{pid}/task/{thread}/schedstat").read_text()
    return int(stat.split()[0]) / 1000


def named(pid, name):
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return task.name
    raise RuntimeError(f"{pid} has no thread {name}")


def read_points(file):
    lines = file.read_text().split("\n")[:-1]
    return [p for p in map(json.loads, lines) if "span_ms" in p]


def measure(folder, blocks, args):
    """Percent of a CPU of both threads, points in a second, the last point."""
    file = folder / f"{blocks}.timeline"
    env = {k: v for k, v in os.environ.items() if not k.startswith("HAKMEM_")}
    env.update(LD_PRELOAD=str(ROOT / "build/libhakmem.so"),
               HAKMEM_CONF=str(ROOT / "conf/default.ini"),
               HAKMEM_STATS_TIMELINE=str(file), PYTHONMALLOC="malloc",
               HAKMEM_STATS_EVERY_MS=str(args.every_ms))
    text = PROGRAM.replace("EVERY", str(args.every_ms / 1000)).replace(
        "BLOCKS", str(blocks))
    with subprocess.Popen([PYTHON, "-c", text], env=env, text=True,
                          stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as program:
        sleeper = program.stdout.readline().strip()
        ours = named(program.pid, "hakmem")
        time.sleep(2)
        npoints = len(read_points(file))
        before = [cpu_us(program.pid, t) for t in (ours, sleeper)]
        start = time.monotonic()
        time.sleep(args.seconds)
        seconds = time.monotonic() - start
        after = [cpu_us(program.pid, t) for t in (ours, sleeper)]
        points = read_points(file)
        program.stdin.close()
    percent = [(b - a) / seconds / 1e4 for a, b in zip(before, after)]
    return percent, (len(points) - npoints) / seconds, points[-1]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, usage=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--every-ms", type=int, default=100)
    args = parser.parse_args()
    good = True
    print("| mapped | timeline | a thread that sleeps | points a second |\n"
          "|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for blocks in (1000, 50000, 500000):
            (ours, bare), rate, point = measure(pathlib.Path(folder), blocks,
                                                args)
            mib = point["window"]["used"] // MIB
            print(f"| {mib} MiB | {ours:.3f} % | {bare:.3f} % | {rate:.1f} |",
                  flush=True)
            good = good and ours - bare < 0.2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
