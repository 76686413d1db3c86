"""timeline.py - [stats] timeline of real processes: what memory does over time
is in the file, at any moment, and nothing that happens to the file harms the
program.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "control"))
# pylint: disable=wrong-import-position
from control import HAKCTL, PYTHON, ROOT, Program, holds, main, same, \
    until  # noqa: E402

MIB = 1 << 20
EVERY_MS = 20
BOXES = ROOT / "build/boxes"


def set_environment(folder, **more):
    """Let the programs of a folder have these variables."""
    plain = folder.environment
    folder.environment = lambda control="auto", **rest: plain(
        control, **more, **rest)


class Timed(Program):
    """A program with a timeline."""

    def __init__(self, folder, name="t.timeline", every_ms=EVERY_MS, **more):
        self.file = folder.path / name
        set_environment(folder, HAKMEM_STATS_TIMELINE=str(self.file),
                        HAKMEM_STATS_EVERY_MS=str(every_ms))
        super().__init__(folder, **more)

    def lines(self):
        return read(self.file)

    def points(self):
        return points(self.lines())

    def next_point(self):
        """A point that begins after this call."""
        t = max((p["t"] for p in self.points()), default=0)
        until(lambda: len([p for p in self.points() if p["t"] > t]) > 1,
              "two points more")
        return self.points()[-1]

    def event(self, kind):
        """The text of the last event of a kind, when there is one."""
        texts = [e["text"] for e in self.lines() if e.get("event") == kind]
        return texts[-1] if texts else None


def read(path):
    """The lines of a file, without one that is being written. Each is JSON, the
    first is the header, and they are in order."""
    text = path.read_text() if path.exists() else ""
    lines = [json.loads(line) for line in text.split("\n")[:-1]]
    if lines:
        same(lines[0]["hakmem_timeline"], 1)
    times = [line["t"] for line in lines if "t" in line]
    same(times, sorted(times))
    return lines


def points(lines):
    return [line for line in lines if "span_ms" in line]


def total(point, key):
    return sum(box[key] for box in point["boxes"])


def is_plausible(point):
    """Do the figures of a program at rest fit together?"""
    window = point["window"]
    live, mapped = total(point, "live"), total(point, "mapped")
    cached = total(point, "cached")
    if not live <= mapped - cached + MIB <= mapped + MIB:
        raise AssertionError(f"live {live}, mapped {mapped}, cached {cached}")
    if not abs(mapped - window["used"]) <= mapped // 8 + MIB:
        raise AssertionError(f"boxes have {mapped}: {window}")
    if not (window["dirty"] <= window["free"] and
            point["file"] < point["rss"]):
        raise AssertionError(point)
    resident = window.get("resident", 0)
    if resident > min(point["rss"], window["used"] + window["free"]):
        raise AssertionError(point)


# ---- figures ---------------------------------------------------------------------


def growth_is_seen_and_what_goes_back(folder):
    with Timed(folder) as p:
        before = p.next_point()
        p.run("b = [bytes(5000) for _ in range(10000)]")
        high = p.next_point()
        if total(high, "live") - total(before, "live") < 40 * MIB or \
                total(high, "mapped") < total(high, "live") or \
                high["rss"] - before["rss"] < 40 * MIB:
            raise AssertionError((before, high))
        p.run("del b")
        until(lambda: total(p.points()[-1], "live") <
              total(high, "live") - 40 * MIB, "less is live")
        p.ask("trim")
        until(lambda: p.points()[-1]["rss"] < high["rss"] - 20 * MIB,
              "memory went back")
        if sum(q["purged"] for q in p.points()) < 20 * MIB:
            raise AssertionError("little was purged")
        if sum(q["minflt"] for q in p.points()) < 40 * MIB // 4096:
            raise AssertionError("few faults")
        p.next_point()
        is_plausible(p.points()[-1])


def the_figures_are_those_of_the_report(folder):
    with Timed(folder) as p:
        until(lambda: any("classes" in b for q in p.points()
                          for b in q["boxes"]), "classes")
        p.end()
        last, header = p.points()[-1], p.lines()[0]
        same(p.lines()[-1], {"t": last["t"], "end": "exit"})
        is_plausible(last)
        holds("midmt", header["boxes"])
        for box in last["boxes"]:
            classes = box.get("classes", [])
            if classes:
                same(sum(c[1] for c in classes), box["live_count"])
                same(sum(c[2] for c in classes), box["live"])
        same([any(b.get("classes") for b in last["boxes"]),
              "resident" in last["window"]], [True, True])


def the_sums_of_changes_are_what_was_counted(folder):
    with Timed(folder) as p:
        p.next_point()
        before = {b["name"]: b["allocs"] for b in p.ask("stats")["ok"]["boxes"]}
        since = p.next_point()["t"]
        p.run("churn()")
        p.run("churn()")
        p.next_point()
        after = {b["name"]: b["allocs"] for b in p.ask("stats")["ok"]["boxes"]}
        names = p.lines()[0]["boxes"]
        for i, name in enumerate(names):
            seen = sum(q["boxes"][i]["allocs"] for q in p.points())
            late = sum(q["boxes"][i]["allocs"] for q in p.points()
                       if q["t"] > since)
            if not seen <= after[name] or \
                    late > after[name] - before[name] + 1000:
                raise AssertionError((name, seen, late, before, after))
        if not any(q["boxes"][0]["allocs"] > 10000 for q in p.points()):
            raise AssertionError("churn was not seen")


def spans_cover_the_time(folder):
    with Timed(folder) as p:
        p.next_point()
        p.next_point()
        at = 0
        for q in p.points():
            at += q["span_ms"]
            same(q["t"], at)
        start = p.lines()[0]["start_unix_ms"] / 1000
        if not abs(start + at / 1000 - time.time()) < 60:
            raise AssertionError((start, at, time.time()))


def names_and_arguments_are_json(folder):
    name = 'py "thon"\\ \xe9'.encode() + b"\xff\x01"
    with Timed(folder) as p:
        until(lambda: p.lines(), "the header")
        header = p.lines()[0]
        same(header["pid"], p.pid)
        same(header["program"], os.path.realpath(PYTHON))
        same(header["every_ms"], EVERY_MS)
    script = "import time; b = [bytes(n) for n in range(9999)]"
    file = folder.path / "u.timeline"
    subprocess.run([name, b"-c", script, b'a "b"\n\xfe'], executable=PYTHON,
                   env={**folder.environment(None),
                        "HAKMEM_STATS_TIMELINE": str(file)}, check=True)
    same(read(file)[0]["args"],
         f'py "thon"\\ \xe9\ufffd\x01 -c {script} a "b"\n\ufffd')


def jq_reads_it_while_it_is_written(folder):
    if shutil.which("jq") is None:
        return "no jq"
    with Timed(folder, every_ms=10) as p:
        for _ in range(20):
            p.run("churn()")
            subprocess.run(["jq", "-c", "."], stdin=p.file.open(), check=True,
                           stdout=subprocess.DEVNULL)
    return None


# ---- events ----------------------------------------------------------------------


def changes_are_events(folder):
    with Timed(folder) as p:
        ultra = BOXES / "ultra.so"
        for request, kind, text in (
                ("route C4-C5 midmt", "route", "C4-C5 -> midmt"),
                ("set purge_delay_ms=7", "set", "[core] purge_delay_ms = 7"),
                (f"load two={ultra}", "load", f"two ({ultra})"),
                ("swap ultra two", "swap", "ultra -> two"),
                ("back ultra", "back", "ultra"),
                ("drain midmt", "drain", "midmt"),
                (f"load three={ultra}", "load", f"three ({ultra})"),
                ("drain three", "closed", "three")):
            reply = p.ask(request)
            if "ok" not in reply:
                raise AssertionError(reply)
            until(lambda k=kind, t=text: p.event(k) == t, text)
        p.ask("trim")
        until(lambda: p.event("trim"), "a trim")
        holds(" bytes", p.event("trim"))
        same([line["box"] for line in p.lines() if "box" in line],
             ["two", "three"])
        same(len(p.points()[-1]["boxes"]), len(p.lines()[0]["boxes"]) + 2)


def decisions_of_the_learner_are_events(folder):
    set_environment(folder, HAKMEM_LEARNER_MODE="apply",
                    HAKMEM_LEARNER_EVERY="16", HAKMEM_LEARNER_SETTLE="1")
    folder.conf = ROOT / "tests/lib/learner.ini"
    with Timed(folder) as p:
        for _ in range(400):
            p.run("churn(); x = [bytes(200 + i % 700) for i in range(20000)]; "
                  "del x")
            if p.event("learner"):
                break
        if p.event("learner") is None:
            return "the learner has decided nothing"
        holds(" -> ", p.event("learner"))
    return None


def the_period_is_changed_while_it_runs(folder):
    with Timed(folder, every_ms=3600000) as p:
        until(lambda: p.lines(), "the header")
        same(p.points(), [])
        same(folder.hakctl("set", p.pid, "stats.every_ms=20")[0], 0)
        p.next_point()
        same(p.event("set"), "[stats] every_ms = 20")
        status, _, said = folder.hakctl("set", p.pid, "stats.every_ms=1")
        same(status, 1)
        holds("out of bounds: 10 to 3600000", said)


def it_is_begun_and_ended_while_the_program_runs(folder):
    one, two = folder.path / "one.timeline", folder.path / "two.timeline"
    set_environment(folder, HAKMEM_STATS_EVERY_MS=str(EVERY_MS))
    with Program(folder) as p:
        for file in (one, two):
            same(folder.hakctl("set", p.pid, f"stats.timeline={file}")[0], 0)
            until(lambda f=file: p.run("churn()") == [] and points(read(f)),
                  file)
        same(read(one)[-1].get("end"), "exit")
        same(folder.hakctl("set", p.pid, "stats.timeline=none")[0], 0)
        until(lambda: read(two)[-1].get("end") == "exit", "the end")
        p.lives()


# ---- processes -------------------------------------------------------------------


def a_child_has_its_own_file(folder):
    with Timed(folder) as p:
        p.next_point()
        child, = p.run("""
