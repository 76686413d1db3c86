#!/bin/sh
# test_top.sh - hakctl top: one table for scripts, JSON, and the screen in a
# real terminal (tmux). TAP.
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/hakctl/monitor.sh
. tests/hakctl/monitor.sh

start_busy
result $? 'a program runs and answers'
busy=$pid

# ---- once ------------------------------------------------------------------

"$ctl" top --once --interval 0.3 >"$said" 2>&1 &&
    grep -q '^    PID PROGRAM .*ALLOC/S.*MAPPED' "$said" &&
    awk -v pid="$busy" '$1 == pid && $2 ~ /^python3/ && $3 != "0" { n++ }
        END { exit n != 1 }' "$said"
result $? 'top --once: a line for the process, with its rate'

"$ctl" top "$busy" --once --interval 0.3 >"$said" 2>&1 &&
    grep -q '^BOX CLASS .*REMOTE/S' "$said" && grep -q '^large ' "$said" &&
    awk '$1 == "ultra" && $2 == 944 && $3 != "0" { n++ }
        END { exit n != 1 }' "$said"
result $? 'top PID --once: its boxes and classes'

"$ctl" top "$busy" --once --interval 0.3 --sort name >"$tmp/out" 2>"$said" &&
    awk 'NR > 1 { print $1, (NF > 10 ? $2 : 0) }' "$tmp/out" >"$tmp/names" &&
    grep ' 0$' "$tmp/names" | sort -c 2>>"$said" && [ -s "$tmp/names" ]
result $? 'top --sort name sorts'

"$ctl" top "$busy" --json --interval 0.3 >"$tmp/out" 2>"$said" &&
    jq -e '.[0] | .state == "answered" and .program == "python3"
        and .pid == '"$busy"' and .live_bytes > 40000000
        and .fragmentation >= 1 and .allocs_per_s > 0 and .rss_bytes > 0
        and (.boxes | map(.box) | contains(["large"]))
        and all(.boxes[].classes[]; .mapped_bytes >= .live_bytes)' \
        "$tmp/out" >"$said"
result $? 'top PID --json: figures and rates'

# What the boxes say of themselves is what their classes add up to; a class
# lags behind, as far as the program runs on meanwhile.
jq -e '.[0].boxes[] | select(.box == "large")
    | .live_bytes == ([.classes[].live_bytes] | add)' "$tmp/out" >"$said"
result $? 'the classes of a box add up'

refused() # NAME STATUS MESSAGE WORDS...
{
    name=$1 want=$2 message=$3
    shift 3
    "$ctl" top "$@" </dev/null >"$said" 2>&1
    [ $? = "$want" ] && grep -qF -e "$message" "$said"
    result $? "$name"
}
refused 'a key that is none' 2 'top: --sort weight is none of: name,' \
    --sort weight
refused 'an interval that is none' 2 'from 0.1 to 3600' --interval 0
refused 'two processes' 2 'one process or none' 1 2
refused 'no such process' 1 'there is no process 2147483646' 2147483646
refused 'a process without a socket' 1 'has no control socket' $$
refused 'no terminal' 2 'this is no terminal; --once prints one table'

# ---- the screen --------------------------------------------------------------

if ! command -v tmux >/dev/null; then
    skip 'top in a terminal' 'tmux is not installed'
    finish
    exit
fi

tmux() { command tmux -S "$tmp/tmux" -f /dev/null "$@" 2>>"$tmp/tmux.err"; }
shows() # PATTERN
{
    tmux capture-pane -p -t top >"$said"
    grep -q -e "$1" "$said"
}
key() { tmux send-keys -t top "$@"; }

command=$(printf '%s top; echo status $?; stty -a; exec sh' "$ctl")
tmux new-session -d -x 80 -y 24 -s top "$command"
within 60 shows "^ *$busy python3 .*[0-9.]"
result $? 'all processes in 80x24'
[ "$(awk 'length > 80' "$said" | wc -l)" = 0 ] &&
    sed -n 24p "$said" | grep -q '^q quit  Enter look in  by: Name Alloc .*fraG'
result $? 'no line is too long, and the last one lists the keys'
shows '>MAPPED' && ! shows REFILL/S
result $? 'sorted by what is mapped; few columns'
key r
within 60 shows '>RSS'
result $? 'a key sorts by another column'

# More processes may be listed: search for ours.
seek()
{
    shows 'q quit  Esc' || key Enter
    sleep 0.3
    shows "^$busy python3" && return
    key Escape
    sleep 0.2
    key Down
    return 1
}
within 60 seek
result $? 'Enter looks into the process under the cursor'
within 60 shows '^large  *[0-9]' && shows '^  [a-z]* [0-9]' &&
    [ "$(awk 'length > 80' "$said" | wc -l)" = 0 ]
result $? 'boxes and classes in 80x24'
key c
hidden() { ! shows '^  [a-z]* [0-9]' && shows '^large '; }
within 60 hidden
result $? 'c hides the classes'
tmux resize-window -t top -x 120 -y 40
within 60 shows 'BLOCKS .*CACHED .*FRAG' && sed -n 40p "$said" | grep -q '^q quit'
result $? 'a larger terminal shows more columns'

kill -STOP "$busy"
within 60 shows 'has not answered for'
result $? 'a process that hangs is shown as such'
kill -CONT "$busy"
within 60 shows "^$busy python3, default.ini, up"
result $? 'and comes back'
kill -KILL "$busy"
within 60 shows "^$busy python3 \[ended\]" && shows '^large '
result $? 'a process that ends is shown as ended, with its last figures'
key Escape
within 60 shows "^ *$busy python3 *\[ended\]"
result $? 'also among all processes'
key q
within 60 shows '^status 0' && shows ' icanon' && shows ' echo '
result $? 'q ends it, and the terminal is as before'

tmux kill-server
start_busy
tmux new-session -d -x 40 -y 8 -s top "$command"
within 60 shows 'PID' && within 60 shows '^q quit'
result $? 'a terminal of 40x8 does not break it'
key C-c
within 60 shows ' icanon'
result $? 'Ctrl-C ends it, and the terminal is as before'
TERM=no-such-terminal
export TERM
tmux kill-server
# script(1) gives it a terminal, of a type that nobody knows.
script -qec "$ctl top" /dev/null </dev/null >"$said" 2>&1
grep -q 'no terminal TERM=no-such-terminal is known; --once' "$said"
result $? 'an unknown terminal is named'
finish
