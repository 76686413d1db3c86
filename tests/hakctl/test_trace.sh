#!/bin/sh
# test_trace.sh - hakctl trace: the summary, dump, import and cut. TAP.
set -u
# shellcheck source=tests/hakctl/lib.sh
. tests/hakctl/lib.sh
trace() { try "$top/build/hakctl" trace "$@"; }

cat >"$tmp/log" <<'EOF'
7 7 malloc(100)=0x1000
7 7 calloc(3,10)=0x2000
7 8 free(0x1000)
7 8 posix_memalign(64,200)=0x3000
7 8 realloc(0x2000,500)=0x2000
7 8 malloc(9999999999)=0x0
7 7 free(0x0)
7 7 free(0x9000)
7 7 free(0x3000)
EOF

# ---- the summary -------------------------------------------------------------

trace "$tmp/log"
says 'a summary' 0 out <<'EOF'
TMP/log: (pid 7) by logalloc
9 operations of 2 threads
live at the peak: 700 B in 2 blocks
live at the end: 500 B in 1 block
freed by another thread than made them: 100.0 % of the freed blocks

       CALLS  KIND
           2  malloc
           1  calloc
           1  aligned
           1  realloc
           3  free
           1  free-null
           1  made no block: they failed
           1  freed a block from before the recording

                SIZE       BLOCKS       % BYTES %
     from 16 B                  1   25.0%    3.6%
     from 64 B                  1   25.0%   12.0%
     from 128 B                 1   25.0%   24.1%
     from 256 B                 1   25.0%   60.2%

    BLOCKS MEANWHILE       BLOCKS       %
            under 10            3   75.0%
           not freed            1   25.0%
EOF
trace "$tmp/log" --json
json 'as JSON' 0 '[.about.pid, .operations, .threads, .calls.free, .failed,
    .unknown_frees, .freed_blocks, .freed_by_another_thread, .peak_live_bytes,
    .live_blocks, .cut, .damaged, (.sizes | length), .lived_blocks[1].blocks]' \
    '[7,9,2,3,1,1,3,3,700,1,false,false,4,3]'

# ---- dump and import ---------------------------------------------------------

cat >"$tmp/dumped" <<'EOF'
0 0 malloc 100 = 1
0 0 calloc 30 = 2
0 1 free 1
0 1 aligned 64 200 = 3
0 1 realloc 2 500 = 4
0 1 malloc 9999999999 = 0
0 0 free-null
0 0 free 0
0 0 free 3
EOF
trace dump "$tmp/log"
says 'dump' 0 out <"$tmp/dumped"
trace import "$tmp/log" -o "$tmp/a.trace"
says 'import says nothing' 0 out </dev/null
trace dump "$tmp/a.trace"
says 'what was imported' 0 out <"$tmp/dumped"
trace "$tmp/a.trace" --json
json 'it says where it comes from' 0 .about '{"source":"logalloc","pid":7}'
trace import "$tmp/a.trace" -o "$tmp/b.trace"
cmp "$tmp/a.trace" "$tmp/b.trace" >"$tmp/why" 2>&1
judge 'a trace is imported as it is'
through() { "$top/build/hakctl" trace import - -o - | "$top/build/hakctl" trace dump -; }
through <"$tmp/log" >"$tmp/piped"
diff "$tmp/dumped" "$tmp/piped" >"$tmp/why"
judge 'by pipes'

# ---- cut ---------------------------------------------------------------------

# Blocks 1 and 2 are live after two operations; thread 1 becomes thread 0 or 1.
trace cut "$tmp/a.trace" --from 3 --to 5 -o "$tmp/c.trace"
says 'cut says nothing' 0 out </dev/null
trace dump "$tmp/c.trace"
says 'a part, by operations' 0 out <<'EOF'
0 0 malloc 100 = 1
0 0 calloc 30 = 2
0 1 free 1
0 1 aligned 64 200 = 3
0 1 realloc 2 500 = 4
EOF
trace cut "$tmp/a.trace" --from 60% -o "$tmp/c.trace"
trace dump "$tmp/c.trace"
says 'the rest, by share' 0 out <<'EOF'
0 0 aligned 64 200 = 1
0 0 malloc 500 = 2
0 0 malloc 9999999999 = 0
0 1 free-null
0 1 free 0
0 1 free 1
EOF
trace "$tmp/c.trace" --json
json 'which part it is' 0 '[.about.from, .about.to]' '[6,9]'

# A long log: whatever the part begins with, what is live at the end is the same.
python3 - "$tmp/long" <<'EOF'
import random, sys
random.seed(1)
live, out = [], open(sys.argv[1], "w")
for i in range(200000):
    thread = random.randrange(1, 5)
    if live and random.random() < 0.49:
        k = random.randrange(len(live))
        live[k], live[-1] = live[-1], live[k]
        print(f"1 {thread} free({live.pop():#x})", file=out)
    else:
        live.append(0x10000 + i * 16)
        print(f"1 {thread} malloc({i % 3000})={live[-1]:#x}", file=out)
