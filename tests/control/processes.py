"""processes.py - the control socket over the life of a process: its file, its
thread, forks, exec, descriptors, other users.
"""
import os
import pathlib
import socket
import stat
import subprocess
import sys

from control import (LIBRARY, PYTHON, Connection, Program, holds, main, same,
                     until)


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def modes_and_owner(folder):
    with Program(folder) as p:
        same(mode(folder.sockets), 0o700)
        same(mode(p.path), 0o600)
        same(os.lstat(p.path).st_uid, os.geteuid())


def modes_whatever_the_umask(folder):
    folder.sockets.mkdir(mode=0o700)
    for mask in (0, 0o777):
        with Program(folder, umask=mask) as p:
            same(mode(p.path), 0o600)


def a_folder_that_others_can_enter(folder):
    folder.sockets.mkdir(mode=0o755)
    with Program(folder, listens=False) as p:
        until(lambda: "hakmem" in p.threads().values(), "the thread")
        p.run("import time; time.sleep(0.3)")
        same(list(folder.sockets.iterdir()), [])


def the_file_goes_at_exit(folder):
    with Program(folder) as p:
        same(p.path.exists(), True)
        same(p.end(), 0)
        same(p.path.exists(), False)


def a_killed_one_leaves_it_and_ps_removes_it(folder):
    with Program(folder) as other:
        p = Program(folder)
        p.kill()
        same(p.path.exists(), True)
        status, out, err = folder.hakctl("ps")
        same((status, err), (0, ""))
        holds(f"{other.pid} ", out)
        same(p.path.exists(), False)
        same(other.path.exists(), True)


def a_stale_file_is_replaced(folder):
    path = folder.path / "own.sock"
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(path))
    s.close()
    with Program(folder, control=str(path)) as p:
        p.path = path
        until(lambda: path.exists() and mode(path) == 0o600, path)
        until(lambda: p.ask("info")["ok"]["pid"] == p.pid, "its answer")
    same(path.exists(), False)


def what_is_no_socket_is_kept(folder):
    path = folder.path / "notes"
    path.write_text("mine")
    with Program(folder, control=str(path)) as p:
        until(lambda: p.run("churn()") or "no socket" in p.stderr(),
              "the message")
        same(p.end(), 0)
        holds(f"[control] socket = {path}: {path} is there and is no socket; "
              "remove it or name another path", p.stderr())
    same(path.read_text(), "mine")


def a_socket_in_use_is_kept(folder):
    path = folder.path / "one.sock"
    with Program(folder, control=str(path)) as p:
        p.path = path
        until(path.exists, path)
        same(p.ask("info")["ok"]["pid"], p.pid)
        with Program(folder, control=str(path)) as second:
            until(lambda: second.run("churn()") or second.stderr(),
                  "the message")
            holds("another process listens at", second.stderr())
        same(p.ask("info")["ok"]["pid"], p.pid)


def a_path_with_the_pid(folder):
    with Program(folder, control=f"{folder.path}/app-%p.sock") as p:
        p.path = folder.path / f"app-{p.pid}.sock"
        until(p.path.exists, p.path)
        same(p.ask("info")["ok"]["pid"], p.pid)
        status, out, _ = folder.hakctl("stats", "--json", p.path)
        same(status, 0)
        holds(f'"pid":{p.pid}', out)


def a_path_that_is_too_long(folder):
    with Program(folder, control=f"{folder.path}/{'x' * 200}") as p:
        until(lambda: p.run("churn()") or p.stderr(), "the message")
        holds("a socket's name may have", p.stderr())


# The child ends when the parent closes w, or when it is killed.
FORK = """
r, w = os.pipe()
child = os.fork()
if child == 0:
    churn()
    if STAYS:
        os.read(r, 1)
    os.close(w)
    os.read(r, 1)
    sys.exit(3)
os.close(r)
say(child)
"""


def start_child(p, stays=False):
    child, = p.run(FORK.replace("STAYS", str(stays)))
    return int(child)


def a_child_of_a_fork_has_its_own(folder):
    with Program(folder) as p:
        child = start_child(p)
        path = folder.socket(child)
        until(path.exists, path)
        same(until(lambda: answer(path, "info"), "answer")["ok"]["pid"], child)
        p.lives()
        same(p.run("os.close(w); say(os.waitpid(child, 0)[1])"),
             [str(3 << 8)])
        same(path.exists(), False)
        same(p.path.exists(), True)
        p.lives()


