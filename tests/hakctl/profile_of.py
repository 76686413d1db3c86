#!/usr/bin/env python3
"""profile_of.py - makes a profile of the places that profiled.cc has printed.

usage: profile_of.py BUILD_ID [COMMENT...] <OUTPUT >PROFILE

Each place is the innermost frame of a stack of 1000 bytes, whose outer frame
is that of main. The mappings of profiled have that build id. The last sample
lies nowhere.
"""
import gzip
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "lib"))
import pprof_write  # noqa: E402


def main():
    build_id, comments = sys.argv[1], sys.argv[2:]
    places, mappings = {}, []
    for line in sys.stdin:
        words = line.split()
        if words[0] == "at":
            places[words[1]] = int(words[2], 16)
        elif "x" in words[1]:
            start, limit = (int(n, 16) for n in words[0].split("-"))
            file = words[5] if len(words) > 5 else ""
            mappings.append([start, limit, int(words[2], 16), file,
                             build_id if "profiled" in file else ""])
    outer = places["main"]
    samples = [{"at": [at, outer] if at != outer else [at],
                "inuse_space": 1000, "inuse_objects": 10,
                "inuse_variance": 1, "labels": {"thread": name}}
               for name, at in places.items()]
    samples.append({"at": [0x1230, 0x4560], "inuse_space": 1000,
                    "inuse_objects": 1, "labels": {"thread": "nowhere"}})
    content = pprof_write.Profile({"samples": samples, "mappings": mappings,
                                   "comments": comments}).bytes()
    sys.stdout.buffer.write(gzip.compress(content, mtime=0))


main()
