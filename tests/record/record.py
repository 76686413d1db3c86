"""record.py - hakctl record of real programs: what is in the traces, whatever
becomes of the program, of its children, of hakctl and of the disk.
"""
import json
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "control"))
# pylint: disable=wrong-import-position
from control import HAKCTL, PYTHON, ROOT, WAIT_S, Folder, Program, holds, \
    same, tap, until  # noqa: E402

# Blocks that go from thread to thread, and as many that are freed as are made.
THREADS = """
import queue, sys, threading
q = queue.Queue(100)
def take():
    while q.get() is not None:
        pass
takers = [threading.Thread(target=take) for _ in range(3)]
for t in takers: t.start()
for n in range(20000): q.put(bytes(n % 3000))
for t in takers: q.put(None)
for t in takers: t.join()
print("done")
"""
FORKS = """
import os
for n in range(1000):
    pid = os.fork()
    if pid == 0:
        kept = [bytes(100 + n) for _ in range(10)]
        os._exit(0)
    os.waitpid(pid, 0)
"""
WORK = "print(len([str(n) for n in range(100000)]))"
# Says its number, and works until it is told to end.
SERVE = """
import os, signal, sys
def end(number, frame):
    print("ends by", number, flush=True)
    sys.exit(5)
signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGTERM, end)
print(os.getpid(), flush=True)
while True:
    [str(n) for n in range(1000)]
"""
# Makes more calls than there is room for, when it is told to.
WAITS = """
import os, sys
print(os.getpid(), flush=True)
sys.stdin.readline()
kept = [str(n) for n in range(30000)]
print("done", flush=True)
"""


