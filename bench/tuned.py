#!/usr/bin/env python3
"""tuned.py - tunes the configuration to whole programs, and measures the gain.

usage: tuned.py [--budget TIME] [--weight LIST] [--loss PERCENT] [--rounds N]
                [--only WORD] [--quick] [--again] [--json]

Of each program: hakctl record makes a trace, hakctl tune searches for a better
configuration than conf/default.ini, and hakctl compare runs the program on
both, in turn. Where no change is worth it there is nothing to compare. Traces
and configurations stay in build/bench/tuned; --again takes those that are
there and compares only.
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time

import harness
import programs
from harness import markdown

HAKCTL = os.path.join(harness.ROOT, "build/hakctl")
DEFAULT = os.path.join(harness.ROOT, "conf/default.ini")
DIR = os.path.join(harness.BENCH, "tuned")
NAMES = ["gcc -O2", "python3, objects", "sqlite3", "redis", "perl, words",
         "git repack", "node, JSON", "xz -T2", "z3"]
MEASURES = {"wall_ns": "wall time", "cpu_us": "CPU time",
            "peak_rss_kib": "peak RSS"}


class Failed(Exception):
    """What hakctl said when it failed."""


def hakctl(*words, env=None, ok=(0,)):
    """Run hakctl in its folder for traces; returns its stdout."""
    done = subprocess.run([HAKCTL, *words], cwd=DIR, env=env, text=True,
                          errors="replace", stdin=subprocess.DEVNULL,
                          capture_output=True, check=False)
    if done.returncode not in ok:
        raise Failed(f"hakctl {words[0]}: status {done.returncode} "
                     f"{done.stderr.strip()[-300:]}")
    return done.stdout


class Program:
    """A row of the bench, as a program for hakctl."""

    def __init__(self, row):
        self.row, self.name = row, row.name
        self.word = re.sub(r"\W+", "-", row.name)
        self.port = str(programs.free_port())
        self.is_server = isinstance(row, programs.RedisRow)
        argv = row.argv() if callable(row.argv) else row.argv
        self.argv = argv + (["--port", self.port] if self.is_server else [])
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith("HAKMEM")} | row.env
        self.trace = os.path.join(DIR, self.word + ".trace")
        self.ini = os.path.join(DIR, self.word + ".ini")
        self.result = os.path.join(DIR, self.word + ".json")

    def load(self):
        """The clients of a server, as a command line for sh."""
        return (f"redis-benchmark -p {self.port} -n {self.row.requests} -c 20 "
                "-P 16 -r 100000 -d 200 -q -t "
                "set,get,lpush,lpop,sadd,hset,zadd")

    def server_options(self):
        if not self.is_server:
            return []
        return ["--ready", f"redis-cli -p {self.port} ping", "--load",
                self.load()]

    # ---- recording ----

    def record_server(self, words):
        with subprocess.Popen([HAKCTL, *words], cwd=DIR, env=self.env,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE) as server:
            ping = ["redis-cli", "-p", self.port, "ping"]
            for _ in range(300):
                if subprocess.run(ping, capture_output=True,
                                  check=False).returncode == 0:
                    break
                time.sleep(0.02)
            subprocess.run(["sh", "-c", self.load()], check=True,
                           stdout=subprocess.DEVNULL)
            subprocess.run(["redis-cli", "-p", self.port, "shutdown",
                            "nosave"], check=True)
            try:
                server.communicate(timeout=harness.LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                server.send_signal(signal.SIGTERM)
                raise Failed("the recorded server does not end") from None

    def record(self):
        """Programs that start others leave a trace of each; the one with the
        most calls counts."""
        for old in os.listdir(DIR):
            if old.startswith(self.word + ".") and old.endswith(".trace"):
                os.unlink(os.path.join(DIR, old))
        words = ["record", "-c", DEFAULT, "-o", self.trace, "--", *self.argv]
        if self.is_server:
            self.record_server(words)
        else:
            hakctl(*words, env=self.env)
        traces = [os.path.join(DIR, f) for f in os.listdir(DIR)
                  if f.startswith(self.word + ".") and f.endswith(".trace")]
        largest = max(traces, key=os.path.getsize)
        for trace in traces:
            if trace != largest:
                os.unlink(trace)
        if largest != self.trace:
            os.rename(largest, self.trace)

    # ---- tuning and comparing ----

    def tune(self, args):
        for old in (self.ini, self.ini + ".state"):
            if os.path.exists(old):
                os.unlink(old)
        hakctl("tune", self.trace, "-c", DEFAULT, "-o", self.ini, "--budget",
               args.budget, "--weight", args.weight, "--loss", args.loss,
               "--json", self.result)

    def compare(self, rounds):
        text = hakctl("compare", "-c", DEFAULT, "-c", self.ini, "-n",
                      str(rounds), *self.server_options(), "--json", "-",
                      "--", *self.argv, env=self.env)
        return {v["measure"]: v for v in json.loads(text)["verdicts"]}


# ---- the table --------------------------------------------------------------

def change(ratio):
    return f"{100 * (ratio - 1):+.1f} %"


def of_verdict(verdict):
    """The change, and its interval."""
    if not verdict or verdict.get("interval") is None:
        return "-"
    low, high = (100 * (bound - 1) for bound in verdict["interval"])
    return f"{change(verdict['ratio'])} ({low:+.1f} .. {high:+.1f})"


def line(program, result, verdicts):
    gains = [change(result["all"][m]["ratio"]) if result["worth_it"] else "-"
             for m in ("time", "memory")]
    lines = [f"`{each['line']}`" for each in result["lines"]]
    return [program.name,
            ", ".join(lines) if result["worth_it"] else "no change",
            *gains, *(of_verdict(verdicts.get(m)) for m in MEASURES)]


def table(done):
    return ("Changes against conf/default.ini, with 95 % intervals of the "
            "program's. Allocator time and memory are those of the replay, on "
            "the part of the trace that the search had not seen.\n\n"
            + markdown(["program", "lines that differ", "allocator time",
                        "memory", *MEASURES.values()],
                       [line(*each) for each in done]))


def measure(program, args):
    if not (args.again and os.path.exists(program.result)):
        program.record()
        program.tune(args)
    with open(program.result, encoding="utf-8") as f:
        result = json.load(f)
    verdicts = program.compare(args.rounds) if result["worth_it"] else {}
    return program, result, verdicts


def as_json(done):
    print(json.dumps([{"program": p.name, "tune": result, "compare": verdicts}
                      for p, result, verdicts in done], indent=1))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="5m", help="of each hakctl tune")
    parser.add_argument("--weight", default="time=1,rss=1",
                        help="of hakctl tune")
    parser.add_argument("--loss", default="1", help="of hakctl tune")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="programs with this word")
    parser.add_argument("--quick", action="store_true", help="little work")
    parser.add_argument("--again", action="store_true",
                        help="with the traces and configurations of before")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    os.makedirs(DIR, exist_ok=True)
    done, failed = [], False
    for row in programs.program_rows([], args.quick):
        if row.name not in NAMES or args.only not in row.name:
            continue
        print(f"bench: {row.name}", file=sys.stderr)
        try:
            done.append(measure(Program(row), args))
        except (Failed, subprocess.CalledProcessError, OSError) as error:
            print(f"bench: {row.name}: {error}", file=sys.stderr)
            failed = True
    (as_json if args.json else lambda rows: print(table(rows)))(done)
    sys.exit(failed)


if __name__ == "__main__":
    main()
