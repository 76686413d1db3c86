"""harness.py - runs programs under several allocators, side by side.

A run is a process of its own, started by build/bench/measure, which measures
its cost. In every round the contenders of a row take turns, so that other load
on the machine affects all alike. Tables show medians of the rounds.
"""
import functools
import hashlib
import json
import math
import os
import random
import re
import signal
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BENCH = os.path.join(ROOT, "build/bench")
HAKMEM = os.path.join(ROOT, "build/libhakmem.so")
LIBS = "/usr/lib/x86_64-linux-gnu/"


def library(*names):
    """The path of the first name that is installed, else of the first."""
    paths = [LIBS + name for name in names]
    return next(filter(os.path.exists, paths), paths[0])


# glibc is preloaded too, since some programs link an allocator of their own.
PEERS = {
    "glibc": LIBS + "libc.so.6",
    "mimalloc": library("libmimalloc.so.2", "libmimalloc.so.3"),
    "jemalloc": LIBS + "libjemalloc.so.2",
    "tcmalloc": LIBS + "libtcmalloc_minimal.so.4",
    "tbbmalloc": LIBS + "libtbbmalloc_proxy.so.2",
}
LIMIT_SECONDS = 120


class Contender:
    """A name, a library to preload, environment variables, more arguments. A
    function `within` returns the words of a command that runs the program."""

    def __init__(self, name, preload="", env=None, args=(), within=list):
        self.name, self.preload = name, preload
        self.env, self.args = env or {}, list(args)
        self.within = within


def hakmem(name="hakmem", conf="default", **env):
    """hakmem on conf/CONF.ini with dlopened boxes. env: HAKMEM_ variables."""
    path = conf if conf.endswith(".ini") else f"conf/{conf}.ini"
    more = {f"HAKMEM_{key}": value for key, value in env.items()}
    return Contender(name, HAKMEM,
                     {"HAKMEM_CONF": os.path.join(ROOT, path), **more})


def fused(name="fused", conf="default"):
    """The library that `make fused CONF=conf/CONF.ini` builds."""
    lib = os.path.join(ROOT, f"build/fused/{conf}/libhakmem.so")
    return Contender(name, lib)


def calls_alone():
    """The cost of the two calls alone: bench/calls.c."""
    return Contender("calls alone", os.path.join(ROOT, "build/bench/calls.so"))


def peers(names=None):
    """The named PEERS that are installed; without names, all. A name with a
    slash is a library. `fused` is the fused library of the default
    configuration."""
    out = []
    for name in names or PEERS:
        if name == "fused":
            out.append(fused())
            continue
        if "/" not in name and name not in PEERS:
            sys.exit(f"bench: no peer \"{name}\"; there are "
                     f"{', '.join(PEERS)}, fused and paths of libraries")
        lib = os.path.abspath(name) if "/" in name else PEERS[name]
        if os.path.exists(lib):
            out.append(Contender(os.path.basename(name), lib))
        else:
            print(f"bench: {name}: no {lib}, left out", file=sys.stderr)
    return out


class RunFailed(Exception):
    """A run that does not count; the text says why."""


class Run:
    """The figures of one process, and its cost by build/bench/measure."""

    def __init__(self, text, cost):
        """text: the output of the program; None: its time is the figure."""
        self.seconds, user, kernel, peak_kib, self.faults, self.major = map(
            float, cost.split())
        self.rss_bytes = peak_kib * 1024
        self.sys_share = kernel / max(1e-9, user + kernel)
        self.cpu_seconds = user + kernel
        try:
            figures = [float(w) for w in text.split()] if text else []
        except ValueError:
            raise RunFailed(f"printed \"{text.strip()[:80]}\"") from None
        self.value = figures[0] if figures else self.seconds
        self.after_bytes = figures[1] if len(figures) > 1 else None


