#!/bin/sh
# test_profiles.sh - heap profiles of real processes, by the socket.
command -v python3 >/dev/null || {
    echo '1..0 # SKIP no python3'
    exit
}
exec python3 tests/control/profiles.py
