"""replay.py - hakctl replay: what is played, what is measured of it, and what is
found in allocators with faults. Traces are made of text by make_trace.
"""
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "control"))
# pylint: disable=wrong-import-position
from control import HAKCTL, ROOT, WAIT_S, Folder, same, tap  # noqa: E402

MAKE = ROOT / "build/tests/replay/make_trace"
FAULTY = ROOT / "build/tests/replay/allocator.so"
PLAYER = ROOT / "build/hakctl-player"
CHART_JS = ROOT / "build/share/report/chart.min.js"
KIB, MIB = 1 << 10, 1 << 20
MS = 1000000


class Made:
    """Lines of a trace."""

    def __init__(self):
        self.lines = []
        self.blocks = 0

    def make(self, kind, *numbers, thread=0):
        self.lines.append(f"{thread} {kind} {' '.join(map(str, numbers))}")
        self.blocks += 1
        return self.blocks

    def add(self, kind, *numbers, thread=0):
        self.lines.append(f"{thread} {kind} {' '.join(map(str, numbers))}")


def mixed(threads, calls, seed=1, ends=0):
    """Blocks of all kinds; most are freed by another thread than made them.
    With `ends`, threads end once in so many calls, and others begin."""
    chance = random.Random(seed)
    made, live, there = Made(), [], list(range(threads))
    begun = threads
    for n in range(calls):
        if n % 7 == 0:
            made.add("time", n * 2000)
        place = n if n < threads else chance.randrange(threads)
        if ends and n > threads and place != 0 and chance.random() * ends < 1:
            made.add("ended", thread=there[place])
            there[place] = begun
            begun += 1
        thread, dice = there[place], chance.random()
        if live and dice < .45:
            made.add("free", live.pop(chance.randrange(len(live))),
                     thread=thread)
        elif live and dice < .52:
            old = live.pop(chance.randrange(len(live)))
            live.append(made.make("realloc", old, chance.randrange(1, 3000),
                                  thread=thread))
        elif dice < .6:
            live.append(made.make("calloc", chance.randrange(1, 2000),
                                  thread=thread))
        elif dice < .64:
            live.append(made.make("aligned", 64, chance.randrange(1, 2000),
                                  thread=thread))
        else:
            live.append(made.make("malloc", chance.randrange(0, 1000),
                                  thread=thread))
    return made


class Place(Folder):
    """A folder with traces."""

    def trace(self, made, name="x.trace"):
        file = self.path / name
        if not any(" time " in line for line in made.lines):
            made.lines.insert(0, f"0 time {MS}")
        subprocess.run([str(MAKE), str(file)], text=True, check=True,
                       input="".join(line + "\n" for line in made.lines))
        return file

    def replay(self, file, *options, env=(), **more):
        """Exit status, stdout and stderr."""
        clean = {k: v for k, v in os.environ.items()
                 if not k.startswith(("HAKMEM_", "LD_PRELOAD"))}
        p = subprocess.run([HAKCTL, "replay", str(file), *map(str, options)],
                           env={**clean, **dict(env)}, text=True, check=False,
                           capture_output=True, timeout=WAIT_S, **more)
        return p.returncode, p.stdout, p.stderr

    def figures(self, file, *options, env=()):
        status, out, err = self.replay(file, "-j", "-", *options, env=env)
        same(err, "")
        same(status, 0)
        return json.loads(out)

    def calls(self, file, *options):
        """What the calls of each thread came to, and the ns of the clock."""
        left = self.path / "calls"
        left.write_bytes(bytes(1 << 16))
        status, _, err = self.replay(file, "--lib", FAULTY, "-n", 1, *options,
                                     env={"HAK_TEST_CALLS": str(left)})
        same((status, err), (0, ""))
        words = [int.from_bytes(left.read_bytes()[i:i + 8], "little")
                 for i in range(0, 1 << 16, 8)]
        return sorted(filter(None, words[2:])), words[1]

    def fault(self, file, fault, *options):
        """What is said of an allocator with a fault."""
        status, _, err = self.replay(file, "--lib", FAULTY, "-n", 1, *options,
                                     env={"HAK_TEST_FAULT": fault})
        same(status, 1)
        return err


