#!/bin/sh
# test_hakctl.sh - the commands of hakctl that ask and change processes.
command -v python3 >/dev/null || {
    echo '1..0 # SKIP no python3'
    exit
}
exec python3 tests/control/hakctl.py