def answer(path, request):
    try:
        connection = Connection(path)
    except ConnectionRefusedError:
        return None
    try:
        return connection.ask(request)
    finally:
        connection.close()


def a_child_does_not_hold_the_parents_connections(folder):
    p = Program(folder)
    c = p.connect()
    c.ask("info")
    child = start_child(p, stays=True)
    p.kill()
    same(c.line(), None)
    c.close()
    path = folder.socket(child)
    until(path.exists, path)
    same(until(lambda: answer(path, "info"), "answer")["ok"]["pid"], child)
    os.kill(child, 9)


def a_child_by_other_ways_leaves_the_file(folder):
    # _exit runs no destructor; exit in a child of clone(2) runs ours.
    with Program(folder) as p:
        p.run("import ctypes; libc = ctypes.CDLL(None)")
        p.run("pid = os.fork() or os._exit(0); os.waitpid(pid, 0)")
        same(p.path.exists(), True)
        p.run("pid = libc.syscall(57) or libc.exit(0); os.waitpid(pid, 0)")
        same(p.path.exists(), True)
        p.lives()


def closefrom_and_numbers_used_again(folder):
    with Program(folder) as p:
        kept = folder.path / "kept"
        p.run(f"os.closerange(5, 4096); f = [os.open({str(kept)!r}, "
              "os.O_RDWR | os.O_CREAT) for _ in range(200)]")
        for _ in range(3):
            p.lives()
        p.run("[os.fstat(fd) for fd in f]")
        same(kept.read_bytes(), b"")


def descriptors(folder, control):
    with Program(folder, control=control) as p:
        if control is not None:
            p.lives()
        return sorted(os.listdir(f"/proc/{p.pid}/fd"))


def the_program_sees_no_descriptor_of_it(folder):
    same(descriptors(folder, "auto"), descriptors(folder, None))


def it_holds_no_descriptor_of_the_program(folder):
    # A daemon that closes its output: its reader sees the end.
    with Program(folder) as p:
        r, w = os.pipe()
        os.close(w)
        os.close(r)
        same(p.run("r, w = os.pipe(); os.set_blocking(r, False); os.close(w); "
                   "say(os.read(r, 1))"), ["b''"])
        code = "import os, time\nx = [str(i) for i in range(99999)]\n" \
               "time.sleep(0.3)\nos.close(1)\nos.read(0, 1)"
        d = subprocess.Popen([PYTHON, "-c", code], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE,
                             env=folder.environment())
        until(folder.socket(d.pid).exists, "its socket")
        same(d.stdout.read(), b"")
        same(d.poll(), None)
        d.stdin.close()
        same(d.wait(), 0)


def exec_goes_on_with_a_new_socket(folder):
    with Program(folder) as p:
        again = "x = [str(i) for i in range(99999)]; input()"
        p.send(f"os.execv({PYTHON!r}, ['second', '-c', {again!r}])")
        until(lambda: (answer(p.path, "info") or {}).get("ok", {})
              .get("program") == "second", "the second program")
        p.end()
        same(p.path.exists(), False)


def others_are_refused(folder):
    if os.geteuid() != 0:
        return "needs root"
    with Program(folder) as p:
        # Nothing is sent, since the error may come before it.
        ask = f"import socket; s = socket.socket(socket.AF_UNIX); " \
              f"s.connect({str(p.path)!r}); print(s.makefile().readline())"
        def as_nobody():
            return subprocess.run([PYTHON, "-c", ask], text=True,
                                  capture_output=True, user=65534, group=65534,
                                  extra_groups=[], check=False)
        holds("Permission denied", as_nobody().stderr)
        os.chmod(folder.path, 0o755)
        holds("Permission denied", as_nobody().stderr)
        os.chmod(folder.sockets, 0o755)
        holds("Permission denied", as_nobody().stderr)
        os.chmod(p.path, 0o666)
        out = as_nobody()
        holds("you are user 65534; this process takes requests of user 0 and "
              "of root only", out.stdout + out.stderr)
        p.lives()
    return None