class Place(Folder):
    """A folder with the files of a test."""

    def __init__(self):
        super().__init__()
        self.file = self.path / "x.trace"

    def words(self, *options):
        return [HAKCTL, "record", "-c", str(self.conf), "-o", str(self.file),
                *options, "--"]

    def start(self, *program, options=(), **more):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(("HAKMEM_", "LD_PRELOAD"))}
        env["PYTHONMALLOC"] = "malloc"
        return subprocess.Popen(
            [*self.words(*options), *program], env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def record(self, *program, options=(), **more):
        """Exit status, stdout and stderr."""
        p = self.start(*program, options=options, **more)
        out, err = p.communicate(timeout=WAIT_S)
        return p.returncode, out, err

    def others(self):
        return sorted(f for f in self.path.glob("x.*.trace"))


def about(file):
    """What hakctl trace says of a file, which is not damaged."""
    p = subprocess.run([HAKCTL, "trace", "--json", str(file)], text=True,
                       capture_output=True, check=False)
    same((p.returncode, p.stderr if "was cut" not in p.stderr else ""), (0, ""))
    trace = json.loads(p.stdout)
    same(trace["damaged"], False)
    same(trace["freed_twice"], 0)
    return trace


def ncalls(trace):
    return sum(n for kind, n in trace["calls"].items()
               if kind not in ("touched", "resident", "thread-ends"))


def whole(file):
    trace = about(file)
    same((trace["cut"], trace["lost"]), (False, 0))
    return trace


def said(err):
    """Calls, threads, bytes and lost calls, as the last line has them."""
    m = re.search(r"^hakctl: recorded (\d+) calls? of (\d+) threads? in "
                  r"[\d.]+ s \(hakctl: [\d.]+ s of CPU\): .*x\.trace, (\d+) "
                  r"bytes, [\d.]+ a call; (\d+) calls? lost$", err, re.M)
    if m is None:
        raise AssertionError(f"no line about the trace in {err!r}")
    return tuple(map(int, m.groups()))


# ---- programs ----------------------------------------------------------------

def a_program_runs_as_without(place):
    status, out, err = place.record(PYTHON, "-c", WORK)
    same((status, out), (0, "100000\n"))
    trace = whole(place.file)
    same(said(err), (ncalls(trace), trace["threads"],
                     place.file.stat().st_size, 0))
    if trace["calls"]["malloc"] < 100000 or trace["peak_live_blocks"] < 100000:
        raise AssertionError(trace)
    same(trace["about"]["program"], [PYTHON, "-c", WORK])
    same(trace["about"]["source"], "record")
    same(trace["about"]["conf"], str(place.conf))
    if trace["peak_resident_bytes"] < trace["peak_live_bytes"] / 2:
        raise AssertionError(trace)


def threads_that_pass_blocks_on(place):
    status, out, _ = place.record(PYTHON, "-c", THREADS)
    same((status, out), (0, "done\n"))
    trace = whole(place.file)
    same(trace["threads"], 4)
    same(trace["calls"]["thread-ends"] >= 3, True)
    if trace["freed_by_another_thread"] < 1000:
        raise AssertionError(trace)
    if trace["unknown_frees"] > 10:
        raise AssertionError(trace)


def sqlite(place):
    if shutil.which("sqlite3") is None:
        return "no sqlite3"
    sql = "create table t(a); with recursive c(i) as (select 1 union all " \
        "select i + 1 from c where i < 20000) insert into t select hex(i) " \
        "from c; select count(distinct a), sum(length(a)) from t;"
    plain = subprocess.run(["sqlite3", ":memory:", sql], capture_output=True,
                           text=True, check=True)
    status, out, _ = place.record("sqlite3", ":memory:", sql)
    same((status, out), (0, plain.stdout))
    same(whole(place.file)["unknown_frees"], 0)
    return None


def git_with_children(place):
    if shutil.which("git") is None:
        return "no git"
    status, out, _ = place.record("git", "-C", str(ROOT), "-c",
                                  "alias.x=!git --version", "x")
    same(status, 0)
    holds("git version", out)
    whole(place.file)
    for other in place.others():
        whole(other)
    same(len(place.others()) >= 1, True)
    return None


def the_exit_status_is_the_programs(place):
    same(place.record("sh", "-c", "exit 3")[0], 3)
    same(place.record("sh", "-c", "kill -TERM $$")[0], 128 + signal.SIGTERM)
    same(place.record("/none/such")[0], 127)
    same(place.record("/")[0], 126)


def a_program_that_crashes(place):
    code = WORK + "; import os, sys; sys.stdout.flush(); " \
        "os.kill(os.getpid(), 11)"
    status, out, _ = place.record(PYTHON, "-c", code)
    same((status, out), (128 + 11, "100000\n"))
    same(whole(place.file)["peak_live_blocks"] >= 100000, True)


def a_program_that_is_killed(place):
    code = "x = [str(n) for n in range(100000)]; import os; " \
        "os.kill(os.getpid(), 9)"
    status, _, _ = place.record(PYTHON, "-c", code)
    same(status, 128 + 9)
    same(whole(place.file)["live_blocks"] >= 100000, True)


def signals_are_passed_on(place):
    for number in signal.SIGINT, signal.SIGTERM:
        p = place.start(PYTHON, "-c", SERVE)
        p.stdout.readline()
        p.send_signal(number)
        out, err = p.communicate(timeout=WAIT_S)
        same((p.returncode, out), (5, f"ends by {int(number)}\n"))
        same(said(err)[3], 0)
        whole(place.file)


# ---- children ----------------------------------------------------------------

def a_thousand_forks(place):
    status, _, err = place.record(PYTHON, "-c", FORKS)
    same(status, 0)
    holds("1000 other processes", err)
    same(len(place.others()), 1000)
    for other in place.others()[::100]:
        trace = whole(other)
        same(trace["calls"]["malloc"] >= 10, True)
        same(other.name, f"x.{trace['about']['pid']}.trace")


def a_thousand_forks_of_a_shell(place):
    status, out, _ = place.record(
        "sh", "-c", "i=0; while [ $i -lt 1000 ]; do x=$(echo $i); "
        "i=$((i + 1)); done; echo $x")
    same((status, out), (0, "999\n"))
    whole(place.file)
    for other in place.others()[::100]:
        whole(other)


def exec_begins_another_file(place):
    status, out, err = place.record("sh", "-c", f"exec {PYTHON} -c '{WORK}'")
    same((status, out), (0, "100000\n"))
    same(whole(place.file)["about"]["program"][0], "sh")
    other, = place.others()
    trace = whole(other)
    same(trace["about"]["program"], [PYTHON, "-c", WORK])
    same(other.name, f"x.{trace['about']['pid']}-2.trace")
    holds(f"1 other process: {ncalls(trace)} calls", err)


# ---- limits ------------------------------------------------------------------

def a_number_of_calls(place):
    status, out, err = place.record(PYTHON, "-c", WORK,
                                    options=["--ops", "1234"])
    same((status, out), (0, "100000\n"))
    same(said(err)[0], 1234)
    same(ncalls(whole(place.file)), 1234)


def some_time(place):
    p = place.start(PYTHON, "-c", SERVE, options=["--seconds", "0.3"])
    pid = int(p.stdout.readline())
    line = p.stderr.readline()
    said(line)
    whole(place.file)
    os.kill(pid, signal.SIGTERM)
    same(p.communicate(timeout=WAIT_S), ("ends by 15\n", ""))
    same(p.returncode, 5)


# ---- hakctl and the disk -----------------------------------------------------

def hakctl_is_killed(place):
    p = place.start(PYTHON, "-c", SERVE)
    pid = int(p.stdout.readline())
    until(lambda: place.file.exists() and place.file.stat().st_size > 10000,
          "a block of operations")
    p.kill()
    p.wait()
    trace = about(place.file)
    same(trace["cut"], True)
    same(ncalls(trace) > 1000, True)
    time.sleep(0.1)
    same(pathlib.Path(f"/proc/{pid}").exists(), True)
    os.kill(pid, signal.SIGTERM)
    same(p.stdout.readline(), "ends by 15\n")


def file_limit():
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (30000, hard))


