#!/bin/sh
# test_record.sh - hakctl record of real programs.
command -v python3 >/dev/null || {
    echo '1..0 # SKIP no python3'
    exit
}
exec python3 tests/record/record.py
