#!/usr/bin/env python3
"""tuning.py - measures the tuning constants at several values.

usage: tuning.py [--rounds N] [--only WORD] [--json]

Measures each parameter of the core and the default boxes that trades time for
memory, on the workload for which it exists. Ratios are of medians in one run,
to those of the default.
"""
import argparse

import harness
from harness import Row, hakmem, markdown, program

DEFAULT = "default"


def mixed(least, most, working_set, iterations):
    return {"argv": program("bench_random_mixed", iterations, working_set),
            "env": {"HAKMEM_BENCH_MIN_SIZE": str(least),
                    "HAKMEM_BENCH_MAX_SIZE": str(most)}}


def memory(mode, n, iterations):
    return {"argv": program("bench_memory", mode, n, iterations)}


def pair(size, batch, pairs):
    return {"argv": program("pair", size, batch, pairs), "unit": "ns"}


def constants():
    """An INI section and key, the default, other values, a workload."""
    small = "random 16..1024 B, ws 10000"
    middle = "random 1..8 KiB, ws 1000"
    wide = "random 256..512 KiB, ws 16"
    yield ("core.purge_delay_ms", "100", ["10", "1000"],
           "burst and shrink, 64 MiB", memory("burst", 64, 8))
    yield ("core.purge_delay_ms", "100", ["10", "1000"],
           "fragmentation, 16 MiB live", memory("fragment", 16, 24))
    yield ("box ultra.carve", "4k", ["1k", "16k", "64k"],
           small, mixed(16, 1024, 10000, 4000000))
    yield ("box ultra.warm", "2M", ["0", "256k", "16M"],
           "burst and shrink, 64 MiB", memory("burst", 64, 8))
    yield ("box midmt.carve", "4k", ["1k", "16k", "64k"],
           middle, mixed(1024, 8192, 1000, 4000000))
    yield ("box midmt.segment_max", "4M", ["2M"],
           middle, mixed(1024, 8192, 10000, 4000000))
    yield ("box midmt.empty_segments", "1", ["0", "4"],
           "pair 32 KiB, batch 1000", pair(32768, 1000, 2000000))
    yield ("box midmt.warm", "16M", ["0", "2M", "64M"],
           "pair 20000 B, batch 1000", pair(20000, 1000, 2000000))
    yield ("box large.near_bytes", "4M", ["0", "1M", "16M"],
           wide, mixed(256 << 10 | 1, 512 << 10, 16, 300000))
    yield ("box large.cache_bytes", "256M", ["0", "32M", "128M", "1G"],
           "buffers, 5..25 MiB", memory("buffers", 20, 300))
    yield ("box large.cache_share", "25", ["0", "100"],
           "buffers, 5..25 MiB", memory("buffers", 20, 300))
    yield ("box large.waste", "25", ["0", "100"],
           "large, every page written to", memory("pages", 16, 100))
    yield ("box large.waste", "25", ["0", "100"],
           "large, 64 KiB..32 MiB", memory("large", 16, 30000))
    yield ("box large.learn", "on", ["off"], "buffers, 40..64 MiB",
           {**memory("buffers", 4, 120),
            "env": {"HAKMEM_BENCH_MIN_SIZE": str(40 << 20),
                    "HAKMEM_BENCH_MAX_SIZE": str(64 << 20)}})
    yield ("box large.zero_map_bytes", "4M", ["256k", "64M"],
           "large, 64 KiB..32 MiB", memory("large", 16, 30000))


def rows():
    out = []
    for key, usual, others, what, workload in constants():
        name = key.upper().replace(" ", "_").replace(".", "_")
        who = [hakmem(DEFAULT)]
        who += [hakmem(value, **{name: value}) for value in others]
        row = Row(f"{key}, {what}", contenders=who, **workload)
        row.key, row.usual, row.what = key, usual, what
        out.append(row)
    return out


def resident(row, name):
    """MiB of RSS at the peak; and a second later, if the row prints it."""
    text = f"{row.median(name, 'rss_bytes') / 2**20:.1f}"
    if None in row.values(name, "after_bytes"):
        return text
    return f"{text}, then {row.median(name, 'after_bytes') / 2**20:.1f}"


def table(done):
    lines = []
    for row in done:
        for c in row.contenders:
            usual = c.name == DEFAULT
            lines.append([
                f"{row.key}: {row.what}" if usual else "",
                f"**{row.usual}**" if usual else c.name,
                f"{1 / row.ratio(DEFAULT, c.name):.2f}",
                f"{row.median(c.name, 'faults'):.0f}", resident(row, c.name)])
    return ("Time in multiples of the default's, in bold.\n\n"
            + markdown(["constant: workload", "value", "time", "minor faults",
                        "peak RSS, MiB"], lines))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows with this word")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    done = [r for r in rows() if args.only in r.name]
    harness.run_rows_or_exit(done, args.rounds)
    if args.json:
        harness.as_json(done)
    else:
        print(table(done))


if __name__ == "__main__":
    main()
