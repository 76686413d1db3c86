#!/bin/sh
# test_profile.sh - hakctl profile: views, symbols, and files that are bad.
#
# tests/lib/pprof_write.py writes the profiles. Their addresses are those that
# profiled.cc prints of itself.
set -u
# shellcheck source=tests/hakctl/lib.sh
. tests/hakctl/lib.sh
unset DEBUGINFOD_URLS
ctl=build/hakctl

# ---- views -------------------------------------------------------------------

cat >"$tmp/a.json" <<'END'
{"comments": ["hakmem heap profile 1", "program=/bin/shop", "pid=77",
  "reason=exit", "every=524288", "samples=120", "peak=20971520",
  "peak_time_ms=4500", "started_ms=3000"],
 "duration_nanos": 12300000000,
 "mappings": [[4096, 8192, 0, "/none/libc.so.6", ""],
  [8192, 12288, 0, "/none/ld-linux-x86-64.so.2", ""]],
 "samples": [
  {"at": ["operator new", "std::vector<int>::push_back", "grow", "main"],
   "inuse_space": 8388608, "inuse_objects": 4, "inuse_variance": 1048576,
   "peak_space": 10485760, "alloc_space": 20971520, "slot_overhead": 1048576,
   "page_overhead": 524288, "labels": {"thread": "main", "box": "large"}},
  {"at": ["read", "main"], "inuse_space": 2097152, "inuse_objects": 2,
   "labels": {"thread": "main", "box": "ultra", "bytes": 64}},
  {"at": ["fib", "fib", "fib", "start;thread"], "inuse_space": 1024,
   "inuse_objects": 1, "labels": {"thread": "worker", "box": "ultra"}},
  {"at": [4200, "read", "main"], "inuse_space": 512, "inuse_objects": 1},
  {"at": [8200, "main"], "inuse_space": 256, "inuse_objects": 1},
  {"at": [4200, 8200], "inuse_space": 128, "inuse_objects": 1},
  {"at": ["grow", "main"], "freed_objects": 30, "labels": {"lifetime": "<1ms"}},
  {"at": ["grow", "main"], "freed_objects": 10, "labels": {"lifetime": ">=100s"}}
 ]}
END
tests/lib/pprof_write.py "$tmp/a.json" >"$tmp/a.pb.gz"
sed 's/"inuse_space": 8388608/"inuse_space": 1048576/
    s/"inuse_space": 1024/"inuse_space": 3145728/' "$tmp/a.json" |
    tests/lib/pprof_write.py >"$tmp/b.pb.gz"

# OPTION...: what a.pb.gz tells, without symbols since its libraries do not exist
profile() { try "$ctl" profile "$tmp/a.pb.gz" --no-symbols "$@"; }
in_use() { profile --in-use "$@"; }

profile --flat
says 'a file of an exit: the peak' 0 out <<'END'
/bin/shop, pid 77, written at its exit
one sample every 512 KiB on average, 120 samples, 12.3 s; peak of 20 MiB after 1.5 s
in use at the peak: 10 MiB
in use at exit: 10.0 MiB in 10 blocks (--leaks)

     SELF      %     CUMUL      %  FUNCTION
    10.0M 100.0%     10.0M 100.0%  grow
END
profile --in-use
says '--in-use' 0 out <<'END'
/bin/shop, pid 77, written at its exit
one sample every 512 KiB on average, 120 samples, 12.3 s; peak of 20 MiB after 1.5 s
in use: 10.0 MiB +- 2.0 MiB in 10 blocks

     SELF      %       +-     CUMUL      %  FUNCTION
     8.0M  80.0%     2.0M      8.0M  80.0%  grow
     2.0M  20.0%               2.0M  20.0%  read
     1.0K   0.0%               1.0K   0.0%  fib
     640B   0.0%               640B   0.0%  libc.so.6+0x68
     256B   0.0%               384B   0.0%  ld-linux-x86-64.so.2+0x8

    CUMUL      %  CALL SITE
    10.0M 100.0%  main  given.go:7
     8.0M  80.0%    grow  given.go:7
     2.0M  20.0%    read  given.go:7
                  branches below 0.5% left out: 4
