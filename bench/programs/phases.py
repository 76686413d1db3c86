# SPDX-License-Identifier: MIT
"""phases.py N TIMES - a batch job in phases, each with records of another kind.

Each of ten phases keeps N records of one length in a table, replaces a third
of them, and hands only a digest to the next. All phases run TIMES times.
"""
import sys
import zlib

n, times = int(sys.argv[1]), int(sys.argv[2])
digest = 0
for length in (480, 900, 60, 300, 700, 420, 980, 120, 350, 600) * times:
    table = {}
    for i in range(n):
        table[i] = bytes((i & 255,)) * (length - i % 50 - 33)
    for i in range(0, n, 3):
        table[i] = table[i * 7919 % n][::-1]
    for i in range(1, n, 2):
        table.pop(i)
    for record in table.values():
        digest = zlib.adler32(record, digest)
print(digest)
