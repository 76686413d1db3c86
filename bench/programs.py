"""programs.py - whole programs as rows of the bench.

Makes the inputs in build/bench/data, the same on every machine. The scripts
that the programs run are in bench/programs/. A program that is not installed is
left out, with a message.
"""
import os
import shutil
import socket
import subprocess
import sys
import time

import harness
from harness import Process, Row, Run, RunFailed

DATA = os.path.join(harness.BENCH, "data")
SCRIPTS = os.path.join(harness.ROOT, "bench/programs")


def installed(name):
    """Debian's program before any other, since a reader has the same."""
    path = shutil.which(name, path="/usr/bin:/bin") or shutil.which(name)
    if path is None:
        print(f"bench: no {name}, its rows left out", file=sys.stderr)
    return path


def script(name):
    return os.path.join(SCRIPTS, name)


def random_numbers(seed):
    while True:
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        yield seed >> 33


def made(name, make):
    """The path of an input file. make() returns its text and runs once."""
    path = os.path.join(DATA, name)
    if not os.path.exists(path):
        os.makedirs(DATA, exist_ok=True)
        with open(path + ".part", "w", encoding="ascii") as f:
            f.write(make())
        os.rename(path + ".part", path)
    return path


# ---- inputs -----------------------------------------------------------------

def c_source(functions):
    """C functions of some ten lines each, no two alike."""
    out = ["struct s { int a[8]; struct s *next; double d; };"]
    for i in range(functions):
        cases = "\n".join(
            f"case {k}: sum += p->a[{(i + k) % 8}] * {i * 7 + k}; break;"
            for k in range(5))
        more = f" + f{i - 1}(p, n - 1)" if i else ""
        out.append(f"int f{i}(struct s *p, int n)\n{{ int sum = {i};\n"
                   f"for (int i = 0; i < n; i++) {{\n"
                   f"switch ((i + {i % 11}) % 7) {{\n{cases}\n"
                   f"default: p->d += sum / {i % 5 + 1}.5; }}\n"
                   f"p = p->next; }}\nreturn sum{more}; }}")
    return "\n".join(out) + "\n"


def sql(rows):
    return f"""
create table t (id integer primary key, name text, body text, n integer);
with recursive c(i) as (select 1 union all select i + 1 from c
    where i < {rows})
insert into t select i, 'name ' || (i * 7919 % {rows}),
    substr(hex(i * 1000003) || hex(zeroblob(i % 200)), 1, i % 200), i % 97
    from c;
create index by_name on t (name);
create index by_n on t (n, body);
select n, count(*), sum(length(body)) from t group by n order by n limit 5;
select count(*) from t a join t b on a.name = b.name;
update t set body = upper(body) || name where n < 40;
delete from t where n > 60;
select count(*), sum(length(body)), group_concat(n) from
    (select * from t order by body limit 50);
"""


def text(npages):
    """Words, as in a log file, which can be compressed about 3:1."""
    numbers = random_numbers(1)
    words = [f"{next(numbers) % 10**(3 + i % 9)}" for i in range(2000)]
    line = (" ".join(words[next(numbers) % 2000] for _ in range(8)) + "\n"
            for _ in range(npages * 64))
    return "".join(line)


def smt(bits, count):
    """Equations of bit vectors that have a solution."""
    numbers = random_numbers(2)
    names = [f"x{i}" for i in range(count)]
    value = {n: next(numbers) % 2**bits for n in names}
    out = ["(set-logic QF_BV)"]
    out += [f"(declare-fun {n} () (_ BitVec {bits}))" for n in names]
    for i in range(count * 3):
        a, b, c = (names[next(numbers) % count] for _ in range(3))
        result = ((value[a] * value[b]) ^ value[c]) % 2**bits
        out.append(f"(assert (= (bvxor (bvmul {a} {b}) {c}) "
                   f"(_ bv{result} {bits})))")
    return "\n".join(out + ["(check-sat)"]) + "\n"


def git_stream(commits):
    """A history for git fast-import: files that change a little each time."""
    numbers = random_numbers(3)
    files = [[f"{next(numbers)}" for _ in range(300)] for _ in range(40)]
    out = []
    for i in range(commits):
        message = f"commit {i}"
        out.append(f"commit refs/heads/main\n"
                   f"committer A <a@b.c> {1700000000 + i} +0000\n"
                   f"data {len(message)}\n{message}")
        for _ in range(4):
            k = next(numbers) % len(files)
            files[k][next(numbers) % 300] = f"changed in {i}"
            body = "\n".join(files[k])
            out.append(f"M 644 inline dir{k % 7}/file{k}\n"
                       f"data {len(body)}\n{body}")
    return "\n".join(out) + "\n"


