"""control.py - what the tests of the control socket share.

    with Program() as p:              a program on hakmem, with a socket
        p.ask("info")["ok"]["pid"]
        p.run("import os; os.closerange(0, 4096)")

A Program is a python that carries out the lines it gets. It listens in a folder
of the test, so that tests do not meet the processes of others. Checks are lines
of TAP; a test is a function that raises on failure.
"""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
import tap  # noqa: E402  pylint: disable=wrong-import-position
LIBRARY = os.environ.get("HAKMEM_LIB", str(ROOT / "build/libhakmem.so"))
HAKCTL = str(ROOT / "build/hakctl")
# Another user must be able to run it.
PYTHON = os.path.realpath("/usr/bin/python3" if os.path.exists(
    "/usr/bin/python3") else sys.executable)
WAIT_S = 300  # for what has to come; no test measures time

# It has blocks of all sizes, and churn() runs slow paths. Its words go by
# descriptors of their own, since tests close those from 5 on.
LOOP = """
import json, os, sys
kept = [bytes(n) for n in range(0, 70000, 37)]
control = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
def say(*words):
    print(*words, file=control[1], flush=True)
def churn():
    return len([str(n) for n in range(30000)])
churn()
say("ready")
for line in control[0]:
    exec(json.loads(line), globals())
    say("done")
"""


def until(condition, what):
    """Wait until condition() is true or an object, and return its value."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"did not come: {what}")


def same(got, wanted):
    if got != wanted:
        raise AssertionError(f"{got!r} is not {wanted!r}")


def holds(part, text):
    if part not in text:
        raise AssertionError(f"no {part!r} in {text!r}")


class Folder:
    """XDG_RUNTIME_DIR of the test's programs."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="hakctl-"))
        self.sockets = self.path / "hakmem"

    def socket(self, pid):
        return self.sockets / f"{pid}.sock"

    conf = ROOT / "conf/default.ini"
    wait_s = WAIT_S

    def environment(self, control="auto", **more):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(("HAKMEM_", "LD_PRELOAD"))}
        # Python's own pools would keep small blocks from the boxes.
        env.update(XDG_RUNTIME_DIR=str(self.path), LD_PRELOAD=LIBRARY,
                   PYTHONMALLOC="malloc",
                   HAKMEM_CONF=str(self.conf), **more)
        if control is not None:
            env["HAKMEM_CONTROL_SOCKET"] = control
        return env

    def hakctl(self, *words, timeout=WAIT_S):
        """Run hakctl; its exit status, stdout and stderr."""
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("HAKMEM_")}
        env["XDG_RUNTIME_DIR"] = str(self.path)
        env["HAKCTL_WAIT_S"] = str(self.wait_s)
        p = subprocess.run([HAKCTL, *map(str, words)], env=env, text=True,
                           capture_output=True, timeout=timeout, check=False)
        return p.returncode, p.stdout, p.stderr

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Connection:
    """A client: lines out, lines of JSON in."""

    def __init__(self, path, timeout=WAIT_S):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def send(self, data):
        if isinstance(data, str):
            data = data.encode()
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the reply says why

    def line(self):
        """The next reply; None: the connection is closed."""
        try:
            line = self.file.readline()
        except ConnectionResetError:
            return None
        if line == b"":
            return None
        same(line[-1:], b"\n")
        return json.loads(line)

    def ask(self, request):
        self.send(request + "\n")
        return self.line()

    def close(self):
        self.file.close()
        self.socket.close()


class Program:
    def __init__(self, folder, control="auto", name=None, listens=True,
                 program=LOOP, **more):
        self.folder = folder
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            [name or PYTHON, "-c", program], executable=PYTHON,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            text=True, env=folder.environment(control), **more)
        self.pid = self.process.pid
        if program == LOOP:
            same(self.process.stdout.readline(), "ready\n")
        self.path = folder.socket(self.pid)
        if control == "auto" and listens:
            until(self.path.exists, self.path)
            self.ask("help")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.kill() # it may have threads that run on
        else:
            self.end()

    def send(self, code):
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()

    def run(self, code):
        """Run some lines; the lines that they say."""
        self.send(code)
        said = []
        for line in self.process.stdout:
            if line == "done\n":
                return said
            said.append(line.rstrip("\n"))
        raise AssertionError(f"it ended in {code!r}: {self.stderr()}")

    def connect(self):
        # A connection is refused between bind and listen, and when the queue
        # is full.
        def attempt():
            try:
                return Connection(self.path)
            except (ConnectionRefusedError, BlockingIOError):
                return None
        return until(attempt, f"a connection to {self.path}")

    def ask(self, request):
        connection = self.connect()
        try:
            return connection.ask(request)
        finally:
            connection.close()

    def lives(self):
        same(self.run("say(churn())"), ["30000"])
        same(self.ask("info")["ok"]["pid"], self.pid)

    def end(self):
        """End it as programs end; its exit status."""
        if self.process.poll() is None:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        return self.process.wait(WAIT_S)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read()

    def states(self):
        """The states of the threads, by number: S sleeps, T is stopped."""
        return {int(task.name): (task / "stat").read_text().rsplit(")", 1)[1]
                .split()[0]
                for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir()}

    def threads(self):
        """The names of the threads, by number."""
        names = {}
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            names[int(task.name)] = (task / "comm").read_text().strip()
        return names


def main(tests):
    """Run the functions of a list, each with a Folder of its own."""
    return tap.run(tests, Folder)
