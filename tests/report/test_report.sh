#!/bin/sh
# test_report.sh - hakctl report and hakctl run --report: what the page says,
# that it is sound HTML that needs nothing else, and how they fail. If there is
# chromium, it also draws the page.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD
export LC_ALL=C.UTF-8

top=$(pwd -P)
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
export TMPDIR="$tmp"
said=$tmp/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh
ctl=$top/build/hakctl

try() { # NAME COMMAND...: succeeds
    name=$1
    shift
    "$@" >"$said" 2>&1
    result $? "$name"
}

# NAME STATUS TEXT COMMAND...: fails so, a line of stderr has TEXT, and there is
# no half-written page
fails() {
    name=$1 want=$2 text=$3
    shift 3
    "$@" >"$said" 2>&1
    got=$?
    [ "$got" = "$want" ] && grep -qF -e "$text" "$said" &&
        [ -z "$(find "$tmp" -name '*.tmp')" ]
    result $? "$name"
}

check() { # PAGE CHECK...
    page=$1
    shift
    for what in "$@"; do
        try "$page: $what" python3 tests/report/check.py "$tmp/$page.html" \
            "$what"
    done
}

value() { # PAGE EXPRESSION: of the page's figures, as Python
    python3 -c '
import sys
sys.path.insert(0, "tests/report")
import check
print(eval(sys.argv[2], {"page": check.Page(sys.argv[1]).data}))' \
        "$tmp/$1.html" "$2"
}

is() { # NAME PAGE EXPRESSION VALUE
    value "$2" "$3" >"$said" 2>&1
    [ "$(cat "$said")" = "$4" ]
    result $? "$1"
}

# ---- pages -------------------------------------------------------------------

python3 tests/report/samples.py "$tmp" || exit 1
all='form alone access figures sums contrast'

try 'a page of a timeline, a profile and reports' "$ctl" report \
    "$tmp/sample.timeline" "$tmp/sample.pb.gz" "$tmp/sample.json" \
    -o "$tmp/sample.html"
# shellcheck disable=SC2086
check sample $all stacks
is 'the process is that of the timeline' sample 'page["pid"]' 4711
is 'it ended' sample '[page["exited"], page["duration_ms"]]' '[True, 60100]'
is 'all points are rows' sample 'len(page["time"])' 60
is 'the peak of merged points counts' sample \
    'page["summary"][0]["value"] == 90 << 20' True
is 'a box that came later' sample \
    '[len(page["boxes"]), page["time"][0]["boxes"][3],
      page["time"][-1]["boxes"][3] >> 20]' '[4, 0, 3]'
is 'events are numbered' sample \
    '[(e["number"], e["event"]) for e in page["events"]]' \
    "[(1, 'route'), (2, 'load')]"
is 'bytes of the profile' sample \
    '[n >> 20 for n in list(page["profile"]["totals"].values())[:4]]' \
    '[33, 42, 105, 4]'
is 'what is not in memory is taken from pages, then caches, then live' sample \
    '[[(p[k] or 0) >> 20 for k in ("mapped", "memory")]
      for p in page["moments"][-1]["parts"]][:6]' \
    '[[56, 56], [3, 3], [19, 0], [7, 5], [4, 4], [1, 0]]'
is 'slot rounding is taken from live blocks' sample \
    '[p["mapped"] for p in page["moments"][-1]["parts"]][1]' 3211776
mkfifo "$tmp/pipe"
cat "$tmp/pipe" >"$tmp/piped.html" &
"$ctl" report "$tmp/sample.timeline" -o "$tmp/pipe" 2>"$tmp/err" &&
    wait && [ -p "$tmp/pipe" ] && grep -q '</html>' "$tmp/piped.html"
result $? 'a pipe is written, and no file put in its place'
is 'call sites have their callers' sample \
    '[(s["function"], s["caller"], s["where"])
      for s in page["profile"]["sites"]][1:]' \
    "[('cache_put', 'serve', 'app.c:11'), ('load', 'main', 'app.c:12')]"
is 'the other process is told of' sample \
    '"1 other process left files" in page["notes"][-1]' True

for kind in greedy quiet live; do
    try "a page of $kind.timeline" "$ctl" report "$tmp/$kind.timeline" \
        -o "$tmp/$kind.html"
    # shellcheck disable=SC2086
    check $kind $all
done
is 'a line that is being written is left out' live 'len(page["time"])' 3
is 'without a profile the page says so' quiet \
    '[page["profile"], "no heap profile" in page["notes"][0]]' '[None, True]'

try 'a page of a report alone' "$ctl" report "$tmp/sample.json" \
    -o "$tmp/report.html"
# shellcheck disable=SC2086
check report $all
is 'its RSS is not known' report \
    '[page["moments"][0]["rss"], page["summary"][0]["value"]]' '[None, None]'

