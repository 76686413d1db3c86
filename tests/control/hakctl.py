"""hakctl.py - the commands of hakctl that ask and change processes.

Most are tried on a process that a thread of this test plays (Fake), so that
each reply can be had. A Fake notes what it was asked.
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

from control import (HAKCTL, LIBRARY, PYTHON, ROOT, Folder, Program, holds,
                     main, same, until)
from swapping import section

CONF = str(ROOT / "conf/default.ini")
BOXES = ROOT / "build/boxes"
INFO = {"pid": 77, "program": "fake", "version": "0", "conf": "/a/b/c.ini",
        "profile": None, "boxes": [
            {"name": "ultra", "state": "active", "live": 3, "live_bytes": 48,
             "mapped_bytes": 65536},
            {"name": "old", "state": "draining", "live": 1, "live_bytes": 16,
             "mapped_bytes": 65536}],
        "live_bytes": 64, "mapped_bytes": 131072, "rss_bytes": 1 << 20,
        "uptime_s": 3723.25, "minor_faults": 1, "major_faults": 0}
CHANGE = {"took_us": 12, "reached": "every thread"}


def box(name, state, live):
    return {"name": name, "state": state, "live": live, "live_bytes": live * 64,
            "mapped_bytes": 65536}


class Fake:
    """Answers each request by answer(words), which returns a reply or the value
    of "ok"."""

    def __init__(self, folder, answer):
        self.path = str(folder.path / "fake.sock")
        self.asked = []
        self.answer = answer
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.socket.accept()
            with connection, connection.makefile("rw") as f:
                for line in f:
                    self.asked.append(line.rstrip("\n"))
                    reply = self.answer(line.rstrip("\n"))
                    if not isinstance(reply, (str, dict)) or \
                            "error" not in reply:
                        reply = {"ok": reply}
                    f.write(json.dumps(reply) + "\n")
                    f.flush()


def ps_lists_processes(folder):
    with Program(folder, name="one") as a, Program(folder, name="two") as b:
        status, out, err = folder.hakctl("ps")
        same((status, err), (0, ""))
        lines = {line.split()[1]: line.split() for line in
                 out.splitlines()[1:]}
        same((lines["one"][0], lines["two"][0]), (str(a.pid), str(b.pid)))
        same(lines["one"][6], "ultra,midmt,large")
        same(lines["one"][7], CONF)
        status, out, err = folder.hakctl("ps", "--json")
        same((status, err), (0, ""))
        found = {p["pid"]: p["program"] for p in json.loads(out)}
        same((found[a.pid], found[b.pid]), ("one", "two"))
        same(folder.hakctl("ps", "x")[0], 2)


def a_process_by_its_name(folder):
    name = f"only-{os.getpid()}"
    with Program(folder, name=name) as p:
        status, out, err = folder.hakctl("stats", name)
        same((status, err), (0, ""))
        holds(f"{name} ({p.pid})", out)
        with Program(folder, name=name) as second:
            status, out, err = folder.hakctl("stats", name)
            same((status, out), (1, ""))
            holds(f'2 processes run "{name}": ', err)
            holds(str(second.pid), err)
            holds("name one of them by its pid", err)
        status, out, err = folder.hakctl("stats", "no-such")
        same((status, out), (1, ""))
        holds('runs "no-such"; hakctl ps lists them', err)


def stats_as_text_and_as_json(folder):
    with Program(folder) as p:
        status, out, _ = folder.hakctl("stats", p.pid)
        same(status, 0)
        holds(f"({p.pid})", out.splitlines()[0])
        status, out, _ = folder.hakctl("stats", "--json", p.pid)
        same((status, json.loads(out)["pid"]), (0, p.pid))


def who_cannot_be_asked(folder):
    with Program(folder, control=None) as p:
        status, out, err = folder.hakctl("stats", p.pid)
        same((status, out), (1, ""))
        holds(f"process {p.pid} has no control socket; start it by hakctl run "
              "--control", err)
    status, out, err = folder.hakctl("stats", 2**31 - 2)
    same((status, out), (1, ""))
    holds(f"there is no process {2**31 - 2}", err)
    status, out, err = folder.hakctl("stats", "/no/such.sock")
    same((status, out), (1, ""))
    holds("cannot connect to /no/such.sock: No such file", err)


def processes_of_others(folder):
    if os.geteuid() != 0:
        return "needs root"
    with Program(folder) as p:
        ask = subprocess.run(
            [HAKCTL, "stats", str(p.pid)], text=True, capture_output=True,
            user=65534, group=65534, extra_groups=[], check=False)
        same((ask.returncode, ask.stdout), (1, ""))
        holds(f"process {p.pid} belongs to user root (0); ask as that user or "
              "as root", ask.stderr)
    return None


def bad_usage(folder):
    for words, part in (
            (("stats",), "no process given; see hakctl help stats"),
            (("stats", "1", "2"), "too many words; see hakctl help stats"),
            (("set", "1"), "too few words"),
            (("route", "1", "C1"), "too few words"),
            (("drain", "1"), "too few words"),
            (("trim", "--fast", "1"), 'unknown option "--fast"'),
            (("load", "1", "x"), "a process and NAME=FILE"),
            (("load", "1", "x=y", "z"), '"z" is not KEY=VALUE'),
            (("swap", "1", "x"), "a file or another box"),
            (("swap", "--back", "1", "x", "y"), "no more with --back"),
            (("swap", "1", "x", "y", "a=b"), "KEY=VALUE is for a file"),
            (("save",), "it takes one process"),
            (("save", "-o"), "needs a value")):
        if words[0] == "swap" and "a=b" in words:
            fake = Fake(folder, lambda line: INFO)
            words = ("swap", fake.path) + words[2:]
        status, out, err = folder.hakctl(*words)
        same((words, status, out), (words, 2, ""))
        holds(part, err)
    for command in ("ps", "stats", "show", "set", "route", "load", "swap",
                    "drain", "trim", "learner", "save"):
        status, out, err = folder.hakctl(command, "--help")
        same((status, err), (0, ""))
        holds(f"usage: hakctl {command} ", out)


def changes_and_their_replies(folder):
    replies = {
        "set core.purge_delay_ms=5 \"box ultra.warm=1\"": {"set": [
            {"section": "core", "key": "purge_delay_ms", "value": "5"},
            {"section": "box ultra", "key": "warm", "value": "1"}], **CHANGE},
        "route C0-C3 old": {"range": "C0-C3", "route": "old", **CHANGE},
        "drain old": {"empty": False, "box": box("old", "draining", 2),
                      **CHANGE},
        "trim": {"released_bytes": 3 << 20, **CHANGE},
        "learner on": {"mode": "apply", **CHANGE}}
    texts = ["core.purge_delay_ms = 5\nbox ultra.warm = 1\n",
             "C0-C3 -> old\n", "old is draining: 2 blocks, 128B live, 64.0K "
             "mapped\n", "3.0M given back\n", "learner.mode = apply\n"]
    fake = Fake(folder, lambda line: replies[line])
    words = [("set", "core.purge_delay_ms=5", "box ultra.warm=1"),
             ("route", "C0-C3", "old"), ("drain", "old"), ("trim",),
             ("learner", "on")]
    for (command, *rest), text, ok in zip(words, texts, replies.values()):
        status, out, err = folder.hakctl(command, fake.path, *rest)
        same((status, err), (0, ""))
        same(out, text + "12 us; reached every thread\n")
        status, out, err = folder.hakctl(command, "--json", fake.path, *rest)
        same((status, err, json.loads(out)), (0, "", ok))


def refusals_are_told(folder):
    fake = Fake(folder, lambda line: {"error": "9 is out of bounds: 0 to 5"})
    for words in (("set", "a=9"), ("route", "C1", "x"), ("drain", "x"),
                  ("trim",), ("learner", "on"), ("show",), ("stats",),
                  ("save",)):
        status, out, err = folder.hakctl(words[0], fake.path, *words[1:])
        same((status, out), (1, ""))
        same(err, f"hakctl: {words[0]}: 9 is out of bounds: 0 to 5\n")
    fake.answer = lambda line: {"error": 1}
    status, out, err = folder.hakctl("trim", fake.path)
    same((status, out), (1, ""))
    holds("no reply of this protocol", err)
    status, out, err = folder.hakctl("set", fake.path, "a=b\nc")
    same((status, out), (2, ""))
    holds("no word of it may have a line break", err)


def key(section, name, value, layer="file", settable=False, line=0):
    return {"section": section, "key": name, "value": value, "layer": layer,
            "file": "/a/b/c.ini" if line else None, "line": line,
            "settable": settable, "bounds": "0..5" if settable else ""}


def show_prints_keys(folder):
    fake = Fake(folder, lambda line: [
        key("core", "purge_delay_ms", "5", "control", True),
        key("box ultra", "path", "./x.so", line=7)])
    status, out, err = folder.hakctl("show", fake.path)
    same((status, err), (0, ""))
    same([" ".join(line.split()) for line in out.splitlines()],
         ["core.purge_delay_ms = 5 control; may change: 0..5",
          "box ultra.path = ./x.so file /a/b/c.ini:7"])


def save_writes_what_lint_accepts(folder):
    own = folder.path / "own"
    own.mkdir()
    (own / "mine.so").symlink_to(BOXES / "ultra.so")
    conf = str(own / "own.ini")
    keys = [key("core", "purge_delay_ms", "5"), key("core", "fallback", "libc"),
            key("box mine", "path", "./mine.so"),
            key("policy", "C0-C7", "mine"),
            key("core", "verify", "no"),
            key("stats", "at_exit", "a ; b"),
            key("box large", "lanes", "yes"), key("box large", "path", ""),
            key("policy", "262145-", "large"),
            key("box midmt", "lanes", "yes"),
            key("policy", "1025-256k", "midmt")]
    fake = Fake(folder, lambda line: keys if line == "show" else
                {**INFO, "conf": conf, "boxes": [box("gone", "draining", 1)]})
    status, out, err = folder.hakctl("save", fake.path)
    same(status, 0)
    same(err, "hakctl: save: stats.at_exit is left out: a comment would begin "
         "in its value\n")
    same(out.split("\n\n", 1)[1],
         "[core]\npurge_delay_ms = 5\nfallback = libc\nverify = no\n\n"
         f"[box mine]\npath = {own}/./mine.so\n\n"
         "[policy]\nC0-C7 = mine\n262145- = large\n1025-256k = midmt\n\n"
         "[stats]\n\n[box large]\nlanes = yes\n\n"
         "[box midmt]\nlanes = yes\n")
    there = folder.path / "saved.ini"
    same(folder.hakctl("save", "-o", there, fake.path)[0], 0)
    same(folder.hakctl("lint", there)[:2], (0, ""))
    status, out, _ = folder.hakctl("save", "--json", fake.path)
    holds("purge_delay_ms = 5", json.loads(out)["ini"])
    keys.append(key("core", "purge_delai", "5"))
    status, _, err = folder.hakctl("save", "-o", there, fake.path)
    same(status, 1)
    holds('unknown key "purge_delai"', err)
    status, _, err = folder.hakctl("save", "-o", "/no/such/file", fake.path)
    same(status, 2)
    holds("cannot write /no/such/file", err)


class Swapped(Fake):
    """A process whose old box empties at the third look."""

    def __init__(self, folder):
        self.looks = 0
        super().__init__(folder, self.reply)

    def reply(self, line):
        words = line.split()
        if words[0] == "info":
            return INFO
        if words[0] == "load":
            return {"box": box(words[1].split("=")[0], "active", 0), **CHANGE}
        if words[0] == "swap":
            return {"from": box(words[1], "draining", 2),
                    "to": box(words[2], "active", 0), **CHANGE}
        if words[0] == "back":
            return {"box": box(words[1], "active", 2), **CHANGE}
        self.looks += 1
        left = 3 - min(self.looks, 3)
        return {"empty": left == 0, "box": box(
            "ultra", "draining" if left else "closed", left), **CHANGE}


def swap_loads_and_waits(folder):
    fake = Swapped(folder)
    status, out, err = folder.hakctl("swap", fake.path, "ultra",
                                     BOXES / "ultra.so")
    same((status, err), (0, ""))
    same(out, "ultra -> ultra-2: 12 us; reached every thread\n"
         "ultra is draining: 2 blocks, 128B live, 64.0K mapped\n"
         "ultra is draining: 1 blocks, 64B live, 64.0K mapped\n"
         "ultra is closed: 0 blocks, 0B live, 64.0K mapped\n")
    same([line for line in fake.asked if line != "info"],
         [f"load ultra-2={os.path.realpath(BOXES / 'ultra.so')}",
          "swap ultra ultra-2"] + ["drain ultra"] * 3)
    fake.looks = 0
    status, out, err = folder.hakctl("swap", "--no-wait", "--json", fake.path,
                                     "ultra", "old")
    same((status, err), (0, ""))
    same({k: v.get("empty") for k, v in json.loads(out).items()},
         {"swap": None, "drain": False})
    same(fake.asked[-2:], ["swap ultra old", "drain ultra"])
    status, out, err = folder.hakctl("swap", "--back", fake.path, "ultra")
    same((status, err), (0, ""))
    same(fake.asked[-1], "back ultra")
    holds("ultra is active", out)


def a_trial_goes_before_load(folder):
    fake = Swapped(folder)
    broken = ROOT / "build/tests/boxes/broken_overlap.so"
    if not broken.exists():
        return "build/tests/boxes is not built"
    for words in (("load", fake.path, f"x={broken}"),
                  ("swap", fake.path, "ultra", broken)):
        status, out, err = folder.hakctl(*words)
        same((status, out), (1, ""))
        holds("overlaps one that is out", err)
        holds("fails its trial, so the process was not asked", err)
    assert not [line for line in fake.asked if line.startswith("load")]
    status, out, _ = folder.hakctl("load", "--no-trial", fake.path,
                                   f"x={broken}")
    same(status, 0)
    holds("x is active", out)
    same(fake.asked[-1], f"load x={broken}")
    status, out, err = folder.hakctl(
        "load", fake.path, f"x={BOXES / 'ultra.so'}", "no_such=1")
    same((status, out), (1, ""))
    holds("no_such", err)
    status, out, err = folder.hakctl("load", fake.path, "x=./none.so")
    same((status, out), (1, ""))
    holds("./none.so: No such file", err)
    return None


def the_trial_knows_boxes_by_their_names(folder):
    """A file without a slash is one beside the library, from any folder."""
    fake = Swapped(folder)
    for words in (("x=mid_v35.so",), ("x=mid_v35.so", "lanes=off")):
        same(folder.hakctl("load", fake.path, *words)[0::2], (0, ""))
        same(fake.asked[-1], " ".join(("load", *words)))


MIMALLOC = section(ROOT / "conf/foreign/mimalloc-region.ini", "mimalloc")


def a_foreign_box_is_tried_and_loaded(folder):
    lint = folder.hakctl("lint", ROOT / "conf/foreign/mimalloc-region.ini")
    if lint[0] != 0:
        return "mimalloc is not installed"
    with Program(folder) as p:
        for change, part in (
                ("alloc=mi_no_such(size) -> ptr", "mi_no_such"),
                ("path=libnone.so.9", "libnone.so.9: cannot open"),
                ("init=mi_version() -> i32", "alloc gave no block of the "
                                             "region"),
                ("usable=mi_free(ptr)", "usable")):
            key = change.split("=")[0] + "="
            words = [change if w.startswith(key) else w for w in MIMALLOC]
            status, out, err = folder.hakctl("load", p.pid, "mi=foreign",
                                             *words)
            same((change, status, out), (change, 1, ""))
            holds(part, err)
            holds("the foreign box fails its trial, so the process was not "
                  "asked", err)
        same([b["name"] for b in p.ask("info")["ok"]["boxes"]],
             ["ultra", "midmt", "large"])
        status, out, err = folder.hakctl("load", p.pid, "mi=foreign",
                                         *MIMALLOC)
        same((status, err), (0, ""))
        holds("mi is active: 0 blocks", out)
        status, out, err = folder.hakctl("load", p.pid, "second=foreign",
                                         *MIMALLOC)
        same((status, out), (1, ""))
        holds("or another box has this library", err)
        same(folder.hakctl("swap", "--no-wait", p.pid, "ultra", "mi")[0::2],
             (0, ""))
        # Python serves objects of up to 512 bytes by itself.
        p.run("same = [b'%04d' % n * 200 for n in range(3000)]")
        live = {b["name"]: b["live"] for b in p.ask("info")["ok"]["boxes"]}
        assert live["mi"] >= 3000, live
        same(p.run("say(same == [b'%04d' % n * 200 for n in range(3000)])"),
             ["True"])
        p.lives()
    return None


def a_foreign_library_by_a_relative_path(folder):
    fake = Swapped(folder)
    (folder.path / "lib.so").touch()
    here = os.getcwd()
    os.chdir(folder.path)
    try:
        same(folder.hakctl("load", "--no-trial", fake.path, "x=foreign",
                           "path=./lib.so", "free=f(ptr)")[0::2], (0, ""))
        same(fake.asked[-1], "load x=foreign path="
             f"{os.path.realpath('lib.so')} free=f(ptr)")
    finally:
        os.chdir(here)
    same(folder.hakctl("load", "--no-trial", fake.path, "x=foreign",
                       "path=lib.so")[0], 0)
    same(fake.asked[-1], "load x=foreign path=lib.so")


def the_process_ends_while_swap_waits(folder):
    for end in (Program.end, Program.kill):
        with Program(folder) as p:
            same(folder.hakctl("load", p.pid, "copy=ultra.so")[0], 0)
            env = {**os.environ, "XDG_RUNTIME_DIR": str(folder.path)}
            swap = subprocess.Popen(
                [HAKCTL, "swap", str(p.pid), "ultra", "copy"], text=True,
                env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            holds("ultra -> copy", swap.stdout.readline())
            holds("ultra is draining", swap.stdout.readline())
            end(p)
            _, err = swap.communicate(timeout=60)
            same((swap.returncode, err),
                 (1, f"hakctl: swap: process {p.pid} has ended\n"))


def run_with_control(folder):
    env = folder.environment(control=None)
    del env["LD_PRELOAD"]
    code = "import os\nx = [str(i) for i in range(99999)]\ninput()"
    p = subprocess.Popen([HAKCTL, "run", "--control", "--", PYTHON, "-c", code],
                         env=env, stdin=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    until(folder.socket(p.pid).exists, "its socket")
    status, out, _ = folder.hakctl("stats", p.pid)
    same(status, 0)
    holds(f"({p.pid})", out)
    _, err = p.communicate("\n")
    same((p.returncode, err), (0, ""))
    same(folder.socket(p.pid).exists(), False)


def run_with_control_warns(folder):
    fake = folder.path / "unshare"
    fake.symlink_to("/bin/true")
    status, _, err = folder.hakctl("run", "--control", "--", fake)
    same(status, 0)
    holds("warning: unshare needs to be single-threaded", err)
    status, _, err = folder.hakctl("run", "--control", "-f", "x", "--", "true")
    same(status, 2)
    holds("--fused takes no --control", err)
    same(folder.hakctl("run", "--", fake)[1:], ("", ""))


if __name__ == "__main__":
    assert pathlib.Path(LIBRARY).exists() and Folder
    sys.exit(main([
        ps_lists_processes, a_process_by_its_name, stats_as_text_and_as_json,
        who_cannot_be_asked, processes_of_others, bad_usage,
        changes_and_their_replies, refusals_are_told, show_prints_keys,
        save_writes_what_lint_accepts, swap_loads_and_waits,
        a_trial_goes_before_load,
        the_trial_knows_boxes_by_their_names, a_foreign_box_is_tried_and_loaded,
        a_foreign_library_by_a_relative_path, the_process_ends_while_swap_waits,
        run_with_control, run_with_control_warns]))
