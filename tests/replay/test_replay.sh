#!/bin/sh
# test_replay.sh - hakctl replay: what is played, what is measured, and what is
# found.
command -v python3 >/dev/null || {
    echo '1..0 # SKIP no python3'
    exit
}
exec python3 tests/replay/replay.py
