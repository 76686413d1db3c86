# shellcheck shell=sh
# monitor.sh - sourced by test_top.sh and test_exporter.sh, from the repository
# root: programs with a control socket to look at. They end with the test.
set -u
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD LD_LIBRARY_PATH
export LC_ALL=C
tmp=$(mktemp -d) || exit 1
# shellcheck disable=SC2034 # for result.sh
said=$tmp/why
ctl=build/hakctl
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

# Sockets of this test alone. Those of other processes of the user may be
# listed too.
XDG_RUNTIME_DIR=$tmp/run
export XDG_RUNTIME_DIR
mkdir -m 700 "$XDG_RUNTIME_DIR"

pids=
end_all()
{
    for pid in $pids; do
        kill -CONT "$pid" 2>/dev/null
        kill -KILL "$pid" 2>/dev/null
    done
    rm -rf "$tmp"
}
trap end_all EXIT

# A program that allocates all the time and has 40 MB of live blocks.
cat >"$tmp/busy.py" <<'EOF'
import time
keep = [b'x' * 400000 for _ in range(100)]
while True:
    keep[0] = [b'y' * size for size in (40, 300, 900, 5000, 70000) * 20]
    time.sleep(0.005)
EOF

# within SECONDS COMMAND...: until it succeeds
within()
{
    tries=$(($1 * 10))
    shift
    until "$@"; do
        [ $tries -gt 0 ] || return 1
        tries=$((tries - 1))
        sleep 0.1
    done
}

# Starts the program; its process is then $pid.
# It answers, and its memory is there. (jq 1.6 finds no fault in no input.)
answers()
{
    "$ctl" stats "$1" --json >"$tmp/stats" 2>/dev/null && [ -s "$tmp/stats" ] &&
        jq -e '[.boxes[].live_bytes] | add > 40000000' "$tmp/stats" >/dev/null
}
start_busy()
{
    "$ctl" run --control -- python3 "$tmp/busy.py" &
    pid=$!
    pids="$pids $pid"
    within 60 answers "$pid"
}