END
in_use --wrappers --flat
holds '--wrappers shows what only passes on' 0 out \
    '^     8.0M  80.0%     2.0M      8.0M  80.0%  operator new$'
profile --peak
holds '--peak' 0 out '^in use at the peak: 10 MiB$'
profile --allocated
holds '--allocated' 0 out '^    20.0M 100.0%     20.0M 100.0%  grow$'
profile --overhead
holds '--overhead: totals' 0 out '^held besides what was asked for: 1.5 MiB in 10 blocks: 1 MiB in their slots, 512 KiB in pages that they keep; asked for 10.0 MiB$'
holds '--overhead: columns' 0 out \
    '^     1.5M 100.0%      1.0M      512K      8.0M      1.5M 100.0%  grow$'
profile --overhead --by stack
holds '--overhead of each stack' 0 out \
    '^     1.5M 100.0%      1.0M      512K      8.0M  grow  given.go:7$'
profile --leaks
holds '--leaks leaves out what libc keeps' 0 out \
    '^left out: 384 bytes in 2 blocks that libc, libstdc++ and the loader ask'
profile --leaks --json
json '--leaks: what a function of ours asks libc for stays' 0 \
    '[.left_out.bytes, .total.bytes]' '[384,10487296]'
profile --lifetimes
holds '--lifetimes: all' 0 out '^<1ms                 30   75.0%  #\{30\}$'
holds '--lifetimes of a function' 0 out \
    '^       40   75%    0% .*   25%  grow$'
in_use --objects --flat
holds '--objects' 0 out '^        4  40.0%         4  40.0%  grow$'
in_use --by thread
holds '--by thread' 0 out '^     1.0K   0.0%           worker$'
holds '--by thread: blocks of no thread that is known' 0 out '^     896B .* -$'
in_use --by box
holds '--by box' 0 out '^     8.0M  80.0%     2.0M  large$'
in_use --by library
holds '--by library' 0 out '640B .*  libc.so.6$'
in_use --top 1
holds '--top' 0 out '\.\.\. and 4 more (--top 0 shows all)$'
in_use --text
holds '--text has all stacks' 0 out '^                           fib  given.go:7$'
in_use --focus 'fi[b]|nothing'
holds '--focus' 0 out '^in use: 1 KiB in 1 blocks$'
holds '--focus says so' 0 out \
    '^only stacks that match "fi\[b\]|nothing"; all stacks: 10.0 MiB'
in_use --focus 'libc[.]so'
holds '--focus on a library' 0 out '^in use: 640 bytes in 2 blocks$'

in_use --collapsed
says '--collapsed: outermost first, ; only between frames' 0 out <<'END'
main;grow 8388608
main;read 2097152
start:thread;fib;fib;fib 1024
main;read;libc.so.6+0x68 512
main;ld-linux-x86-64.so.2+0x8 256
ld-linux-x86-64.so.2+0x8;libc.so.6+0x68 128
END

in_use --json
json '--json: the file' 0 '[.profile.pid, .profile.reason, .view, .duration_ns]' \
    '[77,"exit","in-use",12300000000]'
json '--json: stacks add up to the total' 0 \
    '([.stacks[].bytes] | add) == .total.bytes' true
json '--json: own values add up to the total' 0 \
    '([.functions[].self.bytes] | add) == .total.bytes' true
json '--json: recursion counts once' 0 \
    '.functions[] | select(.function == "fib") | .cumulative.bytes' 1024
json '--json: a stack' 0 \
    '.stacks[1] | [.bytes, .objects, .thread, .box, .slot_bytes, (.frames | map(.function))]' \
    '[2097152,2,"main","ultra",64,["read","main"]]'
json '--json: the confidence' 0 .total.confidence_95_bytes 2055209

