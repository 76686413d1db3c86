"""harness.py - runs programs under several allocators, side by side.

A run is a process of its own. Every round takes each row's contenders in
turn, so that what else the machine does falls on all alike; tables show
medians of the rounds.
"""
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BENCH = os.path.join(ROOT, "build/bench")
HAKMEM = os.path.join(ROOT, "build/libhakmem.so")
LIBS = "/usr/lib/x86_64-linux-gnu/"
PEERS = {
    "glibc": "",
    "mimalloc": LIBS + "libmimalloc.so.2.0",
    "jemalloc": LIBS + "libjemalloc.so.2",
    "tcmalloc": LIBS + "libtcmalloc_minimal.so.4",
    "tbbmalloc": LIBS + "libtbbmalloc_proxy.so.2",
}


class Contender:
    """A name, what is preloaded, what the environment gets, more arguments."""

    def __init__(self, name, preload="", env=None, args=()):
        self.name, self.preload = name, preload
        self.env, self.args = env or {}, list(args)


def hakmem(name="hakmem", conf="default", **env):
    """hakmem on conf/CONF.ini, its boxes dlopened; env: HAKMEM_ variables."""
    path = os.path.join(ROOT, f"conf/{conf}.ini")
    more = {f"HAKMEM_{key}": value for key, value in env.items()}
    return Contender(name, HAKMEM, {"HAKMEM_CONF": path, **more})


def fused(name="fused", conf="default"):
    """The library that `make fused CONF=conf/CONF.ini` builds."""
    lib = os.path.join(ROOT, f"build/fused/{conf}/libhakmem.so")
    return Contender(name, lib)


def peers(names=None):
    """Those of PEERS that are installed."""
    out = []
    for name in names or PEERS:
        lib = PEERS[name]
        if lib and not os.path.exists(lib):
            print(f"bench: {name}: no {lib}, left out", file=sys.stderr)
        else:
            out.append(Contender(name, lib))
    return out


class Run:
    """What one process did."""

    def __init__(self, value, usage):
        self.value = value  # op/s, or ns for a program that prints those
        self.rss_bytes = usage.ru_maxrss * 1024
        self.faults = usage.ru_minflt
        self.sys_share = usage.ru_stime / max(
            1e-9, usage.ru_utime + usage.ru_stime)


def run(argv, env, contender):
    """One run in a process of its own; ends the program when it fails."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HAKMEM")}
    clean.update(env)
    clean.update(contender.env)
    if contender.preload:
        clean["LD_PRELOAD"] = contender.preload
    else:
        clean.pop("LD_PRELOAD", None)
    argv = [*argv[:1], *contender.args, *argv[1:]]
    child = subprocess.Popen(argv, env=clean, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    text, said = child.stdout.read(), child.stderr.read()
    _, child.returncode, usage = os.wait4(child.pid, 0)
    if child.returncode != 0 or said:  # a word may mean: on libc alone
        sys.exit(f"bench: {' '.join(argv)} on {contender.name}: status "
                 f"{child.returncode}\n{said}")
    return Run(float(text), usage)


class Row:
    """A workload and who takes part. ns: the program prints ns, not op/s."""

    def __init__(self, name, argv, contenders, env=None, ns=False):
        self.name, self.argv, self.contenders = name, argv, contenders
        self.env, self.ns = env or {}, ns
        self.runs = {c.name: [] for c in contenders}

    def one_round(self):
        for c in self.contenders:
            self.runs[c.name].append(run(self.argv, self.env, c))

    def median(self, name, what="value"):
        return statistics.median(getattr(r, what) for r in self.runs[name])

    def time_ns(self, name):
        """ns of an operation, the median."""
        value = self.median(name)
        return value if self.ns else 1e9 / value

    def spread(self, name):
        """(worst - best) / median, of times."""
        values = [r.value for r in self.runs[name]]
        return (max(values) - min(values)) / statistics.median(values)


def run_rows(rows, rounds):
    """All rows, round after round."""
    for number in range(rounds):
        for row in rows:
            row.one_round()
        print(f"bench: round {number + 1} of {rounds}", file=sys.stderr)


def program(name, *args):
    """Command line of a bench program."""
    return [os.path.join(BENCH, name), *map(str, args)]


def markdown(head, lines):
    """A table; all but the first column to the right."""
    print("| " + " | ".join(head) + " |")
    print("|---|" + "---:|" * (len(head) - 1))
    for line in lines:
        print("| " + " | ".join(line) + " |")


def as_json(rows):
    """All figures of all runs."""
    print(json.dumps({
        row.name: {name: [vars(r) for r in runs]
                   for name, runs in row.runs.items()}
        for row in rows}))
