"""swaps.py - redis, postgres and threads with checked blocks, while boxes are
swapped 50 times under each: ultra and a copy of it, mid_v35 and back, a foreign
box and back.

What has to hold: the load sees no error, the content is right, memory is not
left behind, and each box that drains is closed when its blocks are gone. How
many blocks glibc and the program keep in a box stands in a comment.
"""
import subprocess
import sys

from control import ROOT, holds, main, same, until
from swapping import (Boxes, Postgres, Redis, Refused, Stress, missing, plan,
                      readable_by_nobody, rss_bytes)

MIB = 1 << 20
# More than this in a box after the load has ended are blocks that were lost,
# not some that a library keeps.
KEPT = 64


def swap_all(boxes, pairs, used):
    """Make the swaps; each is felt before the next: used(boxes, TO). A box may
    be closed before it serves again, but for a foreign one."""
    made = 0
    for old, new in pairs:
        boxes.must(f"swap {old} {new}")
        made += 1
        until(lambda new=new: used(boxes, new), f"blocks in {new}")
        if old not in ("foreign", "ultra") and made % 3 == 0:
            boxes.drain(old)
    return made


def has_blocks(boxes, name):
    return boxes.all()[name]["live"] > 0


def close_all(boxes, legs, touch, kept=KEPT):
    """Wait until few blocks are left in the other boxes, and say how many. A box
    without blocks has to be closed."""
    states = {}

    def drained():
        touch()
        for name, _ in legs:
            states[name] = boxes.drain(name)
        return all(live <= kept for _, live in states.values())
    until(drained, f"few blocks in {[name for name, _ in legs]}")
    for name, (state, live) in states.items():
        print(f"# {name}: {state}, {live} blocks stay")
        until(lambda name=name: boxes.drain(name) == ("closed", 0) or
              boxes.drain(name)[1] > 0, f"{name} is closed")
    return states


def flat(before, after, bound):
    print(f"# RSS {before / MIB:.1f} MiB before, {after / MIB:.1f} MiB after")
    assert after < before * 1.5 + bound, (before, after)


def the_swaps_are_those_asked_for(_):
    pairs = plan((("a", 2), ("b", 2)))
    same(pairs, [("ultra", "a"), ("a", "ultra"), ("ultra", "b"),
                 ("b", "ultra")])
    same(len(plan((("copy", 20), ("mid", 16), ("foreign", 14)))), 50)


def threads_with_checked_blocks(folder):
    if missing(["gcc"]):
        return "there is no gcc"
    program = folder.path / "bench_swaps"
    subprocess.run(["gcc", "-O1", "-o", program, ROOT / "bench/bench_swaps.c",
                    "-lpthread"], check=True)
    with Stress(folder, program) as s:
        legs = s.load_boxes()
        boxes = s.boxes()
        s.said_line("run 0.5")
        before = s.rss()
        for leg in legs:
            s.tell("run 1")
            swap_all(boxes, plan([leg]), has_blocks)
            assert int(s.answer()) > 0
        flat(before, s.rss(), 16 * MIB)
        same(s.said_line("free"), "freed")
        states = close_all(boxes, legs, lambda: s.said_line("touch"))
        same(states["mid"], ("closed", 0))
        same(s.said(), "")
        s.lives()
    return None if len(legs) == 3 else "no foreign box: no library for one"


def redis_under_its_benchmark(folder):
    absent = missing(Redis.needs)
    if absent:
        return f"there is no {absent}"
    with Redis(folder) as r:
        legs = r.load_boxes()
        boxes = r.boxes()
        digest = r.fill()
        r.benchmark(2000).communicate()
        before = r.rss()
        pairs = plan(legs)
        same(under_load(r, boxes, pairs), len(pairs))
        after = r.rss()
        same(r.digest(), digest)
        flat(before, after, 24 * MIB)
        r.clear()
        close_all(boxes, legs, lambda: r.benchmark(20).communicate() and r.clear())
        r.lives()
        same("crash" in (folder.path / "redis.log").read_text(), False)
    return None if len(legs) == 3 else "no foreign box: no library for one"


def under_load(redis, boxes, pairs):
    """Make the swaps while benchmarks run, one after the other."""
    made = 0
    while made < len(pairs):
        run = redis.benchmark(5000)
        while made < len(pairs) and run.poll() is None:
            made += swap_all(boxes, pairs[made:made + 1], has_blocks)
            before = redis.commands()
            until(lambda before=before: redis.commands() > before + 400 or
                  run.poll() is not None, "commands")
        out, _ = run.communicate()
        same((run.returncode, "rror" in out), (0, False))
        same(out.count("requests per second"), len(Redis.WORK))
    return made


def postgres_under_pgbench(folder):
    if Postgres.programs() is None:
        return "there is no postgres with pgbench (apt package postgresql)"
    if not readable_by_nobody():
        return "the user nobody, as which postgres runs, cannot read the " \
               "library"
    with Postgres(folder) as p:
        digest = p.fill()
        legs = p.load_boxes()
        run = p.benchmark("-t", "1000000")
        pids = until(lambda: len(p.clients()) == 4 and p.clients(),
                     "the clients of pgbench")
        servers = [p.boxes()] + [Boxes(folder.socket(n)) for n in pids]
        before = sum_rss(pids)
        # Its blocks are mostly those of midmt, so these are swapped, too.
        for base in ("ultra", "midmt"):
            pairs = plan(legs if base == "ultra" else legs[1:2], base)
            for n, (old, new) in enumerate(pairs):
                for server in servers:
                    server.must(f"swap {old} {new}")
                if n % 8 == 0:  # a new process with the boxes as they are
                    same(p.digest(), digest)
                history(p, run)
        same(run.poll(), None)
        flat(before, sum_rss(pids), 32 * MIB)
        for server in servers[:2]:
            close_all(server, legs, lambda: history(p, run))
        run.terminate()
        _, err = run.communicate()
        same(err, "")
        until(lambda: p.clients() == [], "the end of the clients")
        same((p.digest(), len(p.sums())), (digest, 1))
        p.lives()
        same([line for line in p.said().splitlines()
              if "PANIC" in line or "terminated by signal" in line], [])
        same("hakmem: " in p.said(), False)
    return None if len(legs) == 3 else "no foreign box: no library for one"


def sum_rss(pids):
    return sum(rss_bytes(pid) for pid in pids)


def history(postgres, run):
    """Wait for transactions."""
    before = postgres.transactions()
    until(lambda: postgres.transactions() > before + 20 or
          run.poll() is not None, "transactions")


def a_refusal_is_an_error(folder):
    """The other tests rest on it."""
    if missing(Redis.needs):
        return f"there is no {missing(Redis.needs)}"
    with Redis(folder) as r:
        boxes = r.boxes()
        try:
            boxes.must("swap ultra none")
        except Refused as why:
            holds("there is no box none", str(why))
            return None
    raise AssertionError("it was not refused")


if __name__ == "__main__":
    sys.exit(main([the_swaps_are_those_asked_for, a_refusal_is_an_error,
                   threads_with_checked_blocks, redis_under_its_benchmark,
                   postgres_under_pgbench]))