profile -j --peak
json '-j is --json' 0 .view '"peak"'
try sh -c "'$ctl' profile - --collapsed --no-symbols <'$tmp/a.pb.gz'"
holds '- is standard input' 0 out '^main;grow 10485760$'
profile --focus start --in-use
holds 'a value that is a verb elsewhere' 0 out '^in use: 1 KiB in 1 blocks$'

# ---- differences -------------------------------------------------------------

profile --in-use --diff "$tmp/b.pb.gz"
says '--diff: signs, the largest change first' 0 out <<'END'
/bin/shop, pid 77, written at its exit
one sample every 512 KiB on average, 120 samples, 12.3 s; peak of 20 MiB after 1.5 s
in use: 4.0 MiB +- 2.8 MiB more than in TMP/b.pb.gz: 10.0 MiB +- 2.0 MiB in 10 blocks, was 6.0 MiB +- 2.0 MiB in 10 blocks

     SELF              +-     CUMUL         FUNCTION
    +7.0M            2.8M     +7.0M         grow
    -3.0M                     -3.0M         fib

   CHANGE         CALL SITE
    +7.0M         main  given.go:7
    +7.0M           grow  given.go:7
    -3.0M         start;thread  given.go:7
    -3.0M         fib  given.go:7
    -3.0M         fib  given.go:7
    -3.0M         fib  given.go:7
END
try "$ctl" profile "$tmp/b.pb.gz" --no-symbols --in-use --diff "$tmp/a.pb.gz"
holds '--diff the other way round' 0 out '^in use: 4.0 MiB +- 2.8 MiB less than'
profile --in-use --diff "$tmp/a.pb.gz" --flat
says '--diff of equals' 0 out <<'END'
/bin/shop, pid 77, written at its exit
one sample every 512 KiB on average, 120 samples, 12.3 s; peak of 20 MiB after 1.5 s
in use: 0 bytes +- 2.8 MiB more than in TMP/a.pb.gz: 10.0 MiB +- 2.0 MiB in 10 blocks, was 10.0 MiB +- 2.0 MiB in 10 blocks

     SELF              +-     CUMUL         FUNCTION
END

# ---- files of other tools ----------------------------------------------------

other() { # TYPES DEFAULT
    printf '{"types": %s, "default": "%s", "samples": [{"at": ["f", "main"],
        "space": 4096, "objects": 3, "cpu": 500, "samples": 5,
        "inuse_space": 8192, "inuse_objects": 2, "alloc_space": 99999}]}' \
        "$1" "$2" | tests/lib/pprof_write.py >"$tmp/other.pb.gz"
}
other '[["alloc_objects", "count"], ["alloc_space", "bytes"],
    ["inuse_objects", "count"], ["inuse_space", "bytes"]]' ''
try "$ctl" profile "$tmp/other.pb.gz"
holds "Go's heap profile" 0 out '^in use: 8 KiB in 2 blocks$'
other '[["objects", "count"], ["space", "bytes"]]' space
try "$ctl" profile "$tmp/other.pb.gz"
holds "tcmalloc's by pprof" 0 out '^in use: 4 KiB in 3 blocks$'
other '[["cpu", "nanoseconds"], ["samples", "count"]]' cpu
try "$ctl" profile "$tmp/other.pb.gz"
holds 'any default type' 0 out '^in use: 500 nanoseconds$'
try "$ctl" profile "$tmp/other.pb.gz" --peak
says 'a view that the file does not have' 1 err <<'END'
hakctl: TMP/other.pb.gz: has no values for --peak; its types are cpu, samples
END
echo '{}' | tests/lib/pprof_write.py >"$tmp/empty.pb.gz"
try "$ctl" profile "$tmp/empty.pb.gz"
holds 'no samples' 0 out '^no sample has such a value$'

# ---- symbols -----------------------------------------------------------------

program=$tmp/profiled
"${CXX:-g++}" -std=c++17 -O1 -g -Wl,--build-id -o "$program" \
    tests/hakctl/profiled.cc 2>"$said"
