"""pressure.py - [core] on_pressure: what a program kept goes back, and reports
say so. A FIFO plays the kernel's pressure file, but in the tests of cgroups.
"""
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "control"))
# pylint: disable=wrong-import-position
from control import Program, holds, main, same, until  # noqa: E402

MIB = 1 << 20
HOUR_MS = 3600000
# Blocks of each box of conf/default.ini, written to and freed.
FILL = """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def take(size, total):
    blocks = [libc.malloc(size) for _ in range(total // size)]
    for p in blocks:
        ctypes.memset(p, 1, size)
    return blocks
def give(blocks):
    for p in blocks:
        libc.free(p)
def fill():
    for size in (500, 5000, 50000):
        give(take(size, 16 << 20))
"""


class Pressed(Program):
    """A program whose pressure file is a FIFO, which keeps what it freed for an
    hour."""

    def __init__(self, folder, **more):
        self.fifo = folder.path / "pressure"
        if not self.fifo.exists():
            os.mkfifo(self.fifo)
        self.end_of_fifo = os.open(self.fifo, os.O_RDWR | os.O_CLOEXEC)
        super().__init__(folder, **more)
        self.run(FILL)

    def press(self):
        os.write(self.end_of_fifo, b"x")

    def end(self):
        os.close(self.end_of_fifo)
        return super().end()

    def figures(self):
        return self.ask("stats")["ok"]["pressure"]

    def comes_to(self, **wanted):
        until(lambda: wanted.items() <= self.figures().items(), wanted)

    def is_over(self):
        """Wait until the pressure is over."""
        self.comes_to(state="watching")

    def sinks(self, high, press=False):
        """Wait until much of what was kept has gone; press again if asked to,
        as the kernel does while memory stays short."""
        def sank():
            if press:
                self.press()
            return rss(self) < high - 8 * MIB
        until(sank, f"8 MiB less than {high} bytes of RSS")


