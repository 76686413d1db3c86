#!/bin/sh
# test_pressure.sh - [core] on_pressure: what a program kept goes back.
command -v python3 >/dev/null || {
    echo '1..0 # SKIP no python3'
    exit
}
exec python3 tests/pressure/pressure.py
