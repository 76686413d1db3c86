#!/bin/sh
# test_tune.sh - hakctl tune: what it refuses, what it writes, how it goes on.
# TAP. What is judged is never a time: memory alone counts here.
set -u
# shellcheck source=tests/hakctl/lib.sh
. tests/hakctl/lib.sh
ctl=$top/build/hakctl
cd "$tmp" || exit 1
mkdir folders
export TMPDIR="$tmp/folders"
tune() { try "$ctl" tune "$@"; }

# BLOCKS SIZE STEP: a log of mtrace, in which blocks of SIZE, SIZE + STEP ... are
# made, and freed once there are 4000.
log() {
    awk -v n="$1" -v size="$2" -v step="$3" 'BEGIN {
        print "= Start"
        for (i = 0; i < n; i++) {
            if (i >= 4000)
                printf "@ a:[0x1] - 0x%x\n", (i - 4000) * 4096 + 4096
            printf "@ a:[0x1] + 0x%x 0x%x\n", i * 4096 + 4096,
                size + i % 8 * step
        }
        print "= End"
    }'
}
log 12000 16 14 >small.log
log 3 32 0 >few.log
log 4000 64 16 >still.log

# All small blocks get slots of 256 bytes and more.
cat >wasteful.ini <<'END'
[box smallmid]
[box midmt]
[box large]
[policy]
C0-C7 = smallmid    ; too large
1025-256k = midmt
262145- = large
END

# ---- usage -------------------------------------------------------------------

tune
says 'no trace' 2 err <<'END'
hakctl: tune: it takes from one to 64 traces, as in hakctl tune redis.trace; hakctl record makes them
END
tune few.log --weight time
says 'a weight without a number' 2 err <<'END'
hakctl: tune: --weight "time" is no list of weights as in time=1,rss=0.5
END
tune few.log --weight time=0
holds 'no weight at all' 2 err 'is no list of weights'
tune few.log --weight time=1,size=2
holds 'a weight of something else' 2 err 'is no list of weights'
tune few.log --budget 10d
says 'a budget that is no time' 2 err <<'END'
hakctl: tune: --budget "10d" is no time of a second or more, as in 90s, 10m, 1h
END
tune few.log --trace-weight 1,2
says 'weights of more traces than there are' 2 err <<'END'
hakctl: tune: --trace-weight has 2 numbers, but there are 1 traces
END
tune few.log --loss -1
holds 'a loss below 0' 2 err '"-1" is no number of percent'
tune gone.log
holds 'a trace that is not there' 2 err '^hakctl: tune: gone.log'
echo 'no trace' >text.log
tune text.log
holds 'a file that is no trace' 2 err '^hakctl: tune: text.log'
tune few.log
says 'a trace of three blocks' 2 err <<'END'
hakctl: tune: few.log: 3 calls are too few to tune for; it takes 1000
END
tune few.log -o gone/tuned.ini
says 'an output that cannot be written' 2 err <<'END'
hakctl: tune: cannot write gone/tuned.ini: No such file or directory
END
sed 's/midmt$/midnt/' wasteful.ini >wrong.ini
tune few.log -c wrong.ini
holds 'a base with an error' 2 err '^wrong.ini:6: error: '
[ ! -e tuned.ini ] && [ ! -e tuned.ini.state ]
result $? 'nothing was written'

# ---- what is found -----------------------------------------------------------

HAKMEM_POLICY_C0_C7=smallmid tune small.log -c wasteful.ini --weight rss=1 \
    --budget 8s --json result.json
holds 'less memory is found, whatever the environment says' 0 out \
    '^tuned.ini was written.$'
jq -e '.worth_it and .ini == "tuned.ini" and .all.memory.ratio < 0.7 and
    (.lines | length) >= 1 and .traces[0].file == "small.log"' result.json \
    >"$tmp/said" 2>&1
result $? 'as JSON, too'
"$ctl" lint tuned.ini >why 2>&1
judge 'hakctl lint finds nothing in the INI'
grep -q '^; .* the memory (95 %: \|^; .* less memory (95 %: ' tuned.ini
result $? 'what a line gains is above it'
"$ctl" explain 40 -c tuned.ini | grep -q 'box  *\(ultra\|tiny\)\|ultra\|tiny'
result $? 'small blocks go to another box'
[ ! -e tuned.ini.state ]
result $? 'a search that ended leaves no state'
ls folders >why
judge 'and no folder'

tune still.log -c "$top/conf/hardened.ini" --weight rss=1 --budget 3s \
    -o still.ini
holds 'where nothing can be better, no change is worth it' 0 out \
    '^No change is worth it. Nothing was written.$'
[ ! -e still.ini ]
result $? 'and no INI is written'

# ---- interruption ------------------------------------------------------------

"$ctl" tune small.log -c wasteful.ini --budget 60s -o later.ini \
    >later.out 2>later.err &
pid=$!
tries=0
while ! grep -q 'rung' later.err && [ $tries -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
sleep 0.5
kill -INT $pid
wait $pid
status=$?
cp later.out out && cp later.err err
holds 'a signal ends it, and the state is kept' 130 err \
    'interrupted; later.ini.state has the runs so far, --resume goes on$'
[ ! -e later.ini ]
result $? 'what is not confirmed is not written'
jq '.runs | length' later.ini.state >runs
[ "$(cat runs)" -gt 3 ]
result $? 'its runs are in the state'
tune small.log -c wasteful.ini --weight rss=1 -o later.ini
says 'a state is not lost' 2 err <<'END'
hakctl: tune: later.ini.state is of a search that was interrupted: --resume goes on with it; remove it to begin anew
END
tune small.log -c wasteful.ini --weight rss=1 -o later.ini --resume
holds 'other weights cannot go on with it' 2 err \
    'later.ini.state is of a search with another "weight"'
cp later.ini.state cut.ini.state
tune small.log -c wasteful.ini --budget 6s -o later.ini --resume \
    --json later.json
jq -e ".runs >= $(cat runs)" later.json >"$tmp/said" 2>&1
result $? '--resume goes on'
[ "$status" = 0 ] && [ ! -e later.ini.state ]
result $? 'to its end'
head -c 300 cut.ini.state >t && mv t cut.ini.state
tune small.log -c wasteful.ini -o cut.ini --resume
holds 'a state that was cut is refused' 2 err 'cut.ini.state: '
[ -s cut.ini.state ]
result $? 'and stays'
finish
