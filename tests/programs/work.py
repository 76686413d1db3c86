# SPDX-License-Identifier: MIT
"""work.py N - a bit of everything that allocates in Python."""
import hashlib
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import warnings
import zlib

N = int(sys.argv[1])
random.seed(N)
# From Python 3.12 on: a line with the pid, where two runs are compared.
warnings.filterwarnings("ignore", ".* use of fork.* may lead to deadlocks")


def digest(thing):
    return hashlib.sha256(repr(thing).encode()).hexdigest()[:16]


def sorting():
    words = ["%x" % random.getrandbits(random.randrange(8, 400))
             for _ in range(N)]
    words.sort()
    words.sort(key=len, reverse=True)
    return digest(words)


def dicts():
    table = {}
    for i in range(N):
        table["key%d" % (i * 7919 % N)] = [i] * (i % 50)
    for i in range(0, N, 3):
        table.pop("key%d" % i, None)
    return len(table), digest(sorted(table.items())[:1000])


def documents():
    tree = [{"id": i, "text": "x" * (i % 3000), "list": list(range(i % 40)),
             "real": i / 7} for i in range(N // 10)]
    text = json.dumps(tree)
    return len(text), json.loads(text) == tree


def threads():
    results = [None] * 8

    def churn(k):
        kept = []
        for i in range(N // 8):
            kept.append(bytearray((i * 37 + k) % 5000))
            if len(kept) > 100:
                kept.pop(i % 100)
        results[k] = sum(map(len, kept))

    for _ in range(3):
        started = [threading.Thread(target=churn, args=(k,))
                   for k in range(8)]
        for t in started:
            t.start()
        for t in started:
            t.join()
    return results


def processes():
    out = []
    for i in range(8):
        code = "print(sum(range(%d)), len('y' * %d))" % (N, i * 100000)
        out.append(subprocess.run([sys.executable, "-S", "-c", code],
                                  capture_output=True, check=True,
                                  text=True).stdout)
    return out


def pool_work(k):
    table = {i: str(i * k) * (i % 30) for i in range(N // 20)}
    return digest(sorted(table.items()))


def pools():
    """Processes by fork and anew; each has threads of the pool's own."""
    out = []
    for method in ("fork", "forkserver"):
        with multiprocessing.get_context(method).Pool(3) as pool:
            out.append(digest(pool.map(pool_work, range(24))))
    return out


def forks():
    """Children that allocate, of a parent whose threads are at it."""
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            for i in range(300):
                bytearray(i * 37 % 5000)

    busy = [threading.Thread(target=churn) for _ in range(3)]
    for t in busy:
        t.start()
    good = 0
    for i in range(20):
        pid = os.fork()
        if pid == 0:
            os._exit(len([zlib.compress(bytes(k)) for k in range(200)]) // 20)
        good += os.waitpid(pid, 0)[1] == 10 << 8
    stop.set()
    for t in busy:
        t.join()
    return good


def buffers():
    data = b"".join(b"%d," % (i * i) for i in range(N))
    packed = zlib.compress(data, 6)
    grown = bytearray()
    for i in range(0, len(data), 1000):
        grown += data[i:i + 1000]
    return len(packed), zlib.decompress(packed) == data == bytes(grown)


if __name__ == "__main__":
    for part in (sorting, dicts, documents, threads, processes, pools, forks,
                 buffers):
        print(part.__name__, part(), flush=True)
    sys.exit(7)
