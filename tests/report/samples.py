#!/usr/bin/env python3
"""samples.py FOLDER - write the inputs of tests/report/ into a folder.

    sample.timeline  60 points of three boxes, with events, merged points and a
                     box that came later; program and arguments are hostile
    sample.pb.gz     a heap profile with hostile names of functions
    sample.json      a report of the same process, and one of another
    greedy.timeline  every part of the memory is large, so all advice is given
    quiet.timeline   nothing is
    live.timeline    the last line is being written
"""
import gzip
import json
import math
import sys

PID = 4711
HOSTILE = '</script><script>alert(1)</script>"\'&<b onload=x>'
MIB = 1 << 20


# ---- timelines --------------------------------------------------------------

def header(boxes, **more):
    line = {"hakmem_timeline": 1, "pid": PID, "program": "/usr/bin/app" + HOSTILE,
            "args": "app " + HOSTILE + " \u00e9\u202e", "every_ms": 1000,
            "start_unix_ms": 1796052000123, "points_most": 4096,
            "page_bytes": 4096, "boxes": boxes}
    return {**line, **more}


def box(live, mapped, cached, classes=None):
    out = {"live": live, "live_count": live // 64, "mapped": mapped,
           "cached": cached, "allocs": 1000, "frees": 900}
    if classes:
        out["classes"] = classes
    return out


def point(t, boxes, dirty=0, **more):
    used = sum(b["mapped"] for b in boxes)
    resident = used * 3 // 4 + dirty
    return {"t": t, "span_ms": 1000, "rss": resident + 11 * MIB,
            "file": 3 * MIB - 65536, "meta": 65536, "minflt": 1, "majflt": 0,
            "window": {"used": used, "free": dirty + MIB, "dirty": dirty,
                       "delay_ms": 100, "resident": resident},
            "boxes": boxes, **more}