def repository(git, commits):
    path = os.path.join(DATA, f"repo{commits}")
    if not os.path.isdir(path):
        stream = made(f"history{commits}", lambda: git_stream(commits))
        new = path + ".part"
        shutil.rmtree(new, ignore_errors=True)
        subprocess.run([git, "init", "-q", "--bare", new], check=True)
        with open(stream, encoding="ascii") as f:
            subprocess.run([git, "-C", new, "fast-import", "--quiet"],
                           stdin=f, check=True)
        os.rename(new, path)
    return path


# ---- redis ------------------------------------------------------------------

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# Prefixes of the names of libraries that crash when malloc_usable_size gets a
# block of another allocator. redis-server from 8.0 on does that, since its Lua
# allocates by jemalloc's mallocx.
NO_STRANGERS = ("libc.so", "libtcmalloc")


def without_crashes(redis, contenders):
    """The contenders on which this redis-server can start."""
    with open(redis, "rb") as f:
        if b"\0mallocx\0" not in f.read():
            return contenders
    out = [c for c in contenders
           if os.path.basename(c.preload).startswith(NO_STRANGERS)]
    if out:
        print(f"bench: redis on {', '.join(c.name for c in out)} left out: it "
              "has blocks of jemalloc's, on which they crash",
              file=sys.stderr)
    return [c for c in contenders if c not in out]


class RedisRow(Row):
    """A server on the contender, and redis-benchmark beside it, on the library
    that it is linked with. Time is the clients', memory the server's."""

    def __init__(self, requests, *args, **more):
        super().__init__(*args, **more)
        self.requests = requests

    def one_run(self, contender):
        port = free_port()
        server = Process([*self.argv, "--port", str(port)], self.env,
                         contender)
        try:
            self.wait_for(port, server)
            start = time.monotonic()
            self.client("redis-benchmark", port, "-n", str(self.requests),
                        "-c", "20", "-P", "16", "-r", "100000", "-d", "200",
                        "-q", "-t", "set,get,lpush,lpop,sadd,hset,zadd")
            seconds = time.monotonic() - start
            self.client("redis-cli", port, "shutdown", "nosave")
            run = Run(None, server.finish(self.quiet)[1])
            self.said = server.said
        finally:
            server.stop()
        run.seconds = run.value = seconds
        return run

    @staticmethod
    def wait_for(port, server):
        for _ in range(500):
            if server.child.poll() is not None:
                break
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.01)
        server.stop()
        raise RunFailed("redis-server does not answer")

    @staticmethod
    def client(name, port, *args):
        done = subprocess.run([name, "-p", str(port), *args],
                              stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=harness.LIMIT_SECONDS, check=False)
        if done.returncode != 0:
            raise RunFailed(f"{name}: {done.stderr.decode()[-200:]}")


# ---- rows -------------------------------------------------------------------

def program_rows(contenders, quick):
    """All rows. quick: the least work that still runs every program."""
    rows = []

    def size(full, little):
        return little if quick else full

    def add(name, argv, env=None, times=1, group="programs", tags=()):
        rows.append(Row(name, argv, contenders, env, "s", group, tags, times,
                        quiet=False))

    if gcc := installed("gcc"):
        functions = size(90, 20)
        add("gcc -O2", lambda: [
            gcc, "-O2", "-c",
            made(f"{functions}.c", lambda: c_source(functions)),
            "-o", os.path.join(DATA, "out.o")])
    if python := installed("python3"):
        add("python3, objects",
            [python, "-S", script("objects.py"), str(size(30000, 1000))],
            {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"})
    if sqlite := installed("sqlite3"):
        lines = size(60000, 1000)
        add("sqlite3", lambda: [
            sqlite, ":memory:",
            ".read " + made(f"{lines}.sql", lambda: sql(lines))])
    if redis := installed("redis-server"):
        rows.append(RedisRow(
            size(50000, 500), "redis", [
                redis, "--save", "", "--bind", "127.0.0.1",
                "--daemonize", "no", "--loglevel", "warning"],
            without_crashes(redis, contenders), unit="s", group="programs",
            quiet=False))
    if perl := installed("perl"):
        add("perl, words", [perl, script("words.pl"), str(size(60000, 2000))],
            {"PERL_HASH_SEED": "0"})
    if git := installed("git"):
        add("git repack", lambda: [
            git, "-C", repository(git, size(1200, 30)), "-c",
            "pack.threads=2", "repack", "-adfq"],
            {"GIT_CONFIG_NOSYSTEM": "1"})
    if node := installed("node"):
        add("node, start", [node, "-e", "0"])
        add("node, JSON",
            [node, script("documents.js"), str(size(12000, 500))])
    if xz := installed("xz"):
        npages = size(1600, 50)
        add("xz -T2", lambda: [
            xz, "-T2", "-1", "--block-size=256KiB", "-k", "-c",
            made(f"{npages}.txt", lambda: text(npages))])
    if z3 := installed("z3"):
        bits, count = size((20, 12), (6, 5))
        add("z3", lambda: [
            z3, made(f"bv{bits}.smt2", lambda: smt(bits, count))])
    add("true", [installed("true")], times=size(50, 3), group="start",
        tags=["start-up"])
    return rows
