#!/usr/bin/env python3
"""boxes.py - measures each box on its own sizes, and what each mechanism gains.

usage: boxes.py [--rounds N] [--only WORD] [--json]

Prints three tables: boxes beside ultra and other allocators, options on and
off, dlopened boxes beside the fused library. Times are ns of an operation (a
free and a malloc). Ratios are of medians in one run.
"""
import argparse

import harness
from harness import Row, fused, hakmem, peers, program

OTHERS = ["mimalloc", "jemalloc", "tcmalloc", "glibc"]


def mixed(least, most, working_set, iterations=4000000):
    """The command line and environment of bench_random_mixed."""
    return (program("bench_random_mixed", iterations, working_set),
            {"HAKMEM_BENCH_MIN_SIZE": str(least),
             "HAKMEM_BENCH_MAX_SIZE": str(most)})


def own_rows():
    """Rows of a box, a configuration that routes to it, and a workload."""
    rows = []

    def add(box, conf, what, argv, env=None, unit="op/s", with_ultra=True):
        who = [hakmem(box, conf), fused("fused", conf)]
        if conf != "default" and with_ultra:
            who.append(hakmem("ultra", "default"))
        row = Row(f"{box}, {what}", argv, who + peers(OTHERS), env, unit)
        row.box = box
        rows.append(row)

    add("tiny", "tiny", "16..128 B, ws 400", *mixed(16, 128, 400))
    add("tiny", "tiny", "64 B, ws 128",
        program("bench_fixed_size", 64, 128, 8000000))
    add("tiny", "tiny", "pair 64 B", program("pair", 64, 100, 2000000),
        unit="ns")
    add("ultra", "default", "16..1024 B, ws 400", *mixed(16, 1024, 400))
    add("ultra", "default", "129..1024 B, ws 10000",
        *mixed(129, 1024, 10000, 3000000))
    add("ultra", "default", "pair 256 B", program("pair", 256, 100, 2000000),
        unit="ns")
    add("mid_v35", "mid-v35", "257..1024 B, ws 400", *mixed(257, 1024, 400))
    add("mid_v35", "mid-v35", "257..1024 B, ws 10000",
        *mixed(257, 1024, 10000, 3000000))
    add("mid_v35", "mid-v35", "pair 512 B", program("pair", 512, 100, 2000000),
        unit="ns")
    add("smallmid", "smallmid", "257..1024 B, ws 400", *mixed(257, 1024, 400))
    add("smallmid", "smallmid", "257..1024 B, ws 10000",
        *mixed(257, 1024, 10000, 3000000))
    add("smallmid", "smallmid", "pair 512 B, 16 at once",
        program("pair", 512, 16, 4000000), unit="ns")
    add("midmt", "default", "1..8 KiB, ws 256",
        program("bench_mid_mt_gap", 1, 3000000))
    add("midmt", "default", "1..8 KiB, ws 256, 2 threads",
        program("bench_mid_mt_gap", 2, 3000000))
    add("midmt", "default", "1025..32768 B, ws 400",
        *mixed(1025, 32768, 400, 2000000))
    add("midmt", "default", "32..256 KiB, ws 64",
        *mixed(32769, 256 << 10, 64, 1000000))
    add("large", "default", "256 KiB..2 MiB, ws 64",
        *mixed((256 << 10) + 1, 2 << 20, 64, 200000))
    add("large", "default", "8 KiB..1 MiB, ws 64, 2 threads",
        program("bench_mid_large_mt", 2, 200000))
    return rows