class Process:
    """A measured process. After its start call finish or stop."""

    def __init__(self, argv, env, contender, times=1):
        clean = {k: v for k, v in os.environ.items()
                 if not k.startswith("HAKMEM") and k != "LD_PRELOAD"}
        clean.update(env)
        clean.update(contender.env)
        self.argv = [*argv[:1], *contender.args, *argv[1:]]
        cost_fd, child_fd = os.pipe()
        self.cost, self.said = os.fdopen(cost_fd), ""
        self.child = subprocess.Popen(
            [*contender.within(), os.path.join(BENCH, "measure"),
             str(child_fd), str(times), contender.preload, *self.argv],
            env=clean, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, pass_fds=[child_fd],
            start_new_session=True)
        os.close(child_fd)

    def stop(self):
        """Kill the process and the processes that it started."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.communicate()

    def finish(self, quiet=True):
        """Wait; returns (stdout, cost). With quiet any output on stderr is a
        failure, since it may mean that the program runs on libc alone. Without,
        only messages of hakmem and of the dynamic linker are."""
        try:
            out, said = self.child.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.stop()
            raise RunFailed(f"not done after {LIMIT_SECONDS} s") from None
        finally:
            self.stop()
            with self.cost:
                cost = self.cost.read() if self.child.returncode == 0 else ""
        self.said = said.decode(errors="replace")
        said = self.said.strip()[:300].split("\n")[:3]
        said = " ".join(said)
        if self.child.returncode != 0:
            raise RunFailed(f"status {self.child.returncode} {said}")
        if said and (quiet or "hakmem: " in said or
                     "cannot be preloaded" in said):
            raise RunFailed(f"it said: {said}")
        return out, cost


LEAST_ROUNDS = 6  # with fewer, 95 % cannot be had: 2 / 2^5 is above 0.05


@functools.lru_cache(maxsize=None)
def interval(ratios):
    """The 95 % interval of the median of ratios, as of hakctl compare: the
    percentile bootstrap, widened to the order statistics that hold it whatever
    the distribution (tools/hakctl_compare_stats.c). None: too few."""
    n, rng = len(ratios), random.Random(17)
    if n < LEAST_ROUNDS:
        return None
    logs = sorted(math.log(max(r, 1e-300)) for r in ratios)
    medians = sorted(statistics.median(rng.choices(logs, k=n))
                     for _ in range(10000))
    outside = max(k for k in range(n) if 2 * sum(
        math.comb(n, i) for i in range(k + 1)) <= 0.05 * 2 ** n)
    return (math.exp(min(medians[250], logs[outside])),
            math.exp(max(medians[9749], logs[n - 1 - outside])))


class Row:
    """A workload and its contenders.

    unit   "op/s" or "ns": the program prints it; "s": time of the process
    tags   words that select the row, beside the words of its name
    times  runs of the process in one measurement ("s" only)
    same   every run of the process must print the same ("s" only)
    argv   the command line, or a function that makes its inputs and returns it
    """

    def __init__(self, name, argv, contenders, env=None, unit="op/s",
                 group="", tags=(), times=1, quiet=True, same=True):
        self.name, self.argv, self.contenders = name, argv, contenders
        self.env, self.unit, self.group = env or {}, unit, group
        self.times, self.quiet, self.same = times, quiet, same
        self.words = {w for text in (name, group, *tags)
                      for w in re.findall(r"[\w-]+", text.lower())}
        self.runs = {c.name: [] for c in contenders}
        self.failures = {}
        self.output, self.said = None, ""

    def one_run(self, contender):
        process = Process(self.argv, self.env, contender, self.times)
        out, cost = process.finish(self.quiet)
        self.said = process.said
        if self.unit != "s":
            return Run(out.decode(), cost)
        digest = hashlib.sha256(out).hexdigest()
        if self.same and self.output not in (None, digest):
            raise RunFailed("its output differs from the first run's")
        self.output = digest
        return Run(None, cost)

    def one_round(self, number=0):
        """One run of each contender; in every round another one is first."""
        first = number % len(self.contenders)
        for c in self.contenders[first:] + self.contenders[:first]:
            if c.name in self.failures:
                continue
            try:
                self.runs[c.name].append(self.one_run(c))
            except RunFailed as why:
                self.failures[c.name] = str(why)
                print(f"bench: {self.name} on {c.name} failed: {why}",
                      file=sys.stderr)

    def took_part(self, name):
        return name in self.runs and name not in self.failures

    def values(self, name, what="value"):
        return [getattr(r, what) for r in self.runs[name]]

    def median(self, name, what="value"):
        return statistics.median(self.values(name, what))

    def in_ns(self, value):
        return {"ns": value, "op/s": 1e9 / max(value, 1e-9),
                "s": value * 1e9}[self.unit]

    def time_ns(self, name):
        """The median ns of an operation, or of the process."""
        return self.in_ns(self.median(name))

    def time_interval(self, name, base):
        """Where the median of the rounds' ratios of times lies with 95 %: (low,
        high). None: one of them failed, or there are too few rounds."""
        if not (self.took_part(name) and self.took_part(base)):
            return None
        return interval(tuple(
            self.in_ns(value) / max(self.in_ns(of), 1e-9)
            for value, of in zip(self.values(name), self.values(base))))

    def spread(self, name):
        """The spread of the rounds: (worst - best) / median."""
        values = self.values(name)
        return (max(values) - min(values)) / max(statistics.median(values),
                                                 1e-9)

    def ratio(self, name, base, what="time"):
        """The median of `name` over that of `base`; above 1, base is better.
        None if one of them has no figure."""
        if not (self.took_part(name) and self.took_part(base)):
            return None
        if what == "time":
            return self.time_ns(name) / self.time_ns(base)
        if None in self.values(name, what) + self.values(base, what):
            return None
        return self.median(name, what) / max(1, self.median(base, what))


def run_rows(rows, rounds):
    """Run all rows, round after round. Returns true if no run failed."""
    if not os.path.exists(os.path.join(BENCH, "measure")):
        sys.exit("bench: nothing built; make benches does that")
    for row in rows:
        if callable(row.argv):
            row.argv = row.argv()
    for number in range(rounds):
        for at, row in enumerate(rows):
            if sys.stderr.isatty():
                print(f"\r\033[Kbench: round {number + 1} of {rounds}, "
                      f"{at + 1} of {len(rows)}: {row.name} ", end="",
                      file=sys.stderr, flush=True)
            row.one_round(number)
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
        print(f"bench: round {number + 1} of {rounds}", file=sys.stderr)
    return not any(row.failures for row in rows)


def run_rows_or_exit(rows, rounds):
    """Run all rows; exit if a run failed. For tables that need all figures."""
    if not run_rows(rows, rounds):
        sys.exit("bench: no table, since runs failed")


def program(name, *args):
    """The command line of a bench program."""
    return [os.path.join(BENCH, name), *map(str, args)]


def geomean(values):
    """The geometric mean of the values that are not None; None if all are."""
    logs = [math.log(v) for v in values if v]
    return math.exp(sum(logs) / len(logs)) if logs else None


def markdown(head, lines):
    """A Markdown table, with all columns but the first aligned right."""
    text = ["| " + " | ".join(head) + " |",
            "|---|" + "---:|" * (len(head) - 1)]
    text += ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join(text)


def as_dict(row):
    """All figures of all runs, for JSON."""
    return {"name": row.name, "group": row.group, "unit": row.unit,
            "argv": [os.path.relpath(a, ROOT) if a.startswith(ROOT) else a
                     for a in row.argv],
            "env": row.env, "failures": row.failures,
            "runs": {name: [vars(r) for r in runs]
                     for name, runs in row.runs.items()}}


def as_json(rows):
    print(json.dumps([as_dict(row) for row in rows]))
