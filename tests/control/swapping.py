"""swapping.py - programs under load, and rows of swaps in them.

    with Redis(folder) as r:          also Postgres, Stress
        r.load_boxes()
        for _ in swaps(r.processes()[0], LEGS): ...

swaps.py of this folder tests with them, and bench/swaps.py measures. A program
runs on hakmem with a control socket. The other boxes are loaded by hakctl load,
which tries them first; the swaps go by one connection.
"""
import os
import pathlib
import shutil
import subprocess

from control import HAKCTL, LIBRARY, ROOT, Connection, same, until

NOBODY = 65534
# What a box is swapped with, and how many swaps. A leg is there and back.
LEGS = (("copy", 20), ("mid", 16), ("foreign", 14))


# ---- boxes -------------------------------------------------------------------

def section(ini, box):
    """The keys of a [box] of an INI, as words for hakctl load."""
    words, inside = [], False
    for line in pathlib.Path(ini).read_text().splitlines():
        if line.startswith("["):
            inside = line == f"[box {box}]"
        elif inside and line and line[0] != ";":
            name, value = (part.strip() for part in line.split("=", 1))
            if name != "type":
                words.append(f"{name}={value}")
    return words


def foreign_library():
    """The INI of a foreign box whose blocks the core can tell; None: it is not
    installed."""
    for name in ("mimalloc", "jemalloc"):
        ini = ROOT / f"conf/foreign/{name}-region.ini"
        lint = subprocess.run([HAKCTL, "lint", ini], capture_output=True,
                              text=True, check=False)
        if lint.returncode == 0:
            return name, ini
    return None


def load_box(folder, pid_or_path, *words):
    status, _, err = folder.hakctl("load", pid_or_path, *words)
    same((words[0], status, err), (words[0], 0, ""))


def load_boxes(folder, path):
    """Load copy, mid and foreign, each after its trial. Returns the legs that
    there are."""
    load_box(folder, path, "copy=ultra.so")
    load_box(folder, path, "mid=mid_v35.so")
    found = foreign_library()
    if found is None:
        return LEGS[:2]
    load_box(folder, path, "foreign=foreign", *section(found[1], found[0]))
    return LEGS


class Refused(Exception):
    """The process gave an error; the text is its reason."""


class Boxes:
    """The boxes of one process, by one connection."""

    def __init__(self, path):
        self.connection = until(lambda: self.connect(path), path)

    @staticmethod
    def connect(path):
        try:
            return Connection(path)
        except (ConnectionRefusedError, FileNotFoundError, BlockingIOError):
            return None

    def must(self, request):
        reply = self.connection.ask(request)
        if reply is None:
            raise Refused(f"{request}: the process closed the connection")
        if "ok" not in reply:
            raise Refused(f"{request}: {reply['error']}")
        return reply["ok"]

    def all(self):
        return {b["name"]: b for b in self.must("info")["boxes"]}

    def drain(self, name):
        """Ask for the box to be closed; its state and blocks."""
        box = self.must(f"drain {name}")["box"]
        return box["state"], box["live"]

    def close(self):
        self.connection.close()


def plan(legs, base="ultra"):
    """The swaps of legs, as pairs of boxes."""
    pairs = []
    for box, count in legs:
        for i in range(count):
            pairs.append((base, box) if i % 2 == 0 else (box, base))
    return pairs


# ---- programs ----------------------------------------------------------------

