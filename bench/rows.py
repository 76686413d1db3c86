"""rows.py - the workloads of `make bench`, in groups.

Counts are chosen so that a run takes some tenths of a second. Group `growth`
has curves in place of rows. Group `mechanisms` compares variants of hakmem.
"""
import os
import shutil

import harness
from harness import Contender, Row, calls_alone, fused, hakmem, program
from programs import program_rows

MIB = 2**20
# A quick run divides all counts by this.
QUICK = 20


class Rows:
    """Collects rows for contenders. quick: counts are divided by QUICK."""

    def __init__(self, contenders, quick):
        self.contenders, self.quick, self.rows = contenders, quick, []

    def count(self, full):
        return max(1, full // QUICK) if self.quick else full

    def add(self, group, name, argv, **more):
        self.rows.append(Row(name, argv, more.pop("who", self.contenders),
                             group=group, **more))
        return self.rows[-1]

    def mixed(self, least, most, ws, iterations):
        return {"argv": program("bench_random_mixed", self.count(iterations),
                                ws),
                "env": {"HAKMEM_BENCH_MIN_SIZE": str(least),
                        "HAKMEM_BENCH_MAX_SIZE": str(most)}}


def in_bytes(size):
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"


def pairs(r):
    for batch in (1, 30, 100, 1000):
        for size in (16, 64, 256, 1024, 4096, 32768):
            # Some allocators trim and grow the heap in each batch here.
            full = 2000000 if size * batch > 100000 else 16000000
            r.add("pair", f"pair, {in_bytes(size)}, batch {batch}",
                  program("pair", size, batch, r.count(full)), unit="ns")


def random_replacement(r):
    for least, most, sizes in ((16, 1024, "16..1024 B"),
                               (1024, 8192, "1..8 KiB"),
                               (16, 65536, "16 B..64 KiB")):
        for ws in (100, 1000, 10000, 100000):
            if most * ws > 2 << 30:
                continue  # more memory than a bench may take
            full = {1024: 12000000, 8192: 3000000, 65536: 400000}[most]
            r.add("random", f"random, {sizes}, ws {ws}",
                  **r.mixed(least, most, ws, full // (1 + ws // 20000)))


def threads(r):
    def add(mode, ns, iterations, what):
        for n in ns:
            each = max(1, r.count(iterations) // n)
            name = f"{what}, {n} thread{'s' * (n > 1)}"
            r.add("threads", name, program(
                "bench_threads", mode, n,
                each if mode != "storm" else r.count(iterations)),
                tags=[mode, f"{n}t"])

    add("server", (1, 2, 4, 8), 16000000, "server, blocks handed on")
    add("swap", (2, 4), 8000000, "half of the frees of others' blocks")
    add("producer", (2, 4, 8), 4000000, "producer/consumer, all remote")
    add("barrier", (2, 4, 8), 200, "barrier, free in random order")
    add("active", (2, 4), 4000000, "cache lines, active")
    add("passive", (2, 4), 4000000, "cache lines, passive")
    add("storm", (1, 2, 4, 8), 6000, "thread storm")


SIZES = {"buffers, 40..64 MiB": {"HAKMEM_BENCH_MIN_SIZE": str(40 * MIB),
                                 "HAKMEM_BENCH_MAX_SIZE": str(64 * MIB)}}


def memory(r):
    for mode, n, iterations, what in (
            ("burst", 64, 8, "burst and shrink, 64 MiB"),
            ("fragment", 16, 24, "fragmentation, 16 MiB live"),
            ("realloc", 8, 60000, "realloc growth to 1 MiB"),
            ("calloc", 1000, 3000000, "calloc, 16..8192 B"),
            ("memalign", 1000, 4000000, "memalign 64, 64..8192 B"),
            ("large", 16, 60000, "large, 64 KiB..32 MiB"),
            ("pages", 16, 200, "large, every page written to"),
            ("buffers", 20, 300, "buffers, 5..25 MiB"),
            ("buffers", 4, 120, "buffers, 40..64 MiB"),
            ("crowded", 20, 200, "buffers, 5..25 MiB, busy machine")):
        r.add("memory", what,
              program("bench_memory", mode, n, r.count(iterations)),
              tags=[mode], env=SIZES.get(what, {}))


def kept(r):
    for mode, n, what in (
            ("phases", 60, "phases of one size, 60 MiB at once"),
            ("waiting", 300, "freed of a thread that waits, 300 MiB"),
            ("little", 1000, "1000 threads with 10 KiB each"),
            ("survivors", 320, "blocks that outlive their threads")):
        r.add("kept", what, program("bench_kept", mode, max(32, r.count(n))),
              tags=[mode])


def notes(r):
    """Rows of the plain bench programs, with fixed parameters."""
    r.add("notes", "bench_random_mixed, ws 400",
          program("bench_random_mixed", r.count(15000000), 400))
    r.add("notes", "bench_fixed_size, 64 B, ws 128",
          program("bench_fixed_size", 64, 128, r.count(20000000)))
    for n in (1, 2, 4, 8):
        s = "s" * (n > 1)
        r.add("notes", f"bench_mid_mt_gap, {n} thread{s}",
              program("bench_mid_mt_gap", n, r.count(8000000) // n),
              tags=[f"{n}t"])
        r.add("notes", f"bench_mid_large_mt, {n} thread{s}",
              program("bench_mid_large_mt", n, r.count(600000) // n),
              tags=[f"{n}t"])


def table_rows(contenders, quick):
    r = Rows(contenders, quick)
    for group in (pairs, random_replacement, threads, memory, kept, notes):
        group(r)
    return r.rows + program_rows(contenders, quick)


# ---- growth: curves ----------------------------------------------------------

def available_bytes():
    with open("/proc/meminfo", encoding="ascii") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 1 << 30


def many_boxes(n):
    """Make an INI of n boxes: copies of ultra, each with a part of 1..1024."""
    at = os.path.join(harness.BENCH, "boxes")
    os.makedirs(at, exist_ok=True)
    sections, policy = [], []
    for i in range(n):
        copy = os.path.join(at, f"ultra{i}.so")
        shutil.copy(os.path.join(harness.ROOT, "build/boxes/ultra.so"), copy)
        sections.append(f"[box b{i}]\npath = {copy}\n")
        policy.append(f"{1024 * i // n + 1}-{1024 * (i + 1) // n} = b{i}\n")
    path = os.path.join(at, f"{n}.ini")
    with open(path, "w", encoding="ascii") as f:
        f.write("".join(sections) + "[policy]\n" + "".join(policy))
    return path


def curve_rows(contenders, quick):
    """Rows that are points of curves: .curve names the plot, .x the place."""
    r = Rows(contenders, quick)

    def point(curve, x, name, **more):
        row = r.add("growth", name, **more)
        row.curve, row.x = curve, x
        row.words |= {"curve", *curve.split()}

    most = available_bytes() // 4 // MIB
    for mib in (10, 100, 1000, 3000, 10000, 30000):
        if mib <= (10 if quick else most):
            point("live heap, MiB", mib, f"live heap of {mib} MiB",
                  argv=program("bench_memory", "heap", mib, r.count(1000000)))
    for n in (1, 2, 4, 8, 16):
        point("threads", n, f"growth, {n} threads", argv=program(
            "bench_threads", "server", n, r.count(16000000) // n))
    for mode in ("longest", "p99.99"):
        for mib in (300, 1000, 3000):
            if mib <= (300 if quick else most):
                point(f"{mode} malloc while another thread frees, MiB", mib,
                      f"stall, {mode} malloc, {mib} MiB", unit="ns",
                      argv=program("bench_stall", mode, mib))
    own = [hakmem()]
    for spans in (64, 512, 4096, 16384):
        if spans <= (512 if quick else most * 16):
            point("spans", spans, f"{spans} spans held", who=own +
                  [hakmem("owns()", CORE_FREE_ROUTE="owns")],
                  argv=program("bench_memory", "spans", spans,
                               r.count(5000000)))
    for n in (1, 2, 4, 8, 16):
        conf = many_boxes(n)
        point("boxes", n, f"{n} boxes", who=[
            hakmem("hakmem", conf),
            hakmem("owns()", conf, CORE_FREE_ROUTE="owns")],
            **r.mixed(16, 1024, 400, 5000000))
    return r.rows


# ---- mechanisms --------------------------------------------------------------

def mechanism_rows(quick):
    """Rows of hakmem, and of hakmem with one mechanism changed."""
    r = Rows([hakmem(), hakmem("owns()", CORE_FREE_ROUTE="owns"),
              hakmem("lanes off", "lanes-off"), fused()], quick)
    floor = Contender("inlined LIFO", args=["--floor"])
    for size in (16, 256, 1024, 4096):
        r.add("mechanisms", f"pair of {in_bytes(size)}, hakmem's variants",
              program("pair", size, 100, r.count(12000000)), unit="ns",
              who=r.contenders + [calls_alone(), floor])
    r.add("mechanisms", "random 16..1024 B, hakmem's variants",
          **r.mixed(16, 1024, 1000, 10000000))
    r.add("mechanisms", "random 1..8 KiB, hakmem's variants",
          **r.mixed(1024, 8192, 1000, 5000000))
    r.add("mechanisms", "server of 2 threads, hakmem's variants",
          program("bench_threads", "server", 2, r.count(8000000)))
    r.add("mechanisms", "start of true, hakmem's variants", ["/bin/true"],
          unit="s", times=r.count(50))
    return r.rows
