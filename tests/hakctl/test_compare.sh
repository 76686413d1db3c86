#!/bin/sh
# test_compare.sh - hakctl compare: what it makes of given runs, and how it runs
# programs that do well, fail, or serve. TAP. What is judged is never a time.
set -u
# shellcheck source=tests/hakctl/lib.sh
. tests/hakctl/lib.sh
data() { python3 "$top/tests/hakctl/compare_data.py" "$@"; }
compare() { try "$ctl" compare "$@"; }

# ---- statistics, of given runs -----------------------------------------------

data make 1 10 0.97 0.01 >"$tmp/faster.json"
compare --from "$tmp/faster.json"
says 'a difference, as text' 0 out <<'EOF'
data
10 rounds after 0 of warm-up, medians, base a

contender  wall time   CPU time   peak RSS     faults  spread
a           101.2 ms    92.1 ms   49.1 MiB       7088   5.3 %
b            98.5 ms    88.5 ms   48.2 MiB       6872   6.9 %

b against a:
  b is 3.2 % faster than a (95 %: 2.3 .. 5.2)
  b uses 3.7 % less CPU time than a (95 %: 3.0 .. 5.1)
  b has 3.7 % less peak RSS than a (95 %: 2.3 .. 5.0)
  b has 3.3 % fewer minor faults than a (95 %: 2.4 .. 4.0)

Notes:
  Noisy: the middle half of the runs of a spans 5.3 % of the wall time.
  Close other programs, pin this one by taskset, or raise --rounds.
EOF
compare --from "$tmp/faster.json" --json "$tmp/again.json" --markdown
holds 'as Markdown' 0 out '^| b | 98.5 ms | 88.5 ms | 48.2 MiB | 6872 | 6.9 % |$'
"$ctl" compare --from "$tmp/faster.json" >"$tmp/first"
compare --from "$tmp/again.json"
says 'what --json wrote says the same' 0 out <"$tmp/first"

for rounds in 6 7 10 11 40; do
    data make "$rounds" "$rounds" 1.1 0.02 |
        "$ctl" compare --from - --json - | data check
done >"$tmp/why" 2>&1
judge 'medians and intervals are those of another program'

