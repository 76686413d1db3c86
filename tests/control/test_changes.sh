#!/bin/sh
# test_changes.sh - changes of real processes by hakctl.
command -v python3 >/dev/null || {
    echo '1..0 # SKIP no python3'
    exit
}
exec python3 tests/control/changes.py
