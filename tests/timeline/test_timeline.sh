#!/bin/sh
# test_timeline.sh - [stats] timeline of real processes: memory over time.
command -v python3 >/dev/null || {
    echo '1..0 # SKIP no python3'
    exit
}
exec python3 tests/timeline/timeline.py