# ---- advice ------------------------------------------------------------------

is 'nothing to change where nothing is large' quiet 'page["advice"]' '[]'
is 'each cause has its advice' greedy \
    'sorted(a["title"].split()[-1] for a in page["advice"])' \
    "['bytes', 'hakmem', 'large', 'mid_v35', 'midmt', 'other', 'purge', 'smallmid', 'tiny', 'ultra']"
is 'RSS is divided' greedy \
    '[(p["cause"], p["memory"] >> 20)
      for p in page["moments"][0]["parts"] if p["memory"]]' \
    "[('live', 70), ('pages', 90), ('caches', 560), ('purge', 90), ('meta', 0), ('files', 2), ('other', 347), ('sum', 1160)]"
is 'what no key changes has no lines' greedy \
    '[a["title"] for a in page["advice"] if not a["ini"]]' \
    "['Memory that is not of hakmem', 'The cache of box other']"
python3 tests/report/check.py "$tmp/greedy.html" advice conf/default.ini |
    python3 -c '
import sys
for i, text in enumerate(sys.stdin.read().split("\0")[:-1]):
    open(f"{sys.argv[1]}/advice{i}.ini", "w").write(text)' "$tmp"
for ini in "$tmp"/advice*.ini; do
    try "hakctl lint of $(basename "$ini")" "$ctl" lint "$ini"
done
last=$(find "$tmp" -name 'advice*.ini' | wc -l)
sed "s|/none.ini|$tmp/advice$((last - 1)).ini|" "$tmp/sample.json" \
    >"$tmp/has.json"
try 'a page of a process whose INI has all of it' "$ctl" report \
    "$tmp/greedy.timeline" "$tmp/has.json" -o "$tmp/has.html"
is 'lines that the INI has are not advised again' has \
    '[a["title"] for a in page["advice"] if a["ini"]]' \
    "['Free slots in pages of 257 to 1024 bytes']"

# ---- errors --------------------------------------------------------------------

bad() { # NAME TEXT ARGUMENTS...: status 1
    name=$1 text=$2
    shift 2
    fails "$name" 1 "$text" "$ctl" report -o "$tmp/none.html" "$@"
}
bad 'a file that is not there' "$tmp/gone: No such file" "$tmp/gone"
bad 'a folder' 'Is a directory' "$tmp/"
echo 'no JSON' >"$tmp/text"
bad 'a file of another kind' 'is no timeline, heap profile or JSON report' \
    "$tmp/text"
: >"$tmp/empty"
bad 'an empty file' 'is empty' "$tmp/empty"
sed '5s/.*/{"t":1,/' "$tmp/sample.timeline" >"$tmp/damaged"
bad 'a damaged line' "$tmp/damaged:5: is damaged" "$tmp/damaged"
head -c 300 "$tmp/sample.pb.gz" >"$tmp/cut.pb.gz"
bad 'a profile that was cut' 'cut.pb.gz' "$tmp/cut.pb.gz"
bad 'a profile alone' 'hakctl profile' "$tmp/sample.pb.gz"
head -n 1 "$tmp/sample.timeline" >"$tmp/head.timeline"
bad 'a timeline without points' 'no point of a timeline' "$tmp/head.timeline"
bad 'no such process' 'no process of this user' nobody
fails 'no page where none can be written' 1 'cannot write /proc/none' \
    "$ctl" report "$tmp/quiet.timeline" -o /proc/none
fails 'a folder in place of the page' 1 'Is a directory' \
    "$ctl" report "$tmp/quiet.timeline" -o "$tmp"
[ ! -e "$tmp/none.html" ]
result $? 'no page after an error'
cp "$tmp/quiet.html" "$tmp/old.html"
"$ctl" report "$tmp/damaged" -o "$tmp/old.html" 2>/dev/null
try 'an error leaves an old page as it was' cmp "$tmp/quiet.html" \
    "$tmp/old.html"
fails 'no arguments' 2 'no FILE or PID given' "$ctl" report

# A hakctl without the files of the page, and one without Chart.js.
mkdir -p "$tmp/a/bin" "$tmp/b/bin" "$tmp/b/share/hakmem"
cp build/hakctl "$tmp/a/bin"
cp build/hakctl "$tmp/b/bin"
cp -r tools/report "$tmp/b/share/hakmem"
fails 'without the files of the page' 1 'make puts them there' \
    "$tmp/a/bin/hakctl" report "$tmp/quiet.timeline" -o "$tmp/none.html"
try 'installed files of the page are found' "$tmp/b/bin/hakctl" report \
    "$tmp/quiet.timeline" -o "$tmp/installed.html"

# ---- hakctl run --report ---------------------------------------------------------

