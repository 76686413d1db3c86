"""profiles.py - the heap profile of a process that is asked for it while it
runs.
"""
import os
import sys

from control import ROOT, Program, holds, main, same

sys.path.insert(0, str(ROOT / "tests/lib"))
from pprof import Profile  # noqa: E402  pylint: disable=wrong-import-position

CHANGE = {"took_us", "reached"}


def a_profile_is_begun_written_and_ended(folder):
    file = folder.path / "x.pb.gz"
    with Program(folder) as p:
        same(p.ask("profile state")["ok"], {"sampling": False})
        holds("profile start begins one",
              p.ask(f"profile dump {file}")["error"])
        same(p.ask("profile stop")["error"], "nothing is sampled")
        same(set(p.ask("profile start 16k")["ok"]), CHANGE)
        p.run("kept = [bytearray(20000) for _ in range(500)]")
        state = p.ask("profile state")["ok"]
        same((state["sampling"], state["every"]), (True, 16384))
        assert state["samples"] > 0 and state["live_bytes"] > 0
        same(p.ask(f"profile dump {file}")["ok"]["file"], str(file))
        profile = Profile(file)
        same(profile.comment("pid"), str(p.pid))
        same(profile.comment("reason"), "control")
        # 10 MB with a sample in 16 KiB: the standard deviation is 0.4 MB, or
        # more where samples are limited to a percent of the time.
        assert 2e6 < profile.total("inuse_space") < 40e6
        same(set(p.ask("profile stop")["ok"]), CHANGE)
        p.run("del kept")
        p.run("x = [bytearray(100000) for _ in range(500)]")
        p.ask(f"profile dump {file}")
        assert Profile(file).total("inuse_space") < \
            profile.total("inuse_space")
        same(p.ask("profile state")["ok"]["sampling"], False)
        holds('"heap_profile"', str(p.ask("stats")["ok"]).replace("'", '"'))
        p.lives()
    assert not [n for n in os.listdir(folder.path) if "tmp" in n]


def wrong_words(folder):
    with Program(folder) as p:
        for words, part in (
                ("", "profile takes start [EVERY]"),
                (" stop now", "profile takes start [EVERY]"),
                (" begin", "profile takes start [EVERY]"),
                (" start 0", 'is no number of bytes'),
                (" start 5x", 'is no number of bytes'),
                (" start -1", 'is no number of bytes')):
            holds(part, p.ask("profile" + words)["error"])
        p.ask("profile start")
        same(p.ask("profile state")["ok"]["every"], 512 << 10)
        for size, every in (("4KiB", 4096), ("1M", 1 << 20), ("77", 77)):
            p.ask(f"profile start {size}")
            same(p.ask("profile state")["ok"]["every"], every)
        for file, part in (
                ("", "[heap_profile] file is none; name a FILE"),
                (" /nonexistent/x.gz", "/nonexistent/x.gz: No such file"),
                (" /tmp/x.folded", "hakctl profile FILE --collapsed"),
                (" /dev/null", "/dev/null: is no regular file")):
            holds(part, p.ask("profile dump" + file)["error"])
        p.lives()


def a_program_ends_with_its_profile(folder):
    folder.conf = folder.path / "x.ini"
    folder.conf.write_text((ROOT / "conf/default.ini").read_text() +
                           f"[heap_profile]\nfile={folder.path}/%p.pb.gz\n")
    with Program(folder) as p:
        same(p.ask("profile state")["ok"]["sampling"], True)
        same(p.ask("profile dump")["ok"]["file"],
             str(folder.path / f"{p.pid}.0001.pb.gz"))
        pid = p.pid
    same(Profile(folder.path / f"{pid}.pb.gz").comment("reason"), "exit")


if __name__ == "__main__":
    sys.exit(main([a_profile_is_begun_written_and_ended, wrong_words,
                   a_program_ends_with_its_profile]))
