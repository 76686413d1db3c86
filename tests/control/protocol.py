"""protocol.py - the protocol of the control socket, and clients that do wrong.
"""
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time

from control import PYTHON, ROOT, Program, holds, main, same, until

REQUEST_BYTES = 4096
CLIENTS = 32


def help_lists_the_requests(folder):
    with Program(folder) as p:
        names = [r["request"] for r in p.ask("help")["ok"]]
        for name in ("help", "info", "stats", "show", "set", "route", "load",
                     "swap", "back", "drain", "trim", "learner", "profile",
                     "record"):
            holds(name, names)


def info_knows_the_process(folder):
    with Program(folder) as p:
        ok = p.ask("info")["ok"]
        same(ok["pid"], p.pid)
        same(ok["program"], os.path.basename(PYTHON))
        same(ok["socket"], str(p.path))
        same([b["name"] for b in ok["boxes"]], ["ultra", "midmt", "large"])
        same(ok["live_bytes"], sum(b["live_bytes"] for b in ok["boxes"]))
        assert ok["live_bytes"] > 1 << 20
        assert ok["rss_bytes"] > 1 << 20
        assert ok["minor_faults"] > 0
        assert abs(time.time() - ok["uptime_s"] - ok["start_time"]) < 30


def stats_is_the_report(folder):
    with Program(folder) as p:
        ok = p.ask("stats")["ok"]
        same(ok["pid"], p.pid)
        same([b["name"] for b in ok["boxes"]], ["ultra", "midmt", "large"])
        text = p.ask("stats text")["ok"]
        holds(f"({p.pid})", text.splitlines()[0])
        same(text[-1], "\n")
        holds("no form of stats", p.ask("stats tekst")["error"])


def the_longest_report_is_whole(folder):
    counting = ROOT / "build/tests/boxes/counting.so"
    if not counting.exists():
        return "build/tests/boxes is not built"
    folder.conf = folder.path / "many.ini"
    sizes = [f"C{i}" for i in range(8)] + [
        "1025-4k", "4097-8k", "8193-16k", "16385-32k", "32769-64k",
        "65537-128k", "131073-256k", "262145-"]
    folder.conf.write_text("".join(
        f"[box a_box_with_a_long_name_{i}]\npath = {counting}\n"
        for i in range(16)) + "[policy]\n" + "".join(
            f"{size} = a_box_with_a_long_name_{i}\n"
            for i, size in enumerate(sizes)))
    with Program(folder) as p:
        reply = p.ask("stats")
        same([len(b["counters"]) for b in reply["ok"]["boxes"]], [32] * 16)
        assert len(json.dumps(reply)) > 20000
        text = p.ask("stats text")["ok"]
        same(text.count("a_counter_with_a_long_name_"), 32 * 16)
        holds("262145-: a_box_with_a_long_name_15", text)
    return None


def errors_say_what_to_do(folder):
    with Program(folder) as p:
        for request, part in (
                ("", "help lists them"),
                ("   ", "help lists them"),
                ("stast", 'unknown request "stast"; help lists them'),
                ("info now", "info takes no words, not 1 word"),
                ("route C1", "route takes RANGE ROUTE, not 1 word"),
                ('set "core.x=1', "is not closed"),
                ("learner maybe", "none of on, off, observe"),
                ("set " + "a=1 " * 70, "more than 64 words"),
                ("inf\x01o", "byte 0x01 at 3"),
                ("inf\x00o", "byte 0x00 at 3")):
            holds(part, p.ask(request)["error"])
        p.lives()


def words_may_be_quoted(folder):
    with Program(folder) as p:
        same(p.ask('"info"')["ok"]["pid"], p.pid)
        same(p.ask('in"fo"\r')["ok"]["pid"], p.pid)
        holds(r'unknown request "a \"b\" c"'.replace("\\", ""),
              p.ask(r'"a \"b\" c"')["error"])


def requests_are_answered_in_order(folder):
    with Program(folder) as p:
        c = p.connect()
        c.send("info\nfoo\nstats\n\ninfo\n")
        same([next(iter(c.line())) for _ in range(5)],
             ["ok", "error", "ok", "error", "ok"])
        for byte in b"info\n":
            c.send(bytes([byte]))
        same(c.line()["ok"]["pid"], p.pid)
        c.close()


def the_last_request_needs_no_newline(folder):
    with Program(folder) as p:
        c = p.connect()
        c.send("foo\ninfo")
        c.socket.shutdown(socket.SHUT_WR)
        holds("foo", c.line()["error"])
        same(c.line()["ok"]["pid"], p.pid)
        same(c.line(), None)
        c.close()


def a_request_has_a_longest_length(folder):
    with Program(folder) as p:
        c = p.connect()
        holds("unknown request", c.ask("x" * REQUEST_BYTES)["error"])
        holds("unknown request", c.ask("x" * REQUEST_BYTES)["error"])
        holds("4096 bytes", c.ask("x" * (REQUEST_BYTES + 1))["error"])
        same(c.line(), None)
        c.close()
        p.lives()


