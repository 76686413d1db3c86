"""marks.py - the marks that `make bench` is to reach, compared with a run."""
import re

from harness import geomean, markdown

BASE = "hakmem"


def over_peer(row, name, what="time"):
    """hakmem's figure over the peer's; below 1, hakmem takes less."""
    ratio = row.ratio(name, BASE, what)
    return None if ratio is None else 1 / max(ratio, 1e-9)


def over_fastest(row, names):
    """hakmem's time over that of the row's fastest peer, and this peer."""
    times = [(t, n) for n in names if (t := over_peer(row, n)) is not None]
    return max(times) if times else None


def mean_over(rows, name, what="time"):
    return geomean(over_peer(row, name, what) for row in rows)


def named(rows, *names):
    by_name = {row.name: row for row in rows}
    found = [by_name.get(n) for n in names]
    return found if all(r and r.took_part(BASE) for r in found) else None


def time_marks(rows, names):
    means = [(m, n) for n in names if (m := mean_over(rows, n)) is not None]
    worst = {row.name: over for row in rows
             if (over := over_fastest(row, names))}
    if not means or not worst:
        return
    best, name = max(means)
    yield ("time, mean of all rows, over that of the best peer", 0.88,
           best, name)
    yield ("time, mean over each row's own fastest peer", None,
           geomean(t for t, _ in worst.values()), "")
    slow = sorted(((t, n, row) for row, (t, n) in worst.items() if t > 1.05),
                  reverse=True)
    yield (f"rows slower than 1.05 x their fastest peer, of {len(worst)}", 0,
           len(slow), "; ".join(f"{row}: {t:.2f} ({n})"
                                for t, n, row in slow[:3]))
    pairs = [over for row, over in worst.items()
             if re.match(r"pair, (16 B|64 B|256 B|1 KiB),", row)]
    if pairs:
        yield ("pairs of 16..1024 B over the fastest peer, mean", 0.90,
               geomean(t for t, _ in pairs), f"worst {max(pairs)[0]:.2f}")


def memory_marks(rows):
    for name, most in (("jemalloc", 0.95), ("glibc", 1.10)):
        mean = mean_over(rows, name, "rss_bytes")
        if mean is not None:
            yield (f"peak RSS, mean over {name}'s", most, mean, "")
    over = sorted(((r, row.name) for row in rows if (
        r := over_peer(row, "jemalloc", "rss_bytes")) is not None
        and r > 1.15), reverse=True)
    yield ("rows of more than 1.15 x jemalloc's peak RSS", 0, len(over),
           "; ".join(f"{name}: {r:.2f}" for r, name in over[:3]))


def start_marks(rows):
    found = named(rows, "true")
    if found and found[0].took_part("jemalloc"):
        for what, title in (("time", "time"), ("rss_bytes", "RSS")):
            yield (f"{title} of `true` over jemalloc's", 1.0,
                   over_peer(found[0], "jemalloc", what), "")


def thread_marks(rows):
    server = "server, blocks handed on, "
    found = named(rows, server + "1 thread", server + "2 threads",
                  server + "8 threads")
    if found:
        one, two, eight = (row.time_ns(BASE) for row in found)
        yield ("time of 2 threads over that of 1, server", 1 / 1.9,
               two / one, "")
        yield ("time of 8 threads over that of 2, server", 1 / 0.9,
               eight / two, "")


def table(rows, names):
    """The marks as Markdown; "" if the rows have none of their figures."""
    lines = []
    for what, most, value, note in (*time_marks(rows, names),
                                    *memory_marks(rows), *start_marks(rows),
                                    *thread_marks(rows)):
        count = isinstance(value, int)
        asked = "" if most is None else f"{most}" if count else f"{most:.2f}"
        reached = f"{value}" if count else f"{value:.2f}"
        if most is not None and value > most:
            reached = f"**{reached}**"
        lines.append([what, asked, reached, note])
    if not lines:
        return ""
    return ("hakmem over others: below 1, hakmem takes less. Bold: not "
            "reached.\n\n" + markdown(["", "at most", "this run", ""], lines))
