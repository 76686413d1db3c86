#!/bin/sh
# test_swaps.sh - swaps of boxes under redis, postgres and threads.
command -v python3 >/dev/null || {
    echo '1..0 # SKIP no python3'
    exit
}
exec python3 tests/control/swaps.py