def hakctl_is_stopped(place):
    p = place.start(PYTHON, "-c", WAITS, stdin=subprocess.PIPE)
    pid = int(p.stdout.readline())
    p.send_signal(signal.SIGSTOP)
    p.stdin.write("go\n")
    p.stdin.flush()
    time.sleep(0.3)
    same(select.select([p.stdout], [], [], 0)[0], [])
    same(pathlib.Path(f"/proc/{pid}").exists(), True)
    p.send_signal(signal.SIGCONT)
    out, err = p.communicate(timeout=WAIT_S)
    same((p.returncode, out), (0, "done\n"))
    trace = whole(place.file)
    same(said(err)[3], 0)
    same(trace["calls"]["malloc"] >= 30000, True)


def a_file_that_may_not_grow(place):
    status, out, err = place.record(PYTHON, "-c", WORK,
                                    preexec_fn=file_limit)
    same((status, out), (0, "100000\n"))
    holds("x.trace: File too large; the recording stops, the program goes on",
          err)
    same(about(place.file)["cut"], True)


def a_full_device(place):
    place.file = "/dev/full"
    status, out, err = place.record(PYTHON, "-c", WORK)
    same((status, out), (0, "100000\n"))
    holds("/dev/full: No space left on device", err)


def a_full_disk(place):
    disk = place.path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none",
                       str(disk)], capture_output=True,
                      check=False).returncode != 0:
        return "no tmpfs can be mounted"
    try:
        place.file = disk / "x.trace"
        status, out, err = place.record(PYTHON, "-c", WORK)
        same((status, out), (0, "100000\n"))
        holds("No space left on device; the recording stops", err)
        same(err.count("No space"), 1)
        same(ncalls(about(place.file)) > 1000, True)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    return None


def a_pipe(place):
    os.mkfifo(place.file)
    with subprocess.Popen(["sh", "-c", f"cat {place.file} > {place.path}/y"]):
        status, _, _ = place.record(PYTHON, "-c", WORK)
    same(status, 0)
    whole(place.path / "y")
    same(place.others(), [])