# FOLDER RATIO NOISE: leaves the verdicts on 100 pairs' wall times in results
many() {
    mkdir "$1"
    data many 100 "$@"
    for file in "$1"/*.json; do
        "$ctl" compare --from "$file" --json -
    done | jq -c '.verdicts[0]' >"$tmp/results"
}
count() { jq -s "map(select($1)) | length" "$tmp/results"; }
at_least() { # WHAT FILTER N
    [ "$(count "$2")" -ge "$3" ] ||
        echo "$1: $(count "$2") of $(wc -l <"$tmp/results"), not $3"
}
many "$tmp/same" 1 0.02
at_least 'no difference' '.result == "no difference"' 95 >"$tmp/why"
judge 'of 100 pairs of equals 95 do not differ'
many "$tmp/apart" 0.96 0.01
{
    at_least 'found' '.result == "better"' 95
    at_least 'within' '.interval[0] <= 0.96 and .interval[1] >= 0.96' 95
} >"$tmp/why"
judge 'of 100 differences 95 are found and lie within the interval'

data make 1 5 0.5 0.01 >"$tmp/few.json"
compare --from "$tmp/few.json"
holds 'five rounds tell nothing' 0 out '5 rounds cannot tell (6 or more can)$'
data make 1 10 0.3 0.01 >"$tmp/third.json"
compare --from "$tmp/third.json"
holds 'a large difference is a ratio' 0 out \
    '^  b has 0\.[23][0-9]* times the wall time of a (95 %: 0\.'
data make 1 10 1 0.3 >"$tmp/noise.json"
compare --from "$tmp/noise.json"
holds 'noise hides all' 0 out '^  peak RSS: too noisy to tell (95 %: 0\.'
jq '.contenders[1].runs[3].wall_ns *= 4' "$tmp/faster.json" >"$tmp/outlier.json"
compare --from "$tmp/outlier.json"
holds 'an outlier is named' 0 out '^  b: 1 outlier in wall time: round 4 '
jq '.metric = "f" | .contenders |= map(.runs |= map(.figure = .peak_rss_kib))' \
    "$tmp/faster.json" >"$tmp/figure.json"
compare --from "$tmp/figure.json"
holds 'a lower figure is worse' 0 out '^  b is 3.7 % worse by figure than a '
jq '.smaller_is_better = true' "$tmp/figure.json" >"$tmp/smaller.json"
compare --from "$tmp/smaller.json"
holds 'or better' 0 out '^  b is 3.7 % better by figure than a '
compare --from "$tmp/smaller.json" --json -
json 'also in JSON' 0 '[.verdicts[] | select(.measure == "figure").result]' \
    '["better"]'
jq '.contenders[0].runs |= map(.figure = 0)' "$tmp/figure.json" >"$tmp/zero.json"
compare --from "$tmp/zero.json"
holds 'zero has no ratio' 0 out '^  figure: values of 0 and below have no ratio'

# ---- files that are none -----------------------------------------------------

compare --from "$tmp/none.json"
says 'no file' 2 err <<'EOF'
hakctl: compare: TMP/none.json: No such file or directory
EOF
head -c 100 "$tmp/faster.json" >"$tmp/cut.json"
compare --from "$tmp/cut.json"
holds 'half a file' 2 err '^hakctl: compare: TMP/cut.json:1: '
echo '{"contenders": []}' >"$tmp/other.json"
compare --from "$tmp/other.json"
says 'another file' 2 err <<'EOF'
hakctl: compare: TMP/other.json: is no file of hakctl compare --json
EOF
for change in '.contenders[1].runs[2].wall_ns = -1' \
    '.contenders[1].runs[2].round = 11' '.contenders[1].runs[2].round = 1' \
    '.contenders[1].runs[2] = 7' 'del(.contenders[1].runs[2].user_us)'; do
    jq "$change" "$tmp/faster.json" >"$tmp/damaged.json"
    compare --from "$tmp/damaged.json"
    says "damaged: $change" 2 err <<'EOF'
hakctl: compare: TMP/damaged.json: run 3 of b is damaged
EOF
done

# ---- programs ----------------------------------------------------------------

box "$tmp/libother.so" || exit 1 # preloads, and has no malloc

# The program says what it runs on.
cat >"$tmp/on" <<'EOF'
#!/bin/sh
case ${LD_PRELOAD-} in
*libhakmem.so*) echo "it: 300 (${HAKMEM_CONF##*/})" ;;
*libother*) echo 'it: 200' ;;
*) echo 'it: 50'; echo 'it: 60 it: 100' ;;
esac
echo end
EOF
chmod +x "$tmp/on"
compare --libc --lib "$tmp/libother.so" -c "$default" --libc -n 6 \
    --metric 'it: ([0-9]+)' --json "$tmp/on.json" -- "$tmp/on"
cp "$tmp/out" "$tmp/on.txt"
holds 'each contender gets its allocator: a library' 0 out \
    '^  other is 100.0 % better by figure than libc (95 %: 100.0 .. 100.0)$'
holds 'an INI' 0 out '^  default has 3 times the figure of libc (95 %: 3 .. 3)$'
holds 'the base again, under another name' 0 out '^libc#2 against libc:$'
holds 'where nothing differs' 0 out '^  figure: no difference above 0.1 % was'
awk 'length > 80' "$tmp/on.txt" >"$tmp/why"
judge 'no line is longer than 80 columns'
compare --from "$tmp/on.json"
says 'and --from prints it again' 0 out <"$tmp/on.txt"
cp "$tmp/on.json" "$tmp/out"
json 'JSON has each run' 0 \
    '[.contenders[] | .name, .kind, (.runs | length)]' \
    '["libc","libc",6,"other","lib",6,"default","ini",6,"libc#2","libc",6]'
json 'with all measures' 0 '.contenders[2].runs[5] | keys' \
    '["cpu_us","figure","minor_faults","peak_rss_kib","round","system_us","user_us","wall_ns"]'
