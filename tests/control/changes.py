"""changes.py - changes of real processes by hakctl: keys, routes, boxes.
"""
import json
import os
import sys

from control import ROOT, Program, holds, main, same, until

BOXES = ROOT / "build/boxes"

# Blocks of two threads that are checked while boxes come and go, and blocks
# that each thread frees of the other.
STRESS = """
import threading
stop = False
bad = []
def work(seed):
    import random
    r = random.Random(seed)
    mine = {}
    while not stop:
        n = r.choice((1, 20, 100, 300, 700, 1000, 5000))
        key = r.randrange(200)
        if key in mine and mine[key] != bytes([key]) * len(mine[key]):
            bad.append(key)
        mine[key] = bytes([key]) * n
        box[r.randrange(50)] = bytearray(n)
box = [None] * 50
threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
[t.start() for t in threads]
"""
END = "stop = True\n[t.join() for t in threads]\nsay(bad)"


def ask(folder, *words):
    """The value of ok that a command of hakctl gets."""
    status, out, err = folder.hakctl(words[0], "--json", *words[1:])
    same((words, status, err), (words, 0, ""))
    return json.loads(out)


def refused(folder, part, *words):
    status, out, err = folder.hakctl(*words)
    same((words, status, out), (words, 1, ""))
    holds(part, err)


def keys(folder, p):
    return {(k["section"], k["key"]): k for k in ask(folder, "show", p.pid)}


def boxes(folder, p):
    return {b["name"]: b["state"] for b in p.ask("info")["ok"]["boxes"]}


def served(folder, p, name):
    """How many blocks a box has handed out."""
    return {b["name"]: b["allocs"]
            for b in ask(folder, "stats", p.pid)["boxes"]}[name]


def serves(folder, p, name):
    """Does a box hand out blocks?"""
    before = served(folder, p, name)
    p.run("churn()")
    return served(folder, p, name) > before + 1000


def keys_are_set(folder):
    with Program(folder) as p:
        delay = keys(folder, p)["core", "purge_delay_ms"]
        same((delay["value"], delay["layer"], delay["settable"]),
             ("100", "file", True))
        holds("default.ini", delay["file"])
        out = folder.hakctl("set", p.pid, "purge_delay_ms=7",
                            "box large.cache_share=3", "box:large.waste=4")
        same((out[0], out[2]), (0, ""))
        holds("core.purge_delay_ms = 7\nbox large.cache_share = 3\n", out[1])
        now = keys(folder, p)
        for key, value in ((("core", "purge_delay_ms"), "7"),
                           (("box large", "cache_share"), "3"),
                           (("box large", "waste"), "4")):
            same((now[key]["value"], now[key]["layer"]), (value, "control"))
        refused(folder, "core.purge_delay_ms: 3600001 is out of bounds: 0 to "
                "3600000", "set", p.pid, "purge_delay_ms=3600001")
        refused(folder, "there is no key nothing in [core]", "set", p.pid,
                "nothing=1")
        refused(folder, "read at start only", "set", p.pid, "core.fallback=none")
        refused(folder, "there is no box nobody", "set", p.pid,
                "box:nobody.x=1")
        refused(folder, "the settings before it are made", "set", p.pid,
                "purge_delay_ms=8", "purge_delay_ms=x")
        same(keys(folder, p)["core", "purge_delay_ms"]["value"], "8")
        p.lives()


def routes_are_changed(folder):
    with Program(folder) as p:
        assert serves(folder, p, "ultra")
        same(ask(folder, "route", p.pid, "C0-C7", "midmt")["reached"],
             "every thread, from its next call of malloc on")
        assert serves(folder, p, "midmt")
        assert not serves(folder, p, "ultra")
        refused(folder, "there is no route or box nobody", "route", p.pid, "C1",
                "nobody")
        refused(folder, "the classes are C0 to C7", "route", p.pid, "C9",
                "midmt")
        p.lives()


def a_box_is_loaded_and_swapped(folder):
    with Program(folder) as p:
        p.run(STRESS)
        status, out, err = folder.hakctl("load", p.pid,
                                         f"two={BOXES / 'ultra.so'}",
                                         "carve=8192")
        same((status, err), (0, ""))
        holds("two is active: 0 blocks", out)
        refused(folder, "there is a box two already", "load", p.pid,
                f"two={BOXES / 'ultra.so'}")
        assert not serves(folder, p, "two")
        same(keys(folder, p)["box two", "carve"]["value"], "8192")
        for old, new in (("ultra", "two"), ("two", "ultra")) * 5:
            status, out, err = folder.hakctl("swap", "--no-wait", p.pid, old,
                                             new)
            same((status, err), (0, ""))
            assert serves(folder, p, new)
            assert not serves(folder, p, old)
        same(p.run(END), ["[]"])
        p.lives()


def a_file_is_swapped_in_and_back(folder):
    with Program(folder) as p:
        p.run(STRESS)
        ok = ask(folder, "swap", "--no-wait", p.pid, "ultra",
                 BOXES / "mid_v35.so")
        same(list(ok), ["load", "swap", "drain"])
        same(ok["drain"]["empty"], False)
        same(boxes(folder, p)["ultra"], "draining")
        assert serves(folder, p, "mid_v35")
        ok = ask(folder, "swap", "--back", p.pid, "ultra")
        same(ok["back"]["box"]["state"], "active")
        assert serves(folder, p, "ultra")
        refused(folder, "is active", "swap", "--back", p.pid, "ultra")
        same(p.run(END), ["[]"])
        p.lives()