class Served:
    """A program that runs until the end of the with block."""

    process = None

    def __init__(self, folder):
        self.folder = folder
        self.place = pathlib.Path(folder.path)
        self.log = open(self.place / f"{type(self).__name__}.log", "w+",
                        encoding="utf-8")

    def start(self, words, **more):
        """The socket has a path of its own, since redis-server rebuilds its
        environment while the thread of hakmem may look into it."""
        self.folder.sockets.mkdir(mode=0o700, exist_ok=True)
        if more.get("user"):
            os.chown(self.folder.sockets, more["user"], more["group"])
        self.process = subprocess.Popen(
            [str(w) for w in words], cwd=self.place, stderr=self.log,
            env=self.folder.environment(f"{self.folder.sockets}/%p.sock"),
            text=True, **more)
        self.path = self.folder.socket(self.process.pid)

    def load_boxes(self):
        until(self.path.exists, self.path)
        return load_boxes(self.folder, self.path)

    def boxes(self):
        return Boxes(self.path)

    def lives(self):
        same(self.process.poll(), None)

    def said(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        self.log.close()

    def rss(self):
        return rss_bytes(self.process.pid)


def rss_bytes(pid):
    """Resident memory, without files and what is shared with other processes,
    of which a server touches more and more."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


class Redis(Served):
    """redis-server at a socket in the folder."""

    needs = ("redis-server", "redis-cli", "redis-benchmark")
    WORK = ("set", "get", "incr", "lpush", "rpop", "sadd", "hset", "zadd")

    def __init__(self, folder):
        super().__init__(folder)
        self.address = str(self.place / "redis")
        self.start(["redis-server", "--port", "0", "--unixsocket",
                    self.address, "--save", "", "--appendonly", "no",
                    "--enable-debug-command", "local", "--logfile",
                    "redis.log"], stdout=self.log)
        until(lambda: self.cli("ping", check=False) == "PONG", "redis-server")

    def cli(self, *words, data=None, check=True):
        p = subprocess.run(["redis-cli", "-s", self.address, *words],
                           input=data, capture_output=True, text=True,
                           check=False)
        if check and (p.returncode != 0 or "ERR" in p.stdout + p.stderr):
            raise AssertionError(f"redis-cli {words}: {p.stdout}{p.stderr}")
        return p.stdout.strip()

    def fill(self, n=4000):
        """Data of every kind in database 1, which the benchmark leaves."""
        lines = []
        for i in range(n):
            v = "%0*d" % (i % 700 + 1, i)
            lines += [f"SET key{i} {v}", f"APPEND log{i % 50} {v}",
                      f"HSET hash{i % 100} field{i} {v}",
                      f"RPUSH list{i % 10} {v}",
                      f"ZADD rank {i * 7919 % n} member{i}"]
        self.cli("-n", "1", "--pipe", data="\n".join(lines) + "\n")
        return self.digest()

    def digest(self):
        self.cli("-n", "0", "flushdb")
        return self.cli("debug", "digest")

    def clear(self):
        self.cli("flushall", "sync")
        self.cli("client", "kill", "type", "normal")

    def commands(self):
        """How many it has carried out."""
        for line in self.cli("info", "stats").splitlines():
            if line.startswith("total_commands_processed:"):
                return int(line.split(":")[1])
        raise AssertionError("no total_commands_processed")

    def benchmark(self, n, kinds=WORK):
        """n requests of each kind by 20 clients."""
        return subprocess.Popen(
            ["redis-benchmark", "-s", self.address, "-q", "-c", "20", "-n",
             str(n), "-d", "200", "-r", "1000", "-t", ",".join(kinds)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Postgres(Served):
    """A postgres of ours, with its socket in the folder. It does not run as
    root, so then it is that of nobody, and so is the folder."""

    @staticmethod
    def programs():
        """Where its programs are; None: it is not installed."""
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
        for place in reversed(found):
            if all((place / p).exists() for p in
                   ("initdb", "postgres", "pgbench", "psql")):
                return place
        return None

    def __init__(self, folder):
        super().__init__(folder)
        self.bin = self.programs()
        self.user = {}
        if os.geteuid() == 0:
            self.user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            os.chown(self.place, NOBODY, NOBODY)
            os.chmod(self.place, 0o700)
        self.quiet("initdb", "-D", "data", "-A", "trust", "-U", "me", "-N",
                   "-E", "UTF8", "--no-locale")
        self.start([self.bin / "postgres", "-D", "data", "-k", self.place,
                    "-c", "listen_addresses=", "-c", "fsync=off", "-c",
                    "shared_buffers=16MB", "-c", "autovacuum=off"],
                   stdout=self.log, **self.user)
        until(lambda: self.psql("select 1", check=False) == "1", "postgres")

    def client(self, program, *words):
        return [str(self.bin / program), "-h", str(self.place), "-U", "me",
                *map(str, words)]

    def quiet(self, program, *words):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(("HAKMEM_", "LD_PRELOAD", "PG"))}
        p = subprocess.run([str(self.bin / program), *words], env=env,
                           cwd=self.place, capture_output=True, text=True,
                           check=False, **self.user)
        if p.returncode != 0:
            raise AssertionError(f"{program}: {p.stdout}{p.stderr}")

    def psql(self, statement, check=True):
        p = subprocess.run(self.client("psql", "-d", "postgres", "-Atqc",
                                       statement), cwd=self.place,
                           capture_output=True, text=True, check=False)
        if check and (p.returncode != 0 or p.stderr):
            raise AssertionError(f"{statement}: {p.stdout}{p.stderr}")
        return p.stdout.strip()

    def fill(self):
        """pgbench's tables, and one of ours."""
        p = subprocess.run(self.client("pgbench", "-i", "-q", "postgres"),
                           cwd=self.place, capture_output=True, text=True,
                           check=False)
        same((p.returncode, "error" in p.stderr), (0, False))
        self.psql("create table ours as select i, repeat(md5(i::text), i % 40)"
                  " as t from generate_series(1, 5000) i")
        return self.digest()

    def digest(self):
        return self.psql("select count(*), md5(string_agg(t, '' order by i)) "
                         "from ours")

    def sums(self):
        """Four sums that are equal while no transaction is lost or torn."""
        return set(self.psql(
            "select sum(abalance) from pgbench_accounts union all "
            "select sum(bbalance) from pgbench_branches union all "
            "select sum(tbalance) from pgbench_tellers union all "
            "select coalesce(sum(delta), 0) from pgbench_history").split())

    def benchmark(self, *words):
        """pgbench with 4 clients. Each is a process of the server."""
        return subprocess.Popen(
            self.client("pgbench", "-n", "-c", "4", "-j", "2", *words,
                        "postgres"), cwd=self.place,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def transactions(self):
        """How many of pgbench's it has committed."""
        return int(self.psql("select count(*) from pgbench_history"))

    def clients(self):
        """The processes of pgbench's connections."""
        pids = self.psql("select pid from pg_stat_activity where "
                         "application_name = 'pgbench'").split()
        return [int(pid) for pid in pids]


class Stress(Served):
    """bench_swaps: threads with blocks that are checked."""

    def __init__(self, folder, program, threads=4):
        super().__init__(folder)
        self.start([program, threads], stdin=subprocess.PIPE,
                   stdout=subprocess.PIPE)
        self.said_line("touch")

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def said_line(self, line):
        """Tell it, and wait for its answer."""
        self.tell(line)
        return self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if line == "":
            raise AssertionError(f"it ended with {self.process.wait()}: "
                                 f"{self.said()}")
        return line.strip()


def missing(programs):
    """The first of the programs that is not there; None."""
    return next((p for p in programs if shutil.which(p) is None), None)


def readable_by_nobody():
    """Can the user that postgres runs as open the library?"""
    if os.geteuid() != 0:
        return True
    return subprocess.run(["/usr/bin/test", "-r", LIBRARY], user=NOBODY,
                          group=NOBODY, extra_groups=[],
                          check=False).returncode == 0