result $? 'profiled.cc is compiled'
id=$(readelf -n "$program" | sed -n 's/.*Build ID: //p')
at() { sed -n "s/^at $1 .* //p" "$tmp/places"; }
# BUILD_ID PROGRAM: a profile of its places, in $tmp/p.pb.gz
of() {
    "$2" >"$tmp/places"
    tests/hakctl/profile_of.py "$1" reason=exit pid=$$ <"$tmp/places" \
        >"$tmp/p.pb.gz"
}
line_of() { grep -n "$1" tests/hakctl/profiled.cc | cut -d: -f1; }
symbols() { # NAME OF THE CASE: all functions with lines
    try "$ctl" profile "$tmp/p.pb.gz" --json
    # shellcheck disable=SC2016 # a variable of jq
    filter='[.stacks[] | select(.thread == $t) | .frames[] |
        "\(.function) \(.file // "-" | split("/")[-1]):\(.line // 0)"]'
    for case in "template|shop::basket<long>::add profiled.cc:$(at template)" \
        "inlined|shop::pack profiled.cc:$(at inlined),shop::wrap profiled.cc:$(line_of wraps),shop::sell profiled.cc:$(line_of sells)" \
        "rust_v0|foo::example_function profiled.cc:$(at rust_v0)" \
        "rust_old|app::work profiled.cc:$(at rust_old)" \
        "plain|plain_c profiled.cc:$(at plain)"; do
        got=$(jq -r --arg t "${case%%|*}" "$filter | join(\",\")" "$tmp/out")
        want=${case#*|},main\ profiled.cc:$(at main)
        [ "$got" = "$want" ] || printf '%s\nis not\n%s\n' "$got" "$want"
    done >"$tmp/why"
    judge "$1"
}
of "$id" "$program"
symbols 'functions, inlined ones, lines; C++ and Rust demangled'
json 'an address in no mapping' 0 \
    '[.stacks[] | select(.thread == "nowhere") | .frames[].function]' \
    '["[unknown] 0x1230","[unknown] 0x4560"]'
try "$ctl" profile "$tmp/p.pb.gz" --flat
holds 'the list names functions and libraries' 0 out \
    '  shop::pack  (profiled)$'
try "$ctl" profile "$tmp/p.pb.gz" --focus 'basket<long>' --tree
holds 'the tree names lines' 0 out \
    "1000B 100.0%  shop::basket<long>::add  profiled.cc:$(at template)\$"

objcopy --remove-section .debug_aranges "$program" "$tmp/profiled-noaranges"
of "$id" "$tmp/profiled-noaranges"
symbols 'without .debug_aranges, as clang and rustc write files'

cp "$program" "$tmp/profiled-strip"
(cd "$tmp" && objcopy --only-keep-debug profiled-strip profiled-strip.debug &&
    strip profiled-strip &&
    objcopy --add-gnu-debuglink=profiled-strip.debug profiled-strip)
of "$id" "$tmp/profiled-strip"
symbols 'a separate debug file by .gnu_debuglink'

rm "$tmp/profiled-strip.debug"
try "$ctl" profile "$tmp/p.pb.gz" --json
json 'stripped, without a debug file: name and offset' 0 \
    '[.stacks[] | select(.thread == "plain") | .frames[].function | test("^profiled-strip\\+0x[0-9a-f]+$")]' \
    '[true,true]'
cp "$tmp/err" "$tmp/why"
judge 'and without a word about it'

cp "$program" "$tmp/profiled-symtab"
strip -g "$tmp/profiled-symtab"
of "$id" "$tmp/profiled-symtab"
try "$ctl" profile "$tmp/p.pb.gz" --json
json '.symtab alone: names without lines' 0 \
    '[.stacks[] | select(.thread == "inlined") | .frames[] | [.function, .line]]' \
    '[["shop::sell",null],["main",null]]'

of "00112233445566778899aabbccddeeff00112233" "$program"
try "$ctl" profile "$tmp/p.pb.gz" --json
json 'another build id: addresses' 0 \
    '[.stacks[] | select(.thread == "plain") | .frames[].function | test("^profiled\\+0x")]' \
    '[true,true]'
