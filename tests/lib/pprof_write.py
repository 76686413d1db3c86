#!/usr/bin/env python3
"""pprof_write.py - writes a profile.proto from a description in JSON, for the
tests of hakctl profile.

usage: pprof_write.py [--raw] [DESCRIPTION] >PROFILE

The description is an object with these members, all optional:

    types     [["inuse_space", "bytes"], ...]; without it those of hakmem
    default   the default type
    comments  ["pid=1", ...]
    mappings  [[start, limit, offset, file, build_id], ...]
    samples   [{"at": [address or name, ...], "labels": {...}, VALUE: n}, ...]
              innermost first; VALUE is the name of a type
    period, time_nanos, duration_nanos

An address gets the mapping that contains it. A name becomes a function of the
profile itself, as in files of Go. A number as a label has the unit bytes.
--raw leaves gzip out.
"""
import gzip
import json
import sys

HAKMEM = [["alloc_objects", "count"], ["alloc_space", "bytes"],
          ["inuse_objects", "count"], ["inuse_space", "bytes"],
          ["peak_objects", "count"], ["peak_space", "bytes"],
          ["slot_overhead", "bytes"], ["page_overhead", "bytes"],
          ["inuse_samples", "count"], ["inuse_variance", "kib2"],
          ["freed_objects", "count"]]


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7f:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, n):
    return varint(field << 3) + varint(n) if n else b""


def blob(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def packed(field, numbers):
    return blob(field, b"".join(map(varint, numbers)))


class Profile:
    def __init__(self, what):
        self.strings = {"": 0}
        self.locations = {}
        self.mappings = what.get("mappings", [])
        self.what = what

    def text(self, s):
        return self.strings.setdefault(s, len(self.strings))

    def location(self, at):
        return self.locations.setdefault(at, len(self.locations) + 1)

    def label(self, key, value):
        if isinstance(value, str):
            return number(1, self.text(key)) + number(2, self.text(value))
        return number(1, self.text(key)) + number(3, value) + \
            number(4, self.text("bytes"))

    def sample(self, s, types):
        at = packed(1, map(self.location, s["at"]))
        values = packed(2, [s.get(name, 0) for name, _ in types])
        labels = [blob(3, self.label(k, v))
                  for k, v in s.get("labels", {}).items()]
        return blob(2, at + values + b"".join(labels))

    def mapping(self, i, m):
        start, limit, offset, file, build_id = m
        return blob(3, number(1, i) + number(2, start) + number(3, limit) +
                    number(4, offset) + number(5, self.text(file)) +
                    number(6, self.text(build_id)))

    def one_location(self, at, i):
        if isinstance(at, str):
            line = number(1, i) + number(2, 7)
            return blob(4, number(1, i) + blob(4, line)) + \
                blob(5, number(1, i) + number(2, self.text(at)) +
                     number(4, self.text("given.go")))
        mapping = [k + 1 for k, m in enumerate(self.mappings)
                   if m[0] <= at < m[1]]
        return blob(4, number(1, i) + number(2, (mapping or [0])[0]) +
                    number(3, at))

    def bytes(self):
        what = self.what
        types = what.get("types", HAKMEM)
        out = [blob(1, number(1, self.text(t)) + number(2, self.text(u)))
               for t, u in types]
        out += [self.sample(s, types) for s in what.get("samples", [])]
        out += [self.mapping(i + 1, m) for i, m in enumerate(self.mappings)]
        out += [self.one_location(at, i) for at, i in self.locations.items()]
        tail = b"".join(number(13, self.text(c))
                        for c in what.get("comments", []))
        tail += number(14, self.text(what.get("default", "")))
        out += [blob(6, s.encode()) for s in self.strings]
        out += [number(9, what.get("time_nanos", 0)),
                number(10, what.get("duration_nanos", 0)),
                number(12, what.get("period", 0)), tail]
        return b"".join(out)


def main():
    words = sys.argv[1:]
    raw = "--raw" in words
    words = [w for w in words if w != "--raw"]
    with open(words[0], encoding="utf-8") if words else sys.stdin as file:
        content = Profile(json.load(file)).bytes()
    sys.stdout.buffer.write(content if raw else gzip.compress(content, mtime=0))


if __name__ == "__main__":
    main()