def files_that_cannot_be_written(place):
    place.file = place.path / "none/x.trace"
    status, out, err = place.record("echo", "started")
    same((status, out), (2, ""))
    holds("none/x.trace: No such file or directory; -o FILE", err)
    place.file = place.path
    status, out, err = place.record("echo", "started")
    same((status, out), (2, ""))
    holds("Is a directory", err)


def wrong_words(place):
    for words, text in (
            ((), "no program given"),
            (("-o", "-", "true"), "needs a file or a pipe of its own"),
            (("--ops", "x", "true"), "--ops x is no number of calls"),
            (("--ops", "0", "true"), "--ops 0 is no number"),
            (("--seconds", "-1", "true"), "--seconds -1 is no time"),
            (("12", "start", "more"), "more is not wanted here"),
            (("12", "start", "-c", "x.ini"), "-c is not wanted here"),
            (("12", "stop", "-o", "x"), "an option is not wanted here")):
        status, out, err = place.hakctl("record", *words)
        same((status, out), (2, ""))
        holds(text, err)
    status, _, err = place.hakctl("record", "-o", place.file, "--", "sh", "-c",
                                  "exit 4", "start")
    same(status, 4)


# ---- a process that runs -----------------------------------------------------

class Live:
    """hakctl record PID start, in a process of its own."""

    def __init__(self, place, pid, *options):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("HAKMEM_")}
        env["XDG_RUNTIME_DIR"] = str(place.path)
        self.process = subprocess.Popen(
            [HAKCTL, "record", str(pid), "start", "-o", str(place.file),
             *options], env=env, stderr=subprocess.PIPE, text=True)
        holds("Ctrl-C ends it", self.process.stderr.readline())

    def end(self):
        err = self.process.communicate(timeout=WAIT_S)[1]
        same(self.process.returncode, 0)
        return err


def a_process_that_runs(place):
    with Program(place) as p:
        for ends in ("stop", "signal", "stop"):
            live = Live(place, p.pid)
            same(p.run("say(churn())"), ["30000"])
            if ends == "stop":
                status, _, err = place.hakctl("record", p.pid, "stop")
                same((status, err), (0, ""))
            else:
                live.process.send_signal(signal.SIGINT)
            ncalls_said = said(live.end())[0]
            trace = whole(place.file)
            same(ncalls(trace), ncalls_said)
            same(trace["calls"]["malloc"] >= 30000, True)
            p.lives()


def a_process_ends_while_it_is_recorded(place):
    with Program(place) as p:
        live = Live(place, p.pid)
        p.run("churn()")
        p.end()
        said(live.end())
        whole(place.file)


def limits_of_a_process_that_runs(place):
    with Program(place) as p:
        live = Live(place, p.pid, "--ops", "5000")
        p.run("churn()")
        same(said(live.end())[0], 5000)
        live = Live(place, p.pid, "--seconds", "0.2")
        p.run("churn()")
        said(live.end())
        p.lives()


def two_recordings_of_a_process(place):
    with Program(place) as p:
        live = Live(place, p.pid)
        status, _, err = place.hakctl("record", p.pid, "start", "-o",
                                      place.path / "y.trace")
        same(status, 1)
        same((place.path / "y.trace").exists(), False)
        live.process.send_signal(signal.SIGTERM)
        live.end()
        p.lives()


TESTS = [a_program_runs_as_without, threads_that_pass_blocks_on, sqlite,
         git_with_children, the_exit_status_is_the_programs,
         a_program_that_crashes, a_program_that_is_killed,
         signals_are_passed_on, a_thousand_forks, a_thousand_forks_of_a_shell,
         exec_begins_another_file, a_number_of_calls, some_time,
         hakctl_is_killed, hakctl_is_stopped, a_file_that_may_not_grow,
         a_full_device, a_full_disk, a_pipe, files_that_cannot_be_written, wrong_words,
         a_process_that_runs, a_process_ends_while_it_is_recorded,
         limits_of_a_process_that_runs, two_recordings_of_a_process]

if __name__ == "__main__":
    sys.exit(tap.run(TESTS, Place))