says_id="hakctl: TMP/profiled: build id $id, but the profile is of build id 00112233445566778899aabbccddeeff00112233; its functions are shown as addresses"
echo "$says_id" | diff - "$tmp/err" >"$tmp/why"
judge 'and says so once'
of "$id" "$program"
mv "$program" "$tmp/gone"
try "$ctl" profile "$tmp/p.pb.gz" --flat
holds 'a file that is gone' 0 err \
    '^hakctl: TMP/profiled: No such file or directory; its functions are'
mv "$tmp/gone" "$program"
try "$ctl" profile "$tmp/p.pb.gz" --no-symbols --flat
holds '--no-symbols' 0 out '  profiled+0x'

# A server that has nothing, and writes down that it was asked.
cat >"$tmp/debuginfod.py" <<'END'
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        open(sys.argv[1], "a").write(self.path + "\n")
        self.send_error(404)
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print("http://127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
END
cp "$program" "$tmp/profiled-nodebug"
strip "$tmp/profiled-nodebug"
of "$id" "$tmp/profiled-nodebug"
try "$ctl" profile "$tmp/p.pb.gz" --debuginfod --flat
holds '--debuginfod without a server' 0 err \
    '^hakctl: warning: --debuginfod, but DEBUGINFOD_URLS names no server'
: >"$tmp/asked.http"
python3 "$tmp/debuginfod.py" "$tmp/asked.http" >"$tmp/url" 2>"$said" &
web=$!
trap 'kill $web; rm -rf "$tmp"' EXIT
tries=0
while [ ! -s "$tmp/url" ] && [ $tries -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
try env DEBUGINFOD_URLS="$(cat "$tmp/url")" \
    DEBUGINFOD_CACHE_PATH="$tmp/cache" "$ctl" profile "$tmp/p.pb.gz"
cp "$tmp/asked.http" "$tmp/why"
judge 'no server is asked by itself'
if ls /usr/lib/*/libdebuginfod.so.1 >/dev/null 2>&1; then
    try env DEBUGINFOD_URLS="$(cat "$tmp/url")" \
        DEBUGINFOD_CACHE_PATH="$tmp/cache" \
        "$ctl" profile "$tmp/p.pb.gz" --debuginfod
    grep -q "/buildid/$id/" "$tmp/asked.http"
    result $? '--debuginfod asks it'
else
    skip '--debuginfod asks it' 'libdebuginfod1 is not installed'
fi
kill $web
trap 'rm -rf "$tmp"' EXIT

jit=/tmp/perf-$$.map
if [ ! -e $jit ]; then
    printf '1200 100 JS:*work app.js:3\n4560 1 other\n' >$jit
    try "$ctl" profile "$tmp/p.pb.gz" --json
    rm -f $jit
    json 'functions of a JIT' 0 \
        '[.stacks[] | select(.thread == "nowhere") | .frames[] | [.function, .library]]' \
        '[["JS:*work app.js:3","[JIT]"],["other","[JIT]"]]'
fi

# ---- real profiles -----------------------------------------------------------

"${CXX:-g++}" -std=c++17 -O1 -g -o "$tmp/leaks" tests/hakctl/leaks.cc 2>"$said"
result $? 'leaks.cc is compiled'
# FILE WORD...: run leaks, each block a sample
run_leaks() {
    file=$1
    shift
    try "$ctl" run --heap-profile="$file" --heap-profile-every=1 -- \
        "$tmp/leaks" "$@"
}
run_leaks "$tmp/clean.pb.gz"
holds 'run says how the profile is read' 0 err \
    '^hakctl: heap profile at exit; read it by: hakctl profile TMP/clean.pb.gz$'
try "$ctl" profile "$tmp/clean.pb.gz" --leaks --json
json 'a program without leaks has none' 0 \
    '[.total.bytes, (.left_out.objects > 10)]' '[0,true]'
try "$ctl" profile "$tmp/clean.pb.gz" --leaks
holds 'and it says so' 0 out '^nothing else is left$'
run_leaks "$tmp/leaks.pb.gz" leak
try "$ctl" profile "$tmp/leaks.pb.gz" --leaks --json
json 'planted leaks are found, and no others' 0 \
    '[.stacks[].frames | map(.function) | map(select(test("^leak_"))) | first] | sort | unique' \
    '["leak_list","leak_new","leak_strdup"]'
json 'with their sizes' 0 \
    '[.functions[] | select(.function | test("leak_(new|strdup)")) | .self.bytes]' \
    '[1000,11]'
try "$ctl" profile "$tmp/leaks.pb.gz" --leaks --flat
holds 'wrappers are not blamed' 0 out '^    1000B .*  leak_new$'

# ---- a running process -------------------------------------------------------

# A process that only writes down what it is asked.
cat >"$tmp/server.py" <<'END'
import socket, sys
path, log = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(9)
open(log, "w").close()
while True:
    client = listener.accept()[0]
    line = client.makefile().readline()
    open(log, "a").write(line)
    if line.startswith("profile stop"):
        client.sendall(b'{"error":"nothing is sampled"}\n')
    elif line:
        client.sendall(b'{"ok":{"file":"/srv/x.pb.gz","sampling":true,"every":4096,"samples":7,"live_bytes":9000,"peak_bytes":9999}}\n')
    client.close()
END
python3 "$tmp/server.py" "$tmp/sock" "$tmp/asked" 2>"$said" &
server=$!
trap 'kill $server; rm -rf "$tmp"' EXIT
tries=0
while [ ! -e "$tmp/asked" ] && [ $tries -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
try "$ctl" profile "$tmp/sock" start --every 4k
says 'start' 0 out <<'END'
one sample every 4096 bytes on average: 7 samples; about 9000 bytes in use, 9999 at the peak
END
try "$ctl" profile "$tmp/sock" dump own.pb.gz
says 'dump' 0 out <<'END'
/srv/x.pb.gz
read it by: hakctl profile /srv/x.pb.gz
END
try "$ctl" profile "$tmp/sock" dump
try "$ctl" profile --json "$tmp/sock" start
json '--json' 0 .every 4096
try "$ctl" profile "$tmp/sock" stop
says 'what the process refuses' 1 err <<'END'
hakctl: profile: nothing is sampled
END
sed "s|$top|TOP|" "$tmp/asked" | grep . >"$tmp/requests"
diff - "$tmp/requests" >"$tmp/why" <<'END'
profile start 4k
profile state
profile dump TOP/own.pb.gz
profile dump
profile start
profile stop
END
judge 'the requests'
try "$ctl" profile "$tmp/sock" stop now
says 'a word too many' 2 err <<'END'
hakctl: profile: now is not wanted here; see hakctl help profile
END
try "$ctl" profile "$tmp/sock" dump --every 4k
says '--every without start' 2 err <<'END'
hakctl: profile: --every is not wanted here; see hakctl help profile
END
try "$ctl" profile 4242
says 'a process without a word of what to do' 2 err <<'END'
hakctl: profile: there is no file 4242; hakctl profile 4242 dump writes one of the process 4242
END

# A process of hakmem: 3000 blocks of 3 KB after the start of sampling.
mkfifo "$tmp/fifo"
"$ctl" run --control -- python3 -c '
import sys
kept = [bytes(3000) for i in range(2000)]
print("ready", flush=True)
sys.stdin.readline()
kept += [bytes(3000) for i in range(3000)]
print("more", flush=True)
sys.stdin.readline()' >"$tmp/python.out" 2>"$said" <"$tmp/fifo" &
python=$!
exec 8>"$tmp/fifo"
trap 'kill $server $python; rm -rf "$tmp"' EXIT
until_line() { # WORD
    tries=0
    while ! grep -q "$1" "$tmp/python.out" && [ $tries -lt 600 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
}
until_line ready
try "$ctl" profile $python state
says 'a process that samples nothing' 0 out <<'END'
nothing is sampled
END
try "$ctl" profile $python start --every 1
holds 'it starts' 0 out '^one sample every 1 bytes on average: '
echo >&8
until_line more
try "$ctl" profile $python dump "$tmp/live.pb.gz"
holds 'it writes a profile' 0 out '^read it by: hakctl profile TMP/live.pb.gz$'
try "$ctl" profile "$tmp/live.pb.gz" --json
json 'which has what came since' 0 \
    '[.view, .profile.reason, .total.bytes > 8500000, .total.bytes < 10000000]' \
    '["in-use","control",true,true]'
try "$ctl" profile $python stop
holds 'it stops' 0 out '^stopped; '
exec 8>&-
wait $python
trap 'kill $server; rm -rf "$tmp"' EXIT

# ---- wrong use ---------------------------------------------------------------

in_use --peek
says 'an unknown option' 2 err <<'END'
hakctl: profile: unknown option "--peek"; see hakctl help profile
END
profile --focus '('
says '--focus that is no expression' 2 err <<'END'
hakctl: profile: --focus "(" is no extended regular expression: Unmatched ( or \(
END
in_use --by threads
says '--by' 2 err <<'END'
hakctl: profile: --by threads: not one of stack, function, thread, box, library; did you mean "thread"?
END
profile --top few
says '--top' 2 err <<'END'
hakctl: profile: --top few: not a number of lines; 0 is all of them
END
profile --collapsed --diff "$tmp/b.pb.gz"
holds '--collapsed --diff' 2 err 'takes no --diff'
try "$ctl" profile
says 'no file' 2 err <<'END'
hakctl: profile: no file given; see hakctl help profile
END
try "$ctl" profile "$tmp/none.pb.gz"
says 'a file that is not there' 1 err <<'END'
hakctl: TMP/none.pb.gz: No such file or directory
END
try "$ctl" profile "$tmp"
says 'a folder' 1 err <<'END'
hakctl: TMP: Is a directory
END
: >"$tmp/nothing"
try "$ctl" profile "$tmp/nothing"
says 'an empty file' 1 err <<'END'
hakctl: TMP/nothing: is empty
END
try "$ctl" profile "$tmp/a.json"
holds 'a text' 1 err 'is a text and no profile.proto'
sed 's/reason=exit/reason=signal/' "$tmp/a.json" |
    tests/lib/pprof_write.py >"$tmp/signal.pb.gz"
try "$ctl" profile "$tmp/signal.pb.gz" --leaks
holds '--leaks of a running program' 1 err \
    '^hakctl: TMP/signal.pb.gz: was written while the program ran (reason=signal)'
head -c 600000000 /dev/zero | gzip -1 >"$tmp/bomb.gz"
try "$ctl" profile "$tmp/bomb.gz"
holds 'a file that unpacks to far more' 1 err 'unpacks to more than [0-9]* bytes'

# Each cut and each changed byte: a profile, or a message that names the file.
cat >"$tmp/damage.py" <<'END'
import gzip, subprocess, sys
program, file, out = sys.argv[1:]
packed = open(file, "rb").read()
raw = gzip.decompress(packed)
def run(content, must_fail):
    open(out, "wb").write(content)
    p = subprocess.run([program, "profile", "--no-symbols", out],
                       capture_output=True)
    said = p.stderr.decode().startswith("hakctl: " + out + ": ")
    if p.returncode not in ((1,) if must_fail else (0, 1)) or \
            (p.returncode == 1) != said:
        print(len(content), p.returncode, p.stderr)
for n in range(len(packed)):
    run(packed[:n], True)
for n in range(len(raw)):
    run(raw[:n], False)
    run(raw[:n] + bytes([raw[n] ^ 1 << n % 8]) + raw[n + 1:], False)
END
tests/lib/pprof_write.py <"$tmp/a.json" >"$tmp/small.pb.gz"
python3 "$tmp/damage.py" build/hakctl-profile "$tmp/small.pb.gz" \
    "$tmp/damaged" >"$tmp/why" 2>&1
judge 'damaged at any byte: a message with its name, never a crash'

finish