run() { # STATUS PROGRAM...
    want=$1
    shift
    rm -f "$tmp/run.html"
    "$ctl" run --report="$tmp/run.html" -- "$@" >"$tmp/out" 2>"$said"
    got=$?
    [ "$got" = "$want" ]
}

work='import sys, time; time.sleep(.5); x = [str(i) * 9 for i in range(200000)]; print(len(x))
print("to stderr", file=sys.stderr)'
run 0 env PYTHONMALLOC=malloc python3 -c "$work"
result $? 'a program, with its exit status'
[ "$(cat "$tmp/out")" = 200000 ] && grep -q 'to stderr' "$said"
result $? 'its output and error output'
grep -qF "report: $tmp/run.html" "$said"
result $? 'the place of the page'
# shellcheck disable=SC2086
check run $all
is 'its timeline has ten points a second' run \
    'page["time"][0]["t"] < 400' True
find "$tmp" -name 'hakmem-report-*' >"$said"
[ ! -s "$said" ]
result $? 'no files are left'

run 7 perl -e 'exit 7'
result $? 'another exit status'
# shellcheck disable=SC2016
run 143 perl -e 'sleep 1; kill "TERM", $$; sleep 9'
result $? 'the exit status of a program that is killed is that of a shell'
[ -s "$tmp/run.html" ]
result $? 'and there is a page'
run 127 "$tmp/gone"
result $? 'a program that is not there'
[ ! -e "$tmp/run.html" ] && ! grep -q report: "$said"
result $? 'has no page'
# shellcheck disable=SC2016
run 5 perl -e '$SIG{USR1} = sub { exit 5 }; print "ready\n"; $| = 1;
    kill "USR1", getppid; sleep 20'
result $? 'a signal to hakctl reaches the program'
run 0 perl -e 'system("true"); system("true")'
is 'children that write files are counted' run \
    'any("2 other processes" in note for note in page["notes"])' True
fails 'a page that cannot be written stops it at once' 2 'cannot write' \
    "$ctl" run --report=/proc/none -- echo started
! grep -q started "$said"
result $? 'before the program has run'
fails 'no --stats beside it' 2 '--report takes no --stats' \
    "$ctl" run --report -s -- true

# ---- a running process -------------------------------------------------------------

"$ctl" run --control -- perl -e 'open F, ">", shift; close F; sleep 30' \
    "$tmp/ready" &
pid=$!
i=0
while [ $i -lt 100 ] && ! "$ctl" stats $pid >/dev/null 2>&1; do
    i=$((i + 1))
    sleep .1
done
try 'a page of a running process' "$ctl" report $pid -o "$tmp/process.html"
kill $pid
wait $pid 2>/dev/null
# shellcheck disable=SC2086
check process $all
is 'its RSS is known' process 'page["moments"][0]["rss"] > 1 << 20' True
is 'what is missing is told' process \
    '"[stats] timeline = FILE" in " ".join(page["notes"])' True

# ---- in a browser --------------------------------------------------------------------

browse() { # PAGE: its elements once its script has run, to stdout
    timeout 60 chromium --headless=new --no-sandbox --disable-gpu \
        --user-data-dir="$tmp/chromium" --virtual-time-budget=3000 \
        --enable-logging=stderr --dump-dom "file://$tmp/$1.html" 2>"$said"
}

# tests/report/browser.js, added to the sample page, uses it as people do. It
# leaves what went wrong in the attribute data-wrong of the body.
in_browser() {
    python3 -c '
import re, sys
page = open(sys.argv[1], encoding="utf-8").read()
nonce = re.search("nonce-([0-9a-f]+)", page).group(1)
script = open("tests/report/browser.js", encoding="utf-8").read()
script = f"<script nonce=\"{nonce}\">{script}</script></body>"
sys.stdout.write(page.replace("</body>", script))' \
        "$tmp/sample.html" >"$tmp/browser.html"
    browse sample >"$tmp/dom"
    ! grep CONSOLE "$said"
    result $? 'no errors on the console'
    try 'charts and frames are drawn' python3 -c '
import re, sys
dom = open(sys.argv[1], encoding="utf-8").read()
assert re.search(r"<canvas[^>]*id=.time-chart.[^>]* width=", dom), "no chart"
assert len(re.findall("role=.treeitem", dom)) == 6, "no frames"
assert "RSS was highest after" in dom, "no summary of the chart"' "$tmp/dom"
    browse browser >"$tmp/dom"
    ! grep CONSOLE "$said"
    result $? 'no errors while it is used'
    grep -o 'data-wrong="[^"]*"' "$tmp/dom" >"$said"
    [ "$(cat "$said")" = 'data-wrong=""' ]
    result $? 'zoom, views, search, keys and columns work'
}

if command -v chromium >/dev/null; then
    in_browser
else
    skip 'the page in a browser' 'there is no chromium'
fi
finish
