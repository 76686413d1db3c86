#!/bin/sh
# test_processes.sh - the control socket over the life of a process.
command -v python3 >/dev/null || {
    echo '1..0 # SKIP no python3'
    exit
}
exec python3 tests/control/processes.py