def a_line_of_a_megabyte(folder):
    with Program(folder) as p:
        c = p.connect()
        c.send("x" * (1 << 20))
        holds("4096 bytes", c.line()["error"])
        same(c.line(), None)
        c.close()
        p.lives()


def garbage(folder):
    with Program(folder) as p:
        r = random.Random(1)
        for _ in range(20):
            c = p.connect()
            c.send(r.randbytes(64 << 10) + b"\n" * 3)
            c.socket.shutdown(socket.SHUT_WR)
            for reply in iter(c.line, None):
                same(list(reply), ["error"])
            c.close()
        c = p.connect()
        holds("unknown request", c.ask("\u00e9\u4e00")["error"])
        c.send(b"\xff\xfe\xc0\xaf\n")
        holds("unknown request", c.line()["error"])
        c.close()
        p.lives()


def two_hundred_clients(folder):
    with Program(folder) as p:
        clients = [p.connect() for _ in range(200)]
        replies = [c.ask("info") for c in clients]
        served = [r for r in replies if "ok" in r]
        refused = [r for r in replies if "error" in r]
        same(len(served), CLIENTS)
        same(len(refused), 200 - CLIENTS)
        for r in refused:
            holds("too many clients", r["error"])
        for c in clients:
            c.close()
        p.lives()


def a_client_that_stops_reading(folder):
    with Program(folder) as p:
        c = p.connect()
        c.socket.setblocking(False)
        sent = 0
        requests = b"stats\n" * 20000
        end = time.monotonic() + 2  # or until nothing more is taken
        while sent < len(requests) and time.monotonic() < end:
            try:
                sent += c.socket.send(requests[sent:])
            except BlockingIOError:
                time.sleep(0.05)
        for _ in range(10):
            p.lives()
        whole = sent // len(b"stats\n")
        assert whole > 100
        c.socket.settimeout(60)
        for _ in range(100):
            same(c.line()["ok"]["pid"], p.pid)
        c.close()
        p.lives()


def a_client_that_never_reads_is_let_go(folder):
    with Program(folder) as p:
        c = p.connect()
        c.socket.setblocking(False)
        try:
            while True:
                c.socket.send(b"stats\n" * 1000)
        except BlockingIOError:
            pass
        # Nothing is waited for but the end of the connection.
        gone = select.poll()
        gone.register(c.socket, 0)
        end = time.monotonic() + 300
        while not any(e & select.POLLHUP for _, e in gone.poll(1000)):
            assert time.monotonic() < end
        c.close()
        p.lives()


def clients_that_go_away(folder):
    with Program(folder) as p:
        for i in range(300):
            c = p.connect()
            c.send(("stats\n" * (i % 7)) + "sta")
            c.close()
        p.lives()


def hakctl_of_a_process_that_dies(folder):
    p = Program(folder)
    c = p.connect()
    c.ask("info")
    p.kill()
    same(c.line(), None)
    c.close()
    status, out, err = folder.hakctl("stats", p.pid)
    same((status, out), (1, ""))
    holds("nobody listens at", err)
    folder.hakctl("ps")
    assert not p.path.exists()
    status, out, err = folder.hakctl("stats", p.pid)
    same((status, out), (1, ""))
    holds(f"there is no process {p.pid}", err)


def hakctl_of_a_process_that_is_stopped(folder):
    with Program(folder) as p:
        p.process.send_signal(signal.SIGSTOP)
        try:
            until(lambda: set(p.states().values()) == {"T"}, "the stop")
            folder.wait_s = 1
            status, _, err = folder.hakctl("stats", p.pid)
            same(status, 1)
            holds("is it stopped?", err)
        finally:
            p.process.send_signal(signal.SIGCONT)
        p.lives()


def socat_speaks_it(folder):
    with Program(folder) as p:
        try:
            out = subprocess.run(
                ["socat", "-t", "60", "-", f"UNIX-CONNECT:{p.path}"],
                input="info\n", text=True, capture_output=True, timeout=120,
                check=True).stdout
        except FileNotFoundError:
            return "no socat"
        holds(f'"pid":{p.pid}', out)
    return None


def the_thread_sleeps_while_nobody_asks(folder):
    with Program(folder) as p:
        c = p.connect()
        c.ask("info")
        task, = [t for t, name in p.threads().items() if name == "hakmem"]

        def switches():
            with open(f"/proc/{p.pid}/task/{task}/status") as f:
                return [line for line in f if "ctxt_switches" in line]

        until(lambda: p.states()[task] == "S", "sleep")
        before = switches()
        time.sleep(1)
        same(switches(), before)
        c.close()


if __name__ == "__main__":
    sys.exit(main([
        help_lists_the_requests, info_knows_the_process, stats_is_the_report,
        the_longest_report_is_whole,
        errors_say_what_to_do, words_may_be_quoted,
        requests_are_answered_in_order, the_last_request_needs_no_newline,
        a_request_has_a_longest_length, a_line_of_a_megabyte, garbage,
        two_hundred_clients, a_client_that_stops_reading,
        a_client_that_never_reads_is_let_go, clients_that_go_away,
        hakctl_of_a_process_that_dies, hakctl_of_a_process_that_is_stopped,
        socat_speaks_it, the_thread_sleeps_while_nobody_asks]))
