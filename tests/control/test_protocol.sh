#!/bin/sh
# test_protocol.sh - the protocol of the control socket, and clients that do wrong.
command -v python3 >/dev/null || {
    echo '1..0 # SKIP no python3'
    exit
}
exec python3 tests/control/protocol.py