ls "$tmp"/*.tmp >"$tmp/why" 2>/dev/null
judge 'nothing is left beside the file'

# 40 MiB that only one of them touches.
cat >"$tmp/touches" <<'EOF'
#!/usr/bin/env python3
import os
if "libother" in os.environ.get("LD_PRELOAD", ""):
    x = bytearray(b"x") * (40 << 20)
EOF
chmod +x "$tmp/touches"
compare --libc --lib "$tmp/libother.so" -n 6 --warmup 0 --json - -- \
    "$tmp/touches"
json "memory and faults are the program's" 0 \
    '[.verdicts[2,3] | .result, (.ratio > 1.5)]' '["worse",true,"worse",true]'

cat >"$tmp/order" <<EOF
#!/bin/sh
case \${LD_PRELOAD-} in '') printf A ;; *) printf B ;; esac >>"$tmp/turns"
EOF
chmod +x "$tmp/order"
compare --libc --lib "$tmp/libother.so" -n 4 --warmup 2 -- "$tmp/order"
[ "$(cat "$tmp/turns")" = ABBAABBAABBA ] || cat "$tmp/turns" >"$tmp/why"
judge 'contenders take turns, warm-up rounds come first'
echo text >"$tmp/input"
compare --libc --libc -n 1 --input "$tmp/input" --metric 't(.*)t' -- cat
holds 'every run reads the input' 1 err \
    '1: what --metric matched, "ex", is no number'
compare --libc --libc -n 1 --warmup 0 --output -- echo shown
{
    [ "$(grep -c '^shown$' "$tmp/err")" = 2 ] || cat "$tmp/err"
    grep '^shown' "$tmp/out"
} >"$tmp/why"
judge '--output shows what is printed, on stderr'

# ---- programs that fail ------------------------------------------------------

compare --libc --libc -- "$tmp/gone"
says 'no such program' 127 err <<'EOF'
hakctl: compare: cannot run TMP/gone: No such file or directory
EOF
compare --libc --libc -- "$tmp/input"
holds 'no program' 126 err 'cannot run TMP/input: Permission denied$'
compare --libc --libc --warmup 0 -- sh -c 'exit 3'
says 'a status' 1 err <<'EOF'
hakctl: compare: libc, round 1 of 10: sh ended with status 3; --output shows what is printed, --ignore-failure goes on
EOF
# shellcheck disable=SC2016
compare --libc --libc -- sh -c 'kill -SEGV $$'
holds 'a signal' 1 err 'sh was ended by signal 11 (Segmentation fault)'
compare --libc --libc --metric 'x([0-9]+)' -- echo y
holds 'no figure' 1 err 'nothing that was printed matches --metric "x(\[0-9\]+)"'
compare --libc --libc --metric '([0-9]+)' -- true
holds 'nothing at all' 1 err 'nothing was printed for --metric'

# The library's runs fail, every other one.
cat >"$tmp/fails" <<EOF
#!/bin/sh
[ -z "\${LD_PRELOAD-}" ] && exit 0
echo >>"$tmp/nfails"
exit \$((\$(wc -l <"$tmp/nfails") % 2))
EOF
chmod +x "$tmp/fails"
compare --libc --lib "$tmp/libother.so" -n 12 --warmup 0 --ignore-failure \
    --json "$tmp/fails.json" -- "$tmp/fails"
holds '--ignore-failure goes on' 0 out '^  other: 6 runs failed; round 1: '
cp "$tmp/fails.json" "$tmp/out"
json 'pairs are the rounds without a failure' 0 \
    '[.verdicts[0].pairs, [.contenders[1].runs[] | select(.failed).round]]' \
    '[6,[1,3,5,7,9,11]]'
compare --libc --lib "$tmp/libother.so" --warmup 0 -- "$tmp/fails"
holds 'without it the comparison ends' 1 out '; not all were run$'
compare --libc --libc --ignore-failure -n 1 --warmup 0 -- false
holds 'none did well' 1 out '^  wall time: no round has both libc#2 and libc$'

# ---- words that cannot be ----------------------------------------------------

refused() { # NAME MESSAGE WORDS...
    name=$1 message=$2
    shift 2
    compare "$@"
    holds "$name" 2 err "$message"
}
refused 'one contender' 'at least two contenders are needed' --libc -- true
refused 'no program given' 'no program given' --libc --libc
refused 'a bad expression' '"x(" is no regular expression: Unmatched' \
    --libc --libc --metric 'x(' -- true
refused 'an expression without a group' '"x" needs a group for the figure' \
    --libc --libc --metric x -- true
refused 'no rounds' '"0" is no number from 1 to' --libc --libc -n 0 -- true
refused 'rounds of words' '"-n" is no number' --libc --libc -n -n -- true
refused '--ready without --load' 'for a server under --load' \
    --libc --libc --ready true -- true
refused 'a library that is not there' 'none.so: No such file or directory' \
    --libc --lib "$tmp/none.so" -- true
refused 'a library that is none' 'text.so cannot be preloaded' \
    --libc --lib "$tmp/text.so" -- true
refused 'an INI with errors' '^hakctl: compare: bad cannot be used' \
    --libc -c "$tmp/bad.ini" -- true
refused 'JSON where nothing can be written' 'cannot write TMP/no/x: No such' \
    --libc --libc --json "$tmp/no/x" -- true
if [ -c /dev/full ]; then
    refused 'a full disk' 'cannot write /dev/full: No space left on device' \
        --from "$tmp/faster.json" --json /dev/full
    [ -c /dev/full ] || echo 'replaced by a file' >"$tmp/why"
    judge 'which stays a device'
fi
refused '--from with a program' 'has its contenders and its program' \
    --from "$tmp/faster.json" -- true
echo 'int main(void) { return 0; }' >"$tmp/static.c"
if "${CC:-gcc}" -static -o "$tmp/static" "$tmp/static.c" 2>/dev/null; then
    refused 'a static program' 'is statically linked, so nothing can be' \
        --libc -c "$default" -- "$tmp/static"
else
    skip 'a static program' 'no static libc'
fi

# ---- servers -----------------------------------------------------------------

cat >"$tmp/serve.py" <<'EOF'
import os, socket, sys
other = "libother" in os.environ.get("LD_PRELOAD", "")
memory = bytearray(b"x") * ((40 if other else 0) << 20)
listener = socket.create_server(("127.0.0.1", 0))
with open(sys.argv[1] + ".new", "w") as file:
    print(listener.getsockname()[1], file=file)
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    with listener.accept()[0] as client:
        client.sendall(b"200" if other else b"100")
EOF
cat >"$tmp/ask.py" <<'EOF'
import os, socket, sys
assert "LD_PRELOAD" not in os.environ
with open(sys.argv[1]) as file:
    port = int(file.read())
with socket.create_connection(("127.0.0.1", port)) as server:
    print("answers:", server.recv(10).decode())
EOF
ask="python3 '$tmp/ask.py' '$tmp/port'"
serve() { # WORDS...: of compare
    compare --libc --lib "$tmp/libother.so" "$@" -- sh -c "
        rm -f '$tmp/port'
        echo \$\$ >>'$tmp/servers'
        python3 '$tmp/serve.py' '$tmp/port' &
        echo \$! >>'$tmp/servers'
        wait"
}
serve -n 6 --warmup 0 --ready "$ask" --load "$ask" \
    --metric 'answers: ([0-9]+)' --json "$tmp/served.json"
holds 'a server under load' 0 out '^  other is 100.0 % better by figure than l'
alive() {
    while read -r pid; do
        kill -0 "$pid" 2>/dev/null && echo "$pid is alive"
    done
}
alive <"$tmp/servers" >"$tmp/why"
[ "$(wc -l <"$tmp/servers")" = 24 ] || echo 'not 12 servers' >>"$tmp/why"
judge 'each run has a server of its own, and nothing of it is left'
cp "$tmp/served.json" "$tmp/out"
status=0
json "memory is the server's" 0 \
    '.verdicts[] | select(.measure == "peak_rss_kib") | .ratio > 2' true
serve --ready "$ask" --load 'exit 5'
holds 'a load that fails' 1 err 'the load ended with status 5'
compare --libc --libc --ready false --load true -- sh -c 'exit 6'
holds 'a server that ends' 1 err 'sh ended with status 6 before the load had'
compare --libc --libc --ready true --load 'sleep 60' -- sh -c 'sleep 1; exit 0'
holds 'a server that ends under load' 1 err 'sh ended with status 0 before the'

# ---- Ctrl-C ------------------------------------------------------------------

# The third run waits for the signal, which must end it.
cat >"$tmp/waits" <<EOF
#!/bin/sh
echo \$\$ >>"$tmp/runs"
[ "\$(wc -l <"$tmp/runs")" -lt 3 ] || exec sleep 600
EOF
chmod +x "$tmp/waits"
: >"$tmp/runs"
"$ctl" compare --libc --libc --warmup 0 --json "$tmp/some.json" -- \
    "$tmp/waits" >"$tmp/out" 2>"$tmp/err" &
pid=$!
tries=0
while [ "$(wc -l <"$tmp/runs")" -lt 3 ] && [ $tries -lt 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -INT $pid
wait $pid
status=$?
holds 'Ctrl-C: what there is so far' 130 out 'base libc; interrupted$'
alive <"$tmp/runs" >"$tmp/why"
judge 'and the program is ended'
cp "$tmp/some.json" "$tmp/out"
status=0
json 'also as JSON' 0 '[.interrupted, [.contenders[].runs | length]]' \
    '[true,[1,1]]'

finish