def swap_waits_until_the_box_is_empty(folder):
    # Python keeps blocks of every size but the large ones.
    with Program(folder) as p:
        p.run("big = [bytearray(1 << 20) for _ in range(5)]")
        ok = ask(folder, "swap", "--no-wait", p.pid, "large",
                 BOXES / "large.so")
        assert ok["drain"]["box"]["live"] >= 5
        p.run("del big\nchurn()")
        p.run("import gc; gc.collect()")
        def empty():
            p.run("churn()")
            drained = ask(folder, "drain", p.pid, "large")
            return drained["empty"] or drained["box"]["live"] < 3
        until(empty, "an end of draining")
        p.lives()


def boxes_that_must_not_come_in(folder):
    tests = ROOT / "build/tests/boxes"
    if not (tests / "init_fails.so").exists():
        return "build/tests/boxes is not built"
    with Program(folder) as p:
        before = boxes(folder, p)
        for name in ("init_fails", "no_entry", "other_major", "wrong_magic",
                     "with_tls", "broken_overlap"):
            for trial in ((), ("--no-trial",)):
                if trial and name in ("broken_overlap", "with_tls"):
                    continue
                status, out, err = folder.hakctl(
                    "load", *trial, p.pid, f"bad={tests / name}.so")
                same((name, trial, status, out), (name, trial, 1, ""))
                assert err != ""
        same(boxes(folder, p), before)
        refused(folder, "unknown key", "load", "--no-trial", p.pid,
                f"x={BOXES / 'ultra.so'}", "no_such=1")
        refused(folder, "there is no box nobody", "swap", p.pid, "nobody",
                "midmt")
        refused(folder, "there is no box nobody", "swap", p.pid, "ultra",
                "nobody")
        refused(folder, "there is no box nobody", "drain", p.pid, "nobody")
        same(boxes(folder, p), before)
        p.lives()
    return None


def the_learner_is_switched(folder):
    with Program(folder) as p:
        for word, mode in (("observe", "observe"), ("on", "apply"),
                           ("off", "off")):
            same(ask(folder, "learner", p.pid, word)["mode"], mode)
            same(keys(folder, p)["learner", "mode"]["value"], mode)
            p.lives()
        p.run("os.fork() or os._exit(0)")
        p.lives()


def trim_gives_memory_back(folder):
    with Program(folder) as p:
        ask(folder, "set", p.pid, "purge_delay_ms=3600000")
        p.run("x = [bytearray(5000) for _ in range(20000)]")
        p.run("del x")
        assert ask(folder, "trim", p.pid)["released_bytes"] > 10 << 20
        p.lives()


def without_place(key):
    return key["section"], key["key"], key["value"]


def save_starts_it_as_it_is(folder):
    saved = folder.path / "saved.ini"
    with Program(folder) as p:
        status, _, err = folder.hakctl("save", "-o", saved, p.pid)
        same((status, err), (0, ""))
        same(folder.hakctl("lint", saved), (0, "", ""))
        ask(folder, "set", p.pid, "purge_delay_ms=7", "box:midmt.warm=1M",
            "learner.every=77")
        ask(folder, "swap", "--no-wait", p.pid, "ultra", BOXES / "mid_v35.so")
        ask(folder, "route", p.pid, "C7", "midmt")
        before = keys(folder, p)
        status, _, err = folder.hakctl("save", "-o", saved, p.pid)
        same((status, err), (0, ""))
        folder.conf = saved
        with Program(folder) as second:
            same(second.stderr(), "")
            now = keys(folder, second)
            gone = [k for k in before if k not in now and
                    k[0] != "box ultra"]
            same(gone, [])
            for key, value in before.items():
                if key in now:
                    same(without_place(now[key]), without_place(value))
            same(boxes(folder, second), {"mid_v35": "active",
                                         "midmt": "active", "large": "active"})
            assert serves(folder, second, "mid_v35")


def save_after_a_drain(folder):
    saved = folder.path / "saved.ini"
    with Program(folder) as p:
        ask(folder, "drain", p.pid, "ultra")
        status, _, err = folder.hakctl("save", "-o", saved, p.pid)
        same(status, 0)
        assert " error: " not in err
        text = saved.read_text()
        assert "box ultra" not in text
        holds("\n; 0-1024 = libc\n", text)
        folder.conf = saved
        with Program(folder) as second:
            same(second.stderr(), "")
            same(boxes(folder, second), {"midmt": "active", "large": "active"})


def forks_and_changes_at_once(folder):
    code = STRESS + "\npids = []\n" \
        "def forker():\n" \
        "  while not stop:\n" \
        "    pid = os.fork()\n" \
        "    if pid == 0:\n" \
        "      churn()\n" \
        "      os._exit(0)\n" \
        "    pids.append(os.waitpid(pid, 0)[1])\n" \
        "threads.append(threading.Thread(target=forker))\n" \
        "threads[-1].start()"
    with Program(folder) as p:
        p.run(code)
        ask(folder, "load", p.pid, f"two={BOXES / 'ultra.so'}")
        c = p.connect()
        for i in range(100):
            old, new = ("ultra", "two") if i % 2 == 0 else ("two", "ultra")
            holds("ok", c.ask(f"swap {old} {new}"))
            holds("ok", c.ask(f"set purge_delay_ms={i}"))
            holds("ok", c.ask("route C1 midmt"))
            holds("ok", c.ask("stats"))
            holds("ok", c.ask("show"))
        c.close()
        same(p.run(END), ["[]"])
        same(p.run("say(set(pids))"), ["{0}"])
        p.lives()


if __name__ == "__main__":
    assert os.path.exists(BOXES)
    sys.exit(main([
        keys_are_set, routes_are_changed, a_box_is_loaded_and_swapped,
        a_file_is_swapped_in_and_back, swap_waits_until_the_box_is_empty,
        boxes_that_must_not_come_in, the_learner_is_switched,
        trim_gives_memory_back, save_starts_it_as_it_is, save_after_a_drain,
        forks_and_changes_at_once]))