pid = os.fork()
if pid == 0:
    import time
    churn()
    time.sleep(1)
    sys.exit(0)
say(pid)
os.waitpid(pid, 0)
""")
        file = folder.path / f"t.{child}.timeline"
        lines = read(file)
        same(lines[0]["pid"], int(child))
        same(lines[-1].get("end"), "exit")
        if len(points(lines)) < 2:
            raise AssertionError(lines)
        p.next_point()
        same(p.lines()[0]["pid"], p.pid)


def forks_beside_events_and_points(folder):
    with Timed(folder, every_ms=10) as p:
        p.run("""
import threading
def fork_many():
    for _ in range(100):
        pid = os.fork()
        if pid == 0:
            churn()
            os._exit(0)
        if os.waitpid(pid, 0)[1] != 0:
            os.abort()
forks = threading.Thread(target=fork_many)
forks.start()
""")
        for i in range(150):
            p.ask(f"route C{i % 8} {('midmt', 'ultra')[i % 2]}")
        p.run("forks.join()")
        until(lambda: sum(
            int(e["text"].split()[0]) if e["event"] == "dropped" else 1
            for e in p.lines() if "event" in e) == 150, "150 events")
        p.lives()


def a_program_that_it_starts_has_its_own_file(folder):
    with Timed(folder) as p:
        p.next_point()
        p.run(f"import subprocess; subprocess.run([{PYTHON!r}, '-c', "
              "'x = [bytes(n) for n in range(9999)]'], check=True)")
        p.next_point()
        same(p.lines()[0]["pid"], p.pid)
        others = [f for f in folder.path.glob("t.*.timeline")]
        same(len(others), 1)
        same(others[0].name, f"t.{read(others[0])[0]['pid']}.timeline")


def the_process_id_is_in_the_name(folder):
    with Timed(folder, name="%p.timeline") as p:
        file = folder.path / f"{p.pid}.timeline"
        until(lambda: points(read(file)), file)


def a_killed_program_leaves_whole_lines(folder):
    p = Timed(folder, every_ms=10)
    p.run("churn()")
    p.next_point()
    p.kill()
    read(p.file)
    same("end" in p.lines()[-1], False)
    same(p.file.read_text()[-1], "\n")


def it_goes_on_when_all_descriptors_are_closed(folder):
    with Timed(folder) as p:
        p.next_point()
        p.run("os.closerange(5, 3000)")
        before = len(p.points())
        p.run("churn()")
        until(lambda: len(p.points()) > before + 2, "points")
        fds = {os.readlink(f) for f in
               pathlib.Path(f"/proc/{p.pid}/fd").iterdir()}
        same(str(p.file) in fds, False)


def relative_names_are_of_the_start(folder):
    for name in ("a", "b"):
        (folder.path / name).mkdir()
    file = folder.path / "a/t.timeline"
    env = folder.environment(None, HAKMEM_STATS_TIMELINE="t.timeline",
                             HAKMEM_STATS_EVERY_MS="10")
    subprocess.run([PYTHON, "-c", "import os, time; os.chdir('../b'); "
                    "x = [bytes(n) for n in range(9999)]; time.sleep(0.1)"],
                   cwd=folder.path / "a", env=env, check=True)
    same(read(file)[-1].get("end"), "exit")


# ---- trouble ---------------------------------------------------------------------


def run_with(folder, file, **more):
    """Run a program with that timeline; its stderr."""
    env = folder.environment(None, HAKMEM_STATS_TIMELINE=str(file),
                             HAKMEM_STATS_EVERY_MS="10")
    p = subprocess.run([PYTHON, "-c", "import time; "
                        "x = [bytes(n) for n in range(9999)]; time.sleep(0.5); "
                        "print(len(x))"],
                       env=env, capture_output=True, text=True, check=False,
                       **more)
    same((p.returncode, p.stdout), (0, "9999\n"))
    return p.stderr


def a_folder_that_is_not_there_is_one_line(folder):
    file = folder.path / "nowhere/t.timeline"
    same(run_with(folder, file),
         f"hakmem: [stats] timeline: {file} cannot be opened: No such file or "
         "directory; it is tried again each period\n")


def a_file_of_another_kind_is_left_alone(folder):
    file = folder.path / "precious"
    file.write_text("precious\n")
    said = run_with(folder, file)
    same(said.count("\n"), 1)
    holds(f"{file} cannot be opened: exists and is no timeline", said)
    same(file.read_text(), "precious\n")
    holds("/dev/full cannot be opened: is no regular file",
          run_with(folder, "/dev/full"))


def a_full_disk_does_no_harm(folder):
    """A limit of file sizes also sends SIGXFSZ, which would end the program."""
    file = folder.path / "t.timeline"
    said = run_with(folder, file, preexec_fn=lambda: limit_files(8192))
    same(said,
         f"hakmem: [stats] timeline: {file} cannot be written: File too large; "
         "it is tried again each period\n")
    if not points(read(file)) or file.stat().st_size > 8192:
        raise AssertionError(file.read_text())
    same(file.read_text()[-1], "\n")


def limit_files(size):
    import resource # pylint: disable=import-outside-toplevel
    import signal # pylint: disable=import-outside-toplevel
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# ---- hakctl ----------------------------------------------------------------------


def hakctl_run_makes_one(folder):
    def run(*words):
        p = subprocess.run([HAKCTL, "run", *words], cwd=folder.path, text=True,
                           capture_output=True, check=False)
        return p.returncode, p.stderr
    said = run("--timeline", "--", PYTHON, "-c", "pass")
    file, = folder.path.glob("hakmem.*.timeline")
    same(said, (0, f"hakctl: memory over time: {file}\n"))
    same(file.name, f"hakmem.{read(file)[0]['pid']}.timeline")
    same(run("--timeline=x", "--", PYTHON, "-c", "pass"),
         (0, f"hakctl: memory over time: {folder.path / 'x'}\n"))
    same(read(folder.path / "x")[-1].get("end"), "exit")
    same(run("--timeline=", "--", "true"),
         (2, "hakctl: run: --timeline=FILE needs the name of a file\n"))
    status, said = run("--timeline", "-f", "/nowhere", "--", "true")
    same(status, 2)
    holds("--fused takes no --timeline", said)


def without_the_key_there_is_neither_thread_nor_module(folder):
    with Program(folder, control=None) as p:
        same(len(p.threads()), 1)
        same("timeline.so" in
             pathlib.Path(f"/proc/{p.pid}/maps").read_text(), False)


sys.exit(main([
    growth_is_seen_and_what_goes_back,
    the_figures_are_those_of_the_report,
    the_sums_of_changes_are_what_was_counted,
    spans_cover_the_time,
    names_and_arguments_are_json,
    jq_reads_it_while_it_is_written,
    changes_are_events,
    decisions_of_the_learner_are_events,
    the_period_is_changed_while_it_runs,
    it_is_begun_and_ended_while_the_program_runs,
    a_child_has_its_own_file,
    forks_beside_events_and_points,
    a_program_that_it_starts_has_its_own_file,
    the_process_id_is_in_the_name,
    a_killed_program_leaves_whole_lines,
    it_goes_on_when_all_descriptors_are_closed,
    relative_names_are_of_the_start,
    a_folder_that_is_not_there_is_one_line,
    a_file_of_another_kind_is_left_alone,
    a_full_disk_does_no_harm,
    hakctl_run_makes_one,
    without_the_key_there_is_neither_thread_nor_module,
]))