def medians(found, i=0):
    return found["contenders"][i]["medians"]


def has(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{text!r} has no {part!r}")


def between(low, value, high):
    if not low < value < high:
        raise AssertionError(f"{value} is not between {low} and {high}")


# ---- what is played ----------------------------------------------------------

def the_same_calls_in_each_order_and_run(place):
    file = place.trace(mixed(8, 20000, ends=1000))
    first, _ = place.calls(file)
    between(15, len(first), 1000)
    for options in ((), ("--exact",), ("--free-run",), ("--check",),
                    ("--memory", 1)):
        same(place.calls(file, *options)[0], first)
    other, _ = place.calls(place.trace(mixed(8, 20000, seed=2, ends=1000)))
    same(other == first, False)


def no_more_than_what_is_asked_for(place):
    made = mixed(1, 3000)
    whole, _ = place.calls(place.trace(made))
    part, _ = place.calls(place.trace(made), "--to", 0.5)
    same(part == whole, False)
    found = place.figures(place.trace(made), "--libc", "-n", 1)
    calls = found["trace"]["calls"]
    half = place.figures(place.trace(made), "--libc", "-n", 1, "--from", "25%",
                         "--to", calls * 3 // 4)
    between(calls // 4, half["curve"][0]["call"], calls // 2)
    between(calls // 2, half["curve"][-1]["call"], calls * 3 // 4 + 1)


def two_hundred_threads_and_their_blocks(place):
    file = place.trace(mixed(200, 30000, ends=3000))
    for options in ((), ("--free-run",), ("--exact",)):
        status, out, err = place.replay(file, "--check", "--libc", *options)
        same((status, out, err), (0, "libc: ok\n", ""))


def threads_that_wait_for_each_other(place):
    """Each block is made by one thread and freed by the next one, at once."""
    made = Made()
    for n in range(4000):
        block = made.make("malloc", 100 + n % 50, thread=n % 20)
        made.add("free", block, thread=(n + 1) % 20)
    status, out, err = place.replay(place.trace(made), "--check", "--libc")
    same((status, out, err), (0, "libc: ok\n", ""))


def batches_one_after_the_other(place):
    """More calls than one batch has, held in memory and read for each run."""
    made = Made()
    kept = [made.make("malloc", 3000, thread=n % 3) for n in range(50)]
    for n in range(1100000):
        made.lines.append(f"{n % 3} null")
    for block in kept:
        made.add("free", block, thread=(block + 1) % 3)
    file = place.trace(made)
    for options in ((), ("--memory", 1)):
        status, out, err = place.replay(file, "--check", "--libc", *options)
        same((status, out, err), (0, "libc: ok\n", ""))


def calls_that_cannot_be_played(place):
    made = Made()
    made.lines += ["0 malloc 10 failed", "0 free 0", "0 realloc 0 100",
                   "0 realloc 1 0 failed", "0 malloc 0", "0 realloc 2 70",
                   "0 null"]
    found = place.figures(place.trace(made), "--libc", "-n", 1)
    same((found["trace"]["failed_calls"], found["trace"]["unknown_frees"]),
         (1, 1))
    same(found["trace"]["calls"], 5)


def the_clock_of_the_trace(place):
    made = Made()
    for n in range(100):
        made.add("time", n * 1000 * MS)
        made.add("free", made.make("malloc", 100))
    _, ns = place.calls(place.trace(made))
    between(98e9, ns, 100e9)
    _, ns = place.calls(place.trace(made), "--real-time")
    between(0, ns, 90e9)


def memory_that_is_given_back_after_a_while(place):
    """32 MiB are freed, and 30 s later the program is still at work. hakmem
    gives memory back 100 ms after it was freed."""
    made = Made()
    made.add("time", MS)
    blocks = [made.make("malloc", 1000) for _ in range(32 * MIB // 1008)]
    for block in blocks:
        made.add("free", block)
    for step in range(300):
        made.add("time", step * 100 * MS)
        blocks = [made.make("malloc", n % 20 * 500 + 100) for n in range(100)]
        for block in blocks:
            made.add("free", block)
    file, last = place.trace(made), {}
    for options in ((), ("--real-time",)):
        found = place.figures(file, "-c", ROOT / "conf/default.ini", "-n", 1,
                              *options)
        last[options] = found["curve"][-1]["rss"][0]
    between(0, last[()], last[("--real-time",)] / 4)


# ---- what is measured --------------------------------------------------------

def memory_of_known_blocks(place):
    """16 MiB in small blocks, then 8 MiB of which a quarter was touched."""
    made = Made()
    small = [made.make("malloc", 1000) for _ in range(16 * MIB // 1008)]
    large = made.make("malloc", 8 * MIB)
    made.add("touched", large, 2 * MIB)
    made.add("free", large)
    for block in small:
        made.add("free", block)
    found = place.figures(place.trace(made), "--libc", "-n", 1)
    peak = medians(found)["peak_rss_bytes"]
    between(18 * MIB, peak, 18.5 * MIB)
    same(found["trace"]["peak_live_bytes"], len(small) * 1000 + 8 * MIB)
    row = max(found["curve"], key=lambda row: row["live"])
    same(row["live"], found["trace"]["peak_live_bytes"])
    between(-100, medians(found)["minor_faults"] - peak / 4096, 100)


def memory_of_what_grows(place):
    made = Made()
    block = made.make("malloc", 1000)
    for n in range(1, 100):
        block = made.make("realloc", block, n * 100 * KIB)
    found = place.figures(place.trace(made), "--libc", "-n", 1)
    between(9.6 * MIB, medians(found)["peak_rss_bytes"], 10.2 * MIB)


def an_empty_process_has_no_memory(place):
    made = Made()
    made.add("free", made.make("malloc", 10))
    found = place.figures(place.trace(made), "--libc", "-n", 1)
    between(0, medians(found)["peak_rss_bytes"], 64 * KIB)


def the_memory_that_was_recorded(place):
    made = Made()
    for n in range(10):
        made.add("resident", n * MIB)
        made.make("malloc", 100)
    found = place.figures(place.trace(made), "--libc", "-n", 1)
    same(found["curve"][-1]["recorded"], 9 * MIB)


def times_of_calls(place):
    found = place.figures(place.trace(mixed(1, 5000)), "--libc", "-n", 1)
    m = medians(found)
    quantiles = [m[f"malloc_{p}_ns"] for p in ("p50", "p99", "p999")]
    same(quantiles, sorted(quantiles))
    between(0, quantiles[0], 1e6)
    quantiles = [m[f"free_{p}_ns"] for p in ("p50", "p99", "p999")]
    same(quantiles, sorted(quantiles))
    between(0, m["alloc_ns"], m["wall_ns"])


def contenders_and_verdicts(place):
    file = place.trace(mixed(1, 2000))
    status, out, err = place.replay(file, "-c", "conf/default.ini", "--libc",
                                    "--lib", FAULTY, cwd=ROOT)
    same((status, err), (0, ""))
    for text in ("2000 calls of 1 thread", "6 rounds after 1 of warm-up, medians, base default",
                 "contender  alloc time", "malloc50", "libc against default:",
                 "allocator against default:", "time in the allocator"):
        has(out, text)
    found = place.figures(file, "--libc", "--lib", FAULTY, "-n", 2)
    names = [c["name"] for c in found["contenders"]]
    same(names, ["libc", "allocator"])
    same({v["result"] for v in found["verdicts"]}, {"unknown"})
    same(len(found["curve"][0]["rss"]), 2)


def tables_of_markdown(place):
    status, out, _ = place.replay(place.trace(mixed(1, 500)), "--libc",
                                  "--markdown", "-n", 1)
    same(status, 0)
    has(out, "| contender | alloc time | peak RSS |")


def a_page(place):
    made = mixed(1, 3000)
    made.add("resident", 9 * MIB)
    made.make("malloc", 10)
    file, page = place.trace(made), place.path / "page.html"
    status, _, err = place.replay(file, "--libc", "--lib", FAULTY, "-n", 1,
                                  "--page", page)
    same((status, err.replace("package libjs", "")), (0, ""))
    for check in ("form", "alone", "access", "figures"):
        p = subprocess.run(["python3", "tests/report/check.py", str(page),
                            check], cwd=ROOT, text=True, check=False,
                           capture_output=True)
        same((p.returncode, p.stdout + p.stderr), (0, "\n"))
    if shutil.which("chromium") is None:
        return "no chromium to draw it"
    drawn = subprocess.run(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
         f"--user-data-dir={place.path}/chromium", "--dump-dom",
         "--virtual-time-budget=3000", "--enable-logging=stderr",
         f"file://{page}"], text=True, capture_output=True, timeout=WAIT_S,
        check=False)
    same("CONSOLE" in drawn.stderr, False)
    if CHART_JS.exists():
        has(drawn.stdout, "allocator has at most ", "</canvas>live bytes</button>",
            "the recorded process in all</button>")
    return None


# ---- what is found -----------------------------------------------------------

def blocks_that_overlap(place):
    made = Made()
    for n in range(100):
        made.make("malloc", 200 + n)
    for n in range(100):
        made.add("free", n + 1)
    said = place.fault(place.trace(made), "overlap", "--check")
    has(said, "of block ", "overlaps it")
    has(said, "bytes, made by operation")


def contents_that_were_lost(place):
    said = place.fault(place.trace(mixed(3, 2000)), "lost", "--check")
    has(said, "(realloc of ", " is 0x", ", not 0x")


def a_wrong_alignment(place):
    said = place.fault(place.trace(mixed(1, 2000)), "align", "--check")
    has(said, "is no multiple of 16", "in operation ")


def a_calloc_that_is_not_zero(place):
    said = place.fault(place.trace(mixed(1, 2000)), "zero", "--check")
    has(said, "(calloc of ", "byte 100 is 0x07, not 0")


def a_block_that_is_not_usable(place):
    said = place.fault(place.trace(mixed(1, 2000)), "usable", "--check")
    has(said, "malloc_usable_size says 0 bytes")


def an_allocator_without_a_fault(place):
    for threads in (1, 5):
        status, out, err = place.replay(
            place.trace(mixed(threads, 5000)), "--check", "--lib", FAULTY,
            "--libc", "-c", ROOT / "conf/default.ini")
        same((status, out, err), (0, "allocator: ok\nlibc: ok\ndefault: ok\n",
                                  ""))


def no_block(place):
    said = place.fault(place.trace(mixed(1, 2000)), "null")
    has(said, "(malloc of ", "the allocator returned NULL")


def a_crash(place):
    said = place.fault(place.trace(mixed(4, 2000)), "crash")
    has(said, "was ended by signal 11", "in operation")
    said = place.fault(place.trace(mixed(1, 2000)), "kill")
    has(said, "was killed (SIGKILL; out of memory?) in operation")
    said = place.fault(place.trace(mixed(1, 2000)), "exit")
    has(said, "ended with status 7 in operation")


def what_failed_is_left_out(place):
    file = place.trace(mixed(1, 2000))
    status, out, err = place.replay(file, "--libc", "--lib", FAULTY, "-n", 2,
                                    "--ignore-failure",
                                    env={"HAK_TEST_FAULT": "crash"})
    same(status, 1)
    has(out, "allocator: 2 runs failed", "signal 11")


# ---- what cannot be ----------------------------------------------------------

def libraries_that_serve_nothing(place):
    status, _, err = place.replay(place.trace(mixed(1, 100)), "--lib",
                                  "libz.so.1", "-n", 1)
    same(status, 1)
    has(err, "malloc is still that of libc")


def bad_usage(place):
    file = place.trace(mixed(1, 100))
    empty = place.trace(Made(), "empty.trace")
    for text, words in (
            ("no TRACE given", ()),
            ("more than one TRACE", (file, file)),
            ("nosuch.trace: ", ("nosuch.trace",)),
            ("has no calls that can be played", (empty,)),
            ("neither a share", (file, "--from", "1.5", "--libc")),
            ("neither a share", (file, "--to", "100000", "--libc")),
            ("no calls are between", (file, "--from", "0.5", "--to", "0.5",
                                      "--libc")),
            ("contradict", (file, "--exact", "--free-run")),
            ("--rounds \"0\"", (file, "-n", "0")),
            ("--seed \"x\"", (file, "--seed", "x")),
            ("--memory \"x\"", (file, "--memory", "x")),
            ("both want stdout", (file, "-j", "-", "--markdown")),
            ("cannot write", (file, "--page", "/nosuch/page", "--libc")),
            ("nosuch.ini", (file, "-c", "nosuch.ini")),
            ("nosuch.so", (file, "--lib", "nosuch.so"))):
        p = subprocess.run([HAKCTL, "replay", *map(str, words)], text=True,
                           capture_output=True, check=False)
        same((p.returncode, p.stdout), (2, ""))
        has(p.stderr, text)


def a_trace_that_was_cut(place):
    file = place.trace(mixed(2, 50000))
    bytes_ = file.read_bytes()
    file.write_bytes(bytes_[:len(bytes_) * 2 // 3])
    status, out, err = place.replay(file, "--check", "--libc")
    same(status, 0 if out else 2)
    has(err, "its end is missing")


def no_room(place):
    """Files, as that in memory is one, may not be large enough."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * KIB, 64 * KIB))
    status, _, err = place.replay(place.trace(mixed(1, 1000)), "--libc", "-n",
                                  1, preexec_fn=limit)
    same(status, 1)
    has(err, "cannot be held in memory: File too large")


def an_interrupt(place):
    file = place.trace(mixed(2, 20000))
    p = subprocess.Popen([HAKCTL, "replay", str(file), "--libc", "-n", "5000"],
                         text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    time.sleep(1)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=WAIT_S)
    same((p.returncode, err), (130, ""))
    has(out, "interrupted")


def a_player_by_hand(_):
    p = subprocess.run([str(PLAYER)], text=True, capture_output=True,
                       check=False, stdin=subprocess.DEVNULL)
    same(p.returncode, 2)
    has(p.stderr, "started by hakctl replay")


TESTS = [the_same_calls_in_each_order_and_run, no_more_than_what_is_asked_for,
         two_hundred_threads_and_their_blocks, threads_that_wait_for_each_other,
         batches_one_after_the_other, calls_that_cannot_be_played,
         the_clock_of_the_trace, memory_that_is_given_back_after_a_while, memory_of_known_blocks, memory_of_what_grows,
         an_empty_process_has_no_memory, the_memory_that_was_recorded,
         times_of_calls, contenders_and_verdicts, tables_of_markdown, a_page,
         blocks_that_overlap, contents_that_were_lost, a_wrong_alignment,
         a_calloc_that_is_not_zero, a_block_that_is_not_usable,
         an_allocator_without_a_fault, no_block, a_crash,
         what_failed_is_left_out, libraries_that_serve_nothing, bad_usage,
         a_trace_that_was_cut, no_room, an_interrupt, a_player_by_hand]

if __name__ == "__main__":
    sys.exit(tap.run(TESTS, Place))