def rss(program):
    pages = pathlib.Path(f"/proc/{program.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


def set_environment(folder, **more):
    """Let the programs of a folder have these variables."""
    env = {"HAKMEM_CORE_ON_PRESSURE": "trim",
           "HAKMEM_CORE_PURGE_DELAY_MS": str(HOUR_MS), **more}
    plain = folder.environment
    folder.environment = lambda control="auto", **rest: plain(
        control, **env, **rest)


def pressed(folder, program=Pressed, **more):
    fifo = {"HAKMEM_CORE_PRESSURE_FILE": str(folder.path / "pressure")}
    set_environment(folder, **{**fifo, **more})
    return program(folder)


def helpers(pid):
    """The number of threads of ours. That of the control socket is one."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    return [(t / "comm").read_text().strip()
            for t in tasks.iterdir()].count("hakmem")


# ---- with a FIFO ---------------------------------------------------------------


def what_a_program_kept_goes_back(folder):
    with pressed(folder) as p:
        before = rss(p)
        p.run("fill()")
        high = rss(p)
        if high - before < 10 * MIB:
            raise AssertionError(f"nothing was kept: {before}, {high}")
        p.comes_to(state="watching", events=0, trims=0, given_back_bytes=0)
        for n in (1, 2, 3):
            p.press()
            p.comes_to(state="pressed", events=n, trims=n)
        p.sinks(high)
        if p.figures()["given_back_bytes"] < 8 * MIB:
            raise AssertionError(p.figures())


def hakctl_stats_shows_it(folder):
    with pressed(folder) as p:
        p.run("fill()")
        p.press()
        p.comes_to(events=1, trims=1)
        status, out, _ = folder.hakctl("stats", p.pid)
        same(status, 0)
        holds(", 1 events, 1 trims, ", out)
        status, out, _ = folder.hakctl("stats", p.pid, "--json")
        same(json.loads(out)["pressure"]["events"], 1)


def memory_goes_soon_while_it_lasts_and_is_kept_afterwards(folder):
    with pressed(folder) as p:
        p.press()
        p.comes_to(state="pressed", trims=1)
        p.is_over()
        p.run("b = take(50000, 32 << 20)")
        high = rss(p)
        p.run("give(b)\nimport time\n"
              "for _ in range(100):\n    churn(); time.sleep(0.01)")
        if rss(p) < high - 8 * MIB:
            raise AssertionError("the purge delay is still short")
        # Only ageing by the short delay gives back what comes free now.
        trims = p.figures()["trims"]
        p.press()
        p.comes_to(state="pressed", trims=trims + 1)
        p.run("b = take(50000, 32 << 20)")
        high = rss(p)
        p.run("give(b)")
        p.sinks(high)


def a_delay_that_is_set_meanwhile_counts_afterwards(folder):
    with pressed(folder) as p:
        p.press()
        p.comes_to(state="pressed", trims=1)
        status, _, err = folder.hakctl("set", p.pid, "purge_delay_ms=20")
        same((status, err), (0, ""))
        p.is_over()
        delay = [k for k in p.ask("show")["ok"]
                 if k["key"] == "purge_delay_ms"][0]
        same((delay["value"], delay["layer"]), ("20", "control"))
        p.run("b = take(50000, 32 << 20)")
        high = rss(p)
        p.run("give(b)")

        def sank():
            p.run("churn()")
            return rss(p) < high - 8 * MIB
        until(sank, "memory goes back after 20 ms")


def a_program_that_closes_all_descriptors_is_watched_still(folder):
    with pressed(folder) as p:
        p.run("import os\nos.closerange(5, 65536)\nfill()")
        high = rss(p)
        p.sinks(high, press=True)


def a_child_of_a_fork_is_watched_too(folder):
    with pressed(folder) as p:
        child = int(p.run("import os\nchild = os.fork()\n"
                          "if child == 0:\n"
                          "    churn(); fill()\n"
                          "    while True: __import__('time').sleep(1)\n"
                          "say(child)")[0])
        try:
            until(lambda: helpers(child) == 2, "threads of the child")
            until(folder.socket(child).exists, "the child's socket")
            # Either process takes the byte.
            until(lambda: pressed_once(p, folder, child),
                  "events of the child")
        finally:
            os.kill(child, 9)


def pressed_once(p, folder, child):
    p.press()
    status, out, _ = folder.hakctl("stats", child, "--json")
    return status == 0 and json.loads(out)["pressure"]["trims"] > 0


def without_the_key_there_is_no_thread(folder):
    with pressed(folder, HAKMEM_CORE_ON_PRESSURE="none") as p:
        p.run("fill()")
        same(helpers(p.pid), 1)
        same("pressure" in p.ask("stats")["ok"], False)
    same(p.stderr(), "")


def with_the_key_there_is_one(folder):
    with pressed(folder) as p:
        until(lambda: helpers(p.pid) == 2, "a second thread")
    same(p.stderr(), "")


def a_file_that_cannot_be_opened_is_one_line(folder):
    with pressed(folder, program=Program,
                 HAKMEM_CORE_PRESSURE_FILE="/nonexistent") as p:
        until(lambda: p.ask("stats")["ok"]["pressure"]["state"] == "off",
              "state off")
        p.run("import os\nchild = os.fork()\n"
              "if child == 0:\n    churn(); os._exit(0)\n"
              "os.waitpid(child, 0)")
        until(lambda: helpers(p.pid) == 1, "the end of the thread")
    same(p.stderr(), "hakmem: [core] on_pressure = trim: /nonexistent: No such "
         "file or directory; memory pressure is not watched\n")


# ---- with cgroups --------------------------------------------------------------


class Cgroup:
    """A cgroup v2 of the test's, below that of this process."""

    def __init__(self):
        self.path = None
        line = [x for x in pathlib.Path("/proc/self/cgroup").read_text()
                .splitlines() if x.startswith("0::")]
        for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            folder = pathlib.Path(mount + (line[0][3:] if line else "/none"))
            if not (folder / "cgroup.procs").exists() or \
                    not (folder / "cgroup.controllers").exists():
                continue
            try:
                path = folder / f"hakmem-test-{os.getpid()}"
                path.mkdir()
                self.path = path
            except OSError:
                continue

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.path is not None:
            until(self.remove, f"the end of {self.path}")

    def remove(self):
        try:
            self.path.rmdir()
        except OSError:
            return False
        return True

    def enter(self):
        (self.path / "cgroup.procs").write_text("0")


def opened(program):
    """What the helper threads have open."""
    names = set()
    for number, name in program.threads().items():
        folder = pathlib.Path(f"/proc/{program.pid}/task/{number}/fd")
        if name == "hakmem":
            names |= {os.readlink(fd) for fd in folder.iterdir()}
    return names


def the_files_of_its_cgroup_are_watched(folder):
    with Cgroup() as group:
        if group.path is None or not (group.path / "memory.pressure").exists():
            return "no cgroup v2 can be made here"
        with in_group(folder, group) as p:
            until(lambda: str(group.path / "memory.pressure") in opened(p),
                  "the file is open")
            same(p.ask("stats")["ok"]["pressure"]["state"], "watching")
        return None


def memory_high_of_its_cgroup_is_an_event(folder):
    with Cgroup() as group:
        if group.path is None or not (group.path / "memory.high").exists():
            return "no cgroup v2 with a memory controller can be made here"
        (group.path / "memory.high").write_text(str(96 * MIB))
        with in_group(folder, group) as p:
            until(lambda: str(group.path / "memory.events") in opened(p),
                  "the file is open")
            p.run(FILL)
            p.run("fill()")
            p.run("b = take(50000, 128 << 20)")
            until(lambda: p.ask("stats")["ok"]["pressure"]["trims"] > 0,
                  "a trim")
        return None


def in_group(folder, group):
    set_environment(folder)
    return Program(folder, preexec_fn=group.enter)


sys.exit(main([
    what_a_program_kept_goes_back,
    hakctl_stats_shows_it,
    memory_goes_soon_while_it_lasts_and_is_kept_afterwards,
    a_delay_that_is_set_meanwhile_counts_afterwards,
    a_program_that_closes_all_descriptors_is_watched_still,
    a_child_of_a_fork_is_watched_too,
    without_the_key_there_is_no_thread,
    with_the_key_there_is_one,
    a_file_that_cannot_be_opened_is_one_line,
    the_files_of_its_cgroup_are_watched,
    memory_high_of_its_cgroup_is_an_event,
]))