def option_rows():
    """Rows whose first contender has the mechanism switched off."""
    gate = {"MID_V35_ENABLED": "1"}
    calls = {"BOX_TINY_LANES": "off"}
    churn = program("pair", 512, 2000, 4000000)
    small = "16..128 B, ws 400"
    return [
        Row("MID_V35, 257..512 B, ws 400", mixed(257, 512, 400)[0],
            [hakmem("off"), hakmem("on", **gate)], mixed(257, 512, 400)[1]),
        Row("MID_V35, 16..1024 B, ws 400", mixed(16, 1024, 400)[0],
            [hakmem("off"), hakmem("on", **gate)], mixed(16, 1024, 400)[1]),
        Row("TinyHeapV2, " + small, mixed(16, 128, 400)[0],
            [hakmem("off", "tiny", **calls),
             hakmem("on", "tiny", BOX_TINY_MAGAZINE="on", **calls),
             hakmem("lanes, off", "tiny")], mixed(16, 128, 400)[1]),
        Row("smallmid reuse, 512 B, 2000 at once", churn,
            [hakmem("off", "smallmid", BOX_SMALLMID_REUSE="off"),
             hakmem("on", "smallmid"),
             hakmem("on, prewarm 2", "smallmid", BOX_SMALLMID_PREWARM="2")],
            unit="ns"),
        Row("guard, pair 64 B", program("pair", 64, 100, 4000000),
            [hakmem("off"), hakmem("on", "guard")], unit="ns"),
        Row("guard, 16..1024 B, ws 400", mixed(16, 1024, 400)[0],
            [hakmem("off"), hakmem("on", "guard")], mixed(16, 1024, 400)[1]),
        Row("guard, 1..32 KiB, ws 400", mixed(1025, 32768, 400)[0],
            [hakmem("off"), hakmem("on", "guard")], mixed(1025, 32768, 400)[1]),
        Row("guard, no limit a second, 16..1024 B, ws 400",
            mixed(16, 1024, 400)[0],
            [hakmem("off"), hakmem("on", "guard",
                                   BOX_GUARD_MOST_PER_SECOND="0")],
            mixed(16, 1024, 400)[1]),
        Row("learner, 16..1024 B, ws 400", mixed(16, 1024, 400)[0],
            [hakmem(mode, "learner", LEARNER_MODE=mode)
             for mode in ("off", "observe", "apply")],
            mixed(16, 1024, 400)[1]),
    ]


def ratio(a, b):
    return f"{a / b:.2f}"


def print_own(rows):
    head = ["box, workload", "ns", "fused", "ultra", *OTHERS, "best peer"]
    lines = []
    for row in rows:
        mine = row.time_ns(row.box)
        cells = [row.name, f"{mine:.2f}"]
        for name in ["fused", "ultra", *OTHERS]:
            cells.append(ratio(row.time_ns(name), mine)
                         if name in row.runs else "")
        best = min(row.time_ns(n) for n in OTHERS if n in row.runs)
        lines.append(cells + [f"**{ratio(mine, best)}**"])
    print("Time of each in multiples of the box's; last, the box in multiples "
          "of the fastest peer.\n")
    print(harness.markdown(head, lines))
    mean = harness.geomean(r.ratio(r.box, "fused") for r in rows)
    print(f"\nDlopened boxes take {mean:.3f} times the fused library's time "
          "(geometric mean of these rows).")


def print_options(rows):
    head = ["option, workload", "", "ns", "time against off",
            "minor faults", "of time in the kernel", "peak RSS"]
    lines = []
    for row in rows:
        first = row.contenders[0].name
        for c in row.contenders:
            lines.append([
                row.name if c.name == first else "", c.name,
                f"{row.time_ns(c.name):.2f}",
                ratio(row.time_ns(c.name), row.time_ns(first)),
                f"{row.median(c.name, 'faults'):.0f}",
                f"{100 * row.median(c.name, 'sys_share'):.1f} %",
                f"{row.median(c.name, 'rss_bytes') / 2**20:.1f} MiB"])
    print(harness.markdown(head, lines))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows with this word")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    own = [r for r in own_rows() if args.only in r.name]
    options = [r for r in option_rows() if args.only in r.name]
    harness.run_rows_or_exit(own + options, args.rounds)
    if args.json:
        harness.as_json(own + options)
        return
    if own:
        print_own(own)
    if options:
        print()
        print_options(options)


if __name__ == "__main__":
    main()
