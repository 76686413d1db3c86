# SPDX-License-Identifier: MIT
"""handed.py N - threads that parse lines and hand the records to others.

Two threads make records, two others keep the last thousands of them and so free
what the first two allocated.
"""
import collections
import queue
import sys
import threading

BATCH, KEPT = 500, 20000


def make(n, start, to):
    for at in range(start, start + n, BATCH):
        to.put([{"id": i, "name": f"name {i * 7919 % n}",
                 "body": "x" * (200 + i * 31 % 750),
                 "tags": [str(i)] * (i % 8)} for i in range(at, at + BATCH)])
    to.put(None)


def keep(of, totals):
    kept, total = collections.deque(maxlen=KEPT), 0
    while (batch := of.get()) is not None:
        for record in batch:
            total += len(record["body"]) + len(record["tags"])
            kept.append(record)
    totals.append(total + len(kept))


n, totals, threads = int(sys.argv[1]), [], []
for start in (0, 10**6):
    line = queue.Queue(maxsize=4)
    threads += [threading.Thread(target=make, args=(n, start, line)),
                threading.Thread(target=keep, args=(line, totals))]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(sorted(totals))