EOF
trace "$tmp/long" --json
whole=$(jq -c '[.live_bytes, .live_blocks]' "$tmp/out")
for from in 2 1000 50% 99.9%; do
    trace cut "$tmp/long" --from "$from" -o "$tmp/c.trace"
    trace "$tmp/c.trace" --json
    json "live at the end of the part from $from" 0 \
        '[.live_bytes, .live_blocks]' "$whole"
done

# ---- cut and damaged files ---------------------------------------------------

trace import "$tmp/long" -o "$tmp/l.trace"
size=$(stat -c %s "$tmp/l.trace")
head -c $((size - 5)) "$tmp/l.trace" >"$tmp/short.trace"
trace "$tmp/short.trace"
holds 'a cut trace' 0 out '^The file was cut: there may have been more'
trace dump "$tmp/short.trace"
holds 'dump says that it was cut' 0 err \
    '^hakctl: trace: TMP/short.trace was cut before its end; what is there was read$'
trace import "$tmp/short.trace" -o "$tmp/mended.trace"
holds 'import says it too' 0 err 'short.trace was cut before its end'
"$top/build/hakctl" trace dump "$tmp/l.trace" >"$tmp/want"
trace dump "$tmp/mended.trace"
cmp "$tmp/want" "$tmp/out" >"$tmp/why" 2>&1
judge 'and nothing else was lost'

cp "$tmp/l.trace" "$tmp/bad.trace"
printf x | dd of="$tmp/bad.trace" bs=1 seek=$((size - 500)) conv=notrunc 2>"$tmp/dd"
trace "$tmp/bad.trace"
holds 'a damaged trace' 1 err \
    '^hakctl: trace: TMP/bad.trace is damaged at byte [0-9]*, after 196608 operations: the checksum'
grep -q '^196608 operations' "$tmp/out" || echo 'no summary of the rest' >"$tmp/why"
judge 'and what comes before it'

trace import "$tmp/long" -o "$tmp/l.trace" -p 3
holds 'a process that is not there' 1 err 'long has no process 3; most of its lines are of process 1$'
kib=$((size / 2048)) # half of it
limited() { bash -c 'ulimit -f "$1"; shift; exec "$@"' limited "$kib" "$@"; }
try limited "$top/build/hakctl" trace import "$tmp/long" -o "$tmp/full.trace"
holds 'no room for the output' 1 err \
    '^hakctl: trace: TMP/full.trace cannot be written to its end: File too large; it can be read up to its last whole block$'
trace "$tmp/full.trace" --json
json 'what had room is whole blocks' 0 '[.operations, .cut]' '[65536,true]'
trace import "$tmp/log" -o /dev/full
holds 'a full device' 1 err '^hakctl: trace: /dev/full cannot be written: No space left'

# ---- words that are wrong ----------------------------------------------------

refused() { # NAME STATUS MESSAGE WORD...
    name=$1 with=$2 message=$3
    shift 3
    trace "$@"
    echo "hakctl: trace: $message" >"$tmp/message"
    says "$name" "$with" err <"$tmp/message"
}
see='see hakctl help trace'
refused 'no file' 2 "no file is given; $see"
refused 'dump of nothing' 2 "no file is given; $see" dump
refused 'two files' 2 "one file is read at a time; $see" "$tmp/a.trace" "$tmp/b.trace"
refused 'import to nowhere' 2 "-o OUT is missing; $see" import "$tmp/log"
refused 'a summary to a file' 2 "-o is not wanted here; $see" "$tmp/log" -o x
refused 'no part' 2 "--from, --to or both are missing; $see" cut "$tmp/log" -o x
refused 'a part of a summary' 2 "--from and --to belong to hakctl trace cut; $see" \
    "$tmp/log" --from 1
refused 'a file that is not there' 1 \
    'TMP/none cannot be opened: No such file or directory' "$tmp/none"
refused 'a folder' 1 'TMP cannot be read: Is a directory' "$tmp"
refused 'an empty file' 1 '/dev/null is empty' /dev/null
refused 'no trace' 1 \
    'build/hakctl is no trace: neither of hakctl record nor a text of logalloc or mtrace' \
    build/hakctl
refused 'its own input' 1 \
    'TMP/a.trace is the file that is read; write to another' \
    import "$tmp/a.trace" -o "$tmp/a.trace"
refused 'a place' 1 \
    '"x" is neither a share (25%) nor the number of an operation' \
    cut "$tmp/a.trace" --from x -o "$tmp/c.trace"
refused 'a part without operations' 1 \
    'there is nothing from 10 to the end: TMP/a.trace has 9 operations' \
    cut "$tmp/a.trace" --from 10 -o "$tmp/c.trace"
# shellcheck disable=SC2002 # a pipe is what is wanted
cut_piped() { cat "$tmp/a.trace" | "$top/build/hakctl" trace cut - --to 2 -o "$tmp/c.trace"; }
try cut_piped
holds 'a part of a pipe' 1 err \
    '^hakctl: trace: - cannot be read twice: Illegal seek; write it into a file first$'

finish