def root_may_ask_others(folder):
    if os.geteuid() != 0:
        return "needs root"
    if subprocess.run(["test", "-r", LIBRARY], user=65534, group=65534,
                      check=False).returncode != 0:
        return "nobody cannot read the library"
    os.chmod(folder.path, 0o755)
    folder.sockets.mkdir(mode=0o700)
    os.chown(folder.sockets, 65534, 65534)
    with Program(folder, user=65534, group=65534, extra_groups=[]) as p:
        same(os.lstat(p.path).st_uid, 65534)
        same(p.ask("info")["ok"]["pid"], p.pid)
    return None


def off_costs_nothing(folder):
    for control in (None, "none"):
        with Program(folder, control=control) as p:
            same(len(p.threads()), 1)
            maps = pathlib.Path(f"/proc/{p.pid}/maps").read_text()
            holds("libhakmem.so", maps)
            assert "control.so" not in maps
            same(folder.sockets.exists(), False)
            same(p.stderr(), "")


def one_thread_without_signals(folder):
    with Program(folder) as p:
        names = list(p.threads().values())
        same(names.count("hakmem"), 1)
        same(len(names), 2)
        task, = [t for t, name in p.threads().items() if name == "hakmem"]
        status = pathlib.Path(f"/proc/{p.pid}/task/{task}/status").read_text()
        blocked, = [int(line.split()[1], 16) for line in status.splitlines()
                    if line.startswith("SigBlk")]
        for s in range(1, 32):
            if s not in (9, 19):
                assert blocked >> (s - 1) & 1, s


def a_relative_path_is_an_error(folder):
    with Program(folder, control="here.sock") as p:
        holds('"socket" in [control]: "here.sock" is none of none, auto and an '
              "absolute path", p.stderr())
        p.run("churn()")


def threads_that_fork_meanwhile(folder):
    code = "import threading\n" \
           "def work():\n" \
           " for _ in range(10):\n" \
           "  pid = os.fork()\n" \
           "  if pid == 0:\n" \
           "   churn()\n" \
           "   os._exit(0)\n" \
           "  os.waitpid(pid, 0)\n" \
           "t = [threading.Thread(target=work) for _ in range(4)]\n" \
           "[x.start() for x in t]\n"
    with Program(folder) as p:
        p.run(code)
        c = p.connect()
        for _ in range(200):
            same(c.ask("stats")["ok"]["pid"], p.pid)
        c.close()
        p.run("[x.join() for x in t]")
        p.lives()


def a_main_thread_that_has_ended(folder):
    """What /proc says of the process is then empty."""
    code = "import ctypes, threading, time\n" \
           "def state():\n" \
           " return open('/proc/self/stat').read().rpartition(')')[2].split()[0]\n" \
           "def outlive():\n" \
           " while state() != 'Z':\n" \
           "  time.sleep(0.01)\n" \
           " say('done')\n" \
           " control[0].read()\n" \
           "threading.Thread(target=outlive, daemon=True).start()\n" \
           "ctypes.CDLL(None).pthread_exit(None)\n"
    with Program(folder) as p:
        p.run(code)
        info = p.ask("info")["ok"]
        same(info["pid"], p.pid)
        assert info["rss_bytes"] > 1 << 20, info


if __name__ == "__main__":
    sys.exit(main([
        modes_and_owner, modes_whatever_the_umask,
        a_folder_that_others_can_enter, the_file_goes_at_exit,
        a_killed_one_leaves_it_and_ps_removes_it, a_stale_file_is_replaced,
        what_is_no_socket_is_kept, a_socket_in_use_is_kept,
        a_path_with_the_pid, a_path_that_is_too_long,
        a_child_of_a_fork_has_its_own,
        a_child_does_not_hold_the_parents_connections,
        a_child_by_other_ways_leaves_the_file,
        closefrom_and_numbers_used_again,
        the_program_sees_no_descriptor_of_it,
        it_holds_no_descriptor_of_the_program, exec_goes_on_with_a_new_socket,
        others_are_refused, root_may_ask_others, off_costs_nothing,
        one_thread_without_signals, a_relative_path_is_an_error,
        threads_that_fork_meanwhile, a_main_thread_that_has_ended]))