def classes(slots, live, mapped):
    n = len(slots)
    return [[slot, live // n // slot, live // n, mapped // n, 0, 9, 3]
            for slot in slots]


def sample():
    yield header(["ultra", "midmt", "large"])
    yield {"box": "late" + HOSTILE, "t": 30500}
    for i in range(60):
        live = int((20 + 15 * math.sin(i / 8)) * MIB) // 4096 * 4096
        boxes = [
            box(live, live * 5 // 4, live // 16,
                classes([16, 32, 64, 256, 512], live, live * 5 // 4)
                if i % 8 == 7 else None),
            box(live // 2, live, live // 8,
                classes([2112, 8256], live // 2, live) if i % 8 == 7 else None),
            box(8 * MIB, 9 * MIB, MIB)]
        if i > 30:
            boxes.append(box(2 * MIB, 3 * MIB, 0))
        more = {}
        if i < 10:
            more["most"] = {"rss": 90 * MIB, "live": live + MIB, "mapped": 1}
        if i == 20:
            yield {"t": 20500, "event": "route", "text": "257-1024 -> midmt"}
        if i == 31:
            yield {"t": 30500, "event": "load", "text": HOSTILE}
        line = point(1000 * (i + 1), boxes, (i % 5) * MIB, **more)
        if i % 3:
            del line["window"]["resident"]
        yield line
    yield {"t": 60100, "end": "exit"}


GREEDY = ["ultra", "midmt", "large", "mid_v35", "tiny", "smallmid", "other"]


def greedy():
    yield header(GREEDY)
    for i in range(5):
        boxes = [box(10 * MIB, 90 * MIB, 80 * MIB) for _ in GREEDY]
        boxes[0] = box(10 * MIB, 180 * MIB, 80 * MIB,
                       classes([272, 528, 1024], 9 * MIB, 99 * MIB))
        line = point(1000 * (i + 1), boxes, 90 * MIB)
        line["window"]["resident"] = 810 * MIB
        line["rss"] = 1160 * MIB
        yield line


def quiet():
    yield header(["ultra", "midmt", "large"])
    for i in range(3):
        yield point(1000 * (i + 1), [box(10 * MIB, 10 * MIB, 0)] * 3)


def lines(objects):
    return "".join(json.dumps(o) + "\n" for o in objects)


# ---- reports ----------------------------------------------------------------

def report(pid):
    return {"hakmem": "0", "program": "app", "pid": pid, "conf": "/none.ini",
            "profile": None, "kept_bytes": 3 * MIB, "dirty_bytes": 2 * MIB,
            "meta_bytes": 65536,
            "boxes": [{"name": "ultra", "live_bytes": 5 * MIB, "allocs": 77,
                       "mapped_bytes": 9 * MIB, "cached_bytes": 2 * MIB,
                       "classes": [{"slot_bytes": 64, "live": 9,
                                    "live_bytes": 5 * MIB,
                                    "mapped_bytes": 7 * MIB,
                                    "cached_bytes": 0}]}]}


# ---- a heap profile, as profile.proto has it ---------------------------------

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


class Strings:
    def __init__(self):
        self.all = [""]

    def __call__(self, text):
        if text not in self.all:
            self.all.append(text)
        return self.all.index(text)


TYPES = [("alloc_objects", "count"), ("alloc_space", "bytes"),
         ("inuse_objects", "count"), ("inuse_space", "bytes"),
         ("peak_objects", "count"), ("peak_space", "bytes"),
         ("slot_overhead", "bytes"), ("page_overhead", "bytes"),
         ("inuse_samples", "count"), ("inuse_variance", "kib2"),
         ("freed_objects", "count")]

# Functions, outermost first, and the values of the types.
STACKS = [
    (["main", "serve", "parse" + HOSTILE],
     [900, 90 * MIB, 300, 20 * MIB, 400, 28 * MIB, 3 * MIB, MIB, 40, 9, 0]),
    (["main", "serve", "cache_put"],
     [100, 12 * MIB, 90, 10 * MIB, 95, 11 * MIB, 65536, 4096, 20, 4, 0]),
    (["main", "load"],
     [5, 3 * MIB, 5, 3 * MIB, 5, 3 * MIB, 512, 0, 6, 1, 0]),
]


def profile():
    string, out = Strings(), b""
    for kind, unit in TYPES:
        out += field(1, field(1, string(kind)) + field(2, string(unit)))
    names = sorted({name for stack, _ in STACKS for name in stack})
    for stack, values in STACKS:
        body = field(1, b"".join(varint(names.index(n) + 1)
                                 for n in reversed(stack)))
        body += field(2, b"".join(map(varint, values)))
        for key, text in (("thread", "app"), ("box", "ultra")):
            body += field(3, field(1, string(key)) + field(2, string(text)))
        out += field(2, body)
    out += field(3, field(1, 1) + field(2, 4096) + field(3, 1 << 20)
                 + field(5, string("/usr/bin/app")))
    for i, name in enumerate(names, 1):
        line = field(1, i) + field(2, 10 + i)
        out += field(4, field(1, i) + field(2, 1) + field(3, 4096 + 16 * i)
                     + field(4, line))
        out += field(5, field(1, i) + field(2, string(name))
                     + field(4, string("/src/app.c")))
    for text in ("hakmem heap profile 1", "program=/usr/bin/app",
                 f"pid={PID}", "reason=exit", "every=524288", "samples=66"):
        out += field(13, string(text))
    out += field(14, string("inuse_space"))
    return out + b"".join(field(6, s.encode()) for s in string.all)


def main():
    folder = sys.argv[1]
    texts = {
        "sample.timeline": lines(sample()), "greedy.timeline": lines(greedy()),
        "quiet.timeline": lines(quiet()),
        "live.timeline": lines(quiet()) + '{"t":4000,"span',
        "sample.json": lines([report(PID), report(PID + 1)]),
    }
    for name, text in texts.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8") as out:
            out.write(text)
    with open(f"{folder}/sample.pb.gz", "wb") as out:
        out.write(gzip.compress(profile(), mtime=0))


if __name__ == "__main__":
    main()
