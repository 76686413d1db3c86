"""tap.py - runs test functions of Python, and says how they went as TAP."""
import signal
import sys
import traceback


def run(tests, make):
    """Run each function of a list with what make() returns, whose remove() is
    called at last. A function returns why it is skipped, or None. Returns 1 if
    one failed, else 0."""
    failed = 0
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for n, test in enumerate(tests, 1):
        place = make()
        name = test.__name__.replace("_", " ")
        try:
            skipped = test(place)
            print(f"ok {n} - {name}" + (f" # SKIP {skipped}" if skipped else ""))
        except Exception:
            failed = 1
            print(f"not ok {n} - {name}")
            print("# " + traceback.format_exc().replace("\n", "\n# "))
        finally:
            place.remove()
        sys.stdout.flush()
    print(f"1..{len(tests)}")
    return failed
