#!/bin/sh
# test_hakctl.sh - hakctl and lint.sh, every command: good and bad input, exact
# words and exit codes. TAP; run from the repository root after
# `make tests`.
#
# Works on a tree like an installed one, in a directory of its own, so that
# what the real boxes and configurations say may change.
set -u
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD LD_LIBRARY_PATH
export LC_ALL=C

top=$(pwd -P)
tmp=$(mktemp -d) || exit 1
tmp=$(cd "$tmp" && pwd -P)
trap 'rm -rf "$tmp"' EXIT

# ---- asking and judging ----------------------------------------------------

n=0
ok() { # NAME, of the status before
    [ $? = 0 ] && good= || good='not '
    n=$((n + 1))
    echo "${good}ok $n - $1"
}

skip() {
    n=$((n + 1))
    echo "ok $n - $1 # SKIP $2"
}

# COMMAND...: leaves out, err (our directories as TMP and TOP) and status
try() {
    "$@" >"$tmp/out.raw" 2>"$tmp/err.raw"
    status=$?
    sed "s|$tmp|TMP|g; s|$top|TOP|g" "$tmp/out.raw" >"$tmp/out"
    sed "s|$tmp|TMP|g; s|$top|TOP|g" "$tmp/err.raw" >"$tmp/err"
}

says() { # NAME STATUS out|err: exactly what comes on stdin, the other nothing
    other=out
    [ "$3" = err ] || other=err
    cat >"$tmp/want"
    {
        [ "$status" = "$2" ] || echo "status $status, not $2"
        diff "$tmp/want" "$tmp/$3"
        sed "s/^/std$other: /" "$tmp/$other"
    } >"$tmp/why"
    judge "$1"
}

holds() { # NAME STATUS out|err PATTERN: a line matches
    {
        [ "$status" = "$2" ] || echo "status $status, not $2"
        grep -q -e "$4" "$tmp/$3" || {
            echo "no line like $4 in std$3:"
            cat "$tmp/$3"
        }
    } >"$tmp/why"
    judge "$1"
}

judge() { # NAME: good when why is empty
    [ ! -s "$tmp/why" ]
    ok "$1"
    sed 's/^/# /' "$tmp/why"
}

json() { # NAME STATUS FILTER RESULT: of stdout, compact
    {
        [ "$status" = "$2" ] || echo "status $status, not $2"
        got=$(jq -c "$3" "$tmp/out" 2>&1)
        [ "$got" = "$4" ] || printf '%s\nis not\n%s\n' "$got" "$4"
    } >"$tmp/why"
    judge "$1"
}

# ---- the tree ----------------------------------------------------------------

prefix=$tmp/prefix
ctl=$prefix/bin/hakctl
mkdir -p "$prefix/bin" "$prefix/lib/hakmem" "$prefix/share/hakmem/conf"
cp build/hakctl build/hakctl-check-box "$prefix/bin"
cp build/libhakmem.so.1 "$prefix/lib"

box() { # FILE FLAGS...
    out=$1
    shift
    "${CC:-gcc}" "$@" -std=gnu11 -O1 -shared -fPIC -fvisibility=hidden \
        -Iframework/include -o "$out" tests/hakctl/sample.c
}
box "$prefix/lib/hakmem/sample.so" || exit 1
box "$prefix/lib/hakmem/swift.so" -DLANES || exit 1
box "$prefix/lib/hakmem/bare.so" -DBARE || exit 1
box "$tmp/crashes.so" -DCRASHES || exit 1
echo 'no box' >"$tmp/text.so"

cat >"$prefix/share/hakmem/conf/default.ini" <<'EOF'
[box swift]
[box sample]
[box bare]
[route small]
box = swift
fallback = sample
[policy]
17-512 = small
513-1024 = sample
1025- = bare
0-16 = bare
[profile other]
policy.C4 = bare
EOF
default=$prefix/share/hakmem/conf/default.ini

# ---- hakctl itself -------------------------------------------------------------

version=$(sed -n 's/^#define HAK_VERSION "\(.*\)"/\1/p' framework/include/hakmem/version.h)
try "$ctl" --version
says 'version' 0 out <<EOF
hakctl $version, box ABI 1.7
EOF

cat >"$tmp/usage" <<'EOF'
usage: hakctl COMMAND [ARGS]

  run       run a program on hakmem
  boxes     what box files say of themselves
  lint      find the faults in configurations
  explain   where a request of that size goes, and why
  fuse      a configuration as sources, for make fused
  version   which hakctl, or how libraries were built
  check-box does a box keep the contract, property by property
  call      call functions of a foreign box's library
  check-so  calls of any library as test cases
  help      this text, or that of a command

hakctl help COMMAND says more; hakctl --version says which.
EOF
try "$ctl"
says 'no command' 2 err <"$tmp/usage"
try "$ctl" help
says 'help' 0 out <"$tmp/usage"
try "$ctl" --help
says '--help' 0 out <"$tmp/usage"
for command in run boxes lint explain fuse version check-box help; do
    try "$ctl" help $command
    holds "help $command" 0 out "^usage: hakctl $command "
done
try "$ctl" help run
cp "$tmp/out" "$tmp/help"
try "$ctl" run --help
says 'run --help is help run' 0 out <"$tmp/help"
try "$ctl" lnit
says 'unknown command, one is near' 2 err <<'EOF'
hakctl: unknown command "lnit"; did you mean "lint"?
EOF
try "$ctl" frobnicate
says 'unknown command, none is near' 2 err <<'EOF'
hakctl: unknown command "frobnicate"; hakctl help lists them
EOF
try "$ctl" help explian
says 'help of an unknown command' 2 err <<'EOF'
hakctl: unknown command "explian"; did you mean "explain"?
EOF
for command in run boxes lint explain check-box; do
    try "$ctl" $command --frob
    says "$command: unknown option" 2 err <<EOF
hakctl: $command: unknown option "--frob"; see hakctl help $command
EOF
done
try "$ctl" lint -x
says 'unknown letter' 2 err <<'EOF'
hakctl: lint: unknown option "-x"; see hakctl help lint
EOF
try "$ctl" run -c
says 'option without its value' 2 err <<'EOF'
hakctl: run: option -c needs a value; see hakctl help run
EOF
if [ -c /dev/full ]; then
    "$ctl" help 2>"$tmp/err" >/dev/full
    status=$?
    : >"$tmp/out"
    says 'output that cannot be written' 2 err <<'EOF'
hakctl: cannot write the output: No space left on device
EOF
fi

# ---- boxes -----------------------------------------------------------------------

try "$ctl" boxes sample
says 'boxes NAME' 0 out <<'EOF'
sample 2.1  TMP/prefix/lib/hakmem/sample.so
  says "no"
  sizes       16-1024
  served by   calls
  ABI         1.7
  operations  alloc free owns init usable_size slot_size
  number             int   default 5, -1 to 10, may change at run time
                     things that are kept
  limit              size  default 64k, 4k to 1M
                     bytes that are kept
  wait               ms    default 100, 0 to 1000
                     milliseconds between
  mode               enum  default small, one of fast|small
                     what is sought
  loud               bool  default yes
                     say it
  greeting           text  default good "day"
                     what is said
EOF
try "$ctl" boxes "$prefix/lib/hakmem/bare.so"
says 'boxes FILE.so, one that needs the header' 0 out <<'EOF'
bare 0.1  TMP/prefix/lib/hakmem/bare.so
  sizes       any
  served by   calls
  ABI         1.7
  operations  alloc free owns
  no usable_size: the core adds a header of 16 bytes to each request
EOF
try "$ctl" boxes swift
holds 'boxes of a box with lanes' 0 out '^  served by   lanes$'
try "$ctl" boxes
{
    grep -c '^[a-z]* [0-9.]*  TMP' "$tmp/out"
    grep -c '^$' "$tmp/out"
    wc -c <"$tmp/err"
} | tr -d ' ' >"$tmp/got"
printf '3\n2\n0\n' | cmp -s - "$tmp/got"
ok 'boxes shows all, a blank line between'
(cd "$prefix/lib/hakmem" && PATH=$prefix/bin:$PATH && hakctl boxes sample.so) \
    >"$tmp/out" 2>&1
status=$?
holds 'boxes FILE.so without a slash, hakctl by PATH' 0 out \
    '^sample 2.1  sample.so$'

try "$ctl" boxes --json
json 'boxes --json: the array' 0 '[.[] | .id]' '["bare","sample","swift"]'
json 'boxes --json: a box' 0 '.[1] | del(.parameters, .file)' \
    '{"id":"sample","version":"2.1","summary":"says \"no\"","abi":"1.7","kit":0,"min_bytes":16,"max_bytes":1024,"lanes":false,"header_bytes":0,"operations":["init","usable_size","slot_size"]}'
json 'boxes --json: numbers' 0 '.[1].parameters[0:3]' \
    '[{"name":"number","type":"int","mutable":true,"default":5,"min":-1,"max":10,"help":"things that are kept"},{"name":"limit","type":"size","mutable":false,"default":65536,"min":4096,"max":1048576,"help":"bytes that are kept"},{"name":"wait","type":"ms","mutable":false,"default":100,"min":0,"max":1000,"help":"milliseconds between"}]'
json 'boxes --json: words' 0 '[.[1].parameters[3:6][] | [.default, .choices]]' \
    '[["small","fast|small"],[true,null],["good \"day\"",null]]'
json 'boxes --json: a box with the header' 0 '.[0] | [.summary, .header_bytes]' \
    '[null,16]'

try "$ctl" boxes smaple
says 'boxes of an unknown NAME, one is near' 2 err <<'EOF'
hakctl: no box "smaple" in TMP/prefix/lib/hakmem; did you mean "sample"?
EOF
try "$ctl" boxes nothing-like-it
says 'boxes of an unknown NAME, none is near' 2 err <<'EOF'
hakctl: no box "nothing-like-it" in TMP/prefix/lib/hakmem; for a file elsewhere give its path
EOF
try "$ctl" boxes no/such.so
says 'boxes of no file' 2 err <<'EOF'
hakctl: no/such.so cannot be opened: No such file or directory
EOF
try "$ctl" boxes "$tmp/text.so"
says 'boxes of a text' 1 err <<'EOF'
hakctl: TMP/text.so is no shared object (no ELF header)
EOF
try "$ctl" boxes build/tests/boxes/no_entry.so
says 'boxes of another library' 1 err <<'EOF'
hakctl: build/tests/boxes/no_entry.so does not export hak_box_entry: is it a box? Put HAK_BOX_EXPORT before its entry, so that -fvisibility cannot hide it
EOF
try "$ctl" boxes build/tests/boxes/other_major.so
holds 'boxes of another ABI' 1 err 'is for box ABI 2, this core speaks 1; rebuild'
try "$ctl" boxes --json "$tmp/text.so" bare
json 'boxes --json: a file that is no box' 1 '[.[] | [.file, .id, .error]]' \
    "[[\"TMP/text.so\",null,\"is no shared object (no ELF header)\"],[\"TMP/prefix/lib/hakmem/bare.so\",\"bare\",null]]"
try "$ctl" boxes --json nothing-like-it
json 'boxes --json of nothing' 2 . '[]'

# ---- lint ------------------------------------------------------------------------

try "$ctl" lint "$default"
says 'lint of a good INI' 0 out </dev/null
try "$ctl" lint --json "$default"
json 'lint --json of a good INI' 0 . '[]'
try "$ctl" lint
says 'lint of nothing' 2 err <<'EOF'
hakctl: lint: no INI given, as in hakctl lint conf/default.ini
EOF

cat >"$tmp/bad.ini" <<EOF
[core]
fallbak = libc
[box sample]
numbr = 1
mode = slow
lanes = perhaps
[box gone]
[box odd]
path = $tmp/text.so
[policy]
C0-C7 = sample
1025- = odd
EOF
try "$ctl" lint "$tmp/bad.ini"
says 'lint: errors of reading and of loading, by line' 2 out <<'EOF'
TMP/bad.ini:2: error: unknown key "fallbak" in [core]; did you mean "fallback"?
TMP/bad.ini:4: error: unknown key "numbr" in [box sample]; did you mean "number"?
TMP/bad.ini:5: error: "mode" in [box sample]: "slow" is none of fast, small
TMP/bad.ini:6: error: "lanes" in [box sample]: "perhaps" is none of yes, no, on, off, true, false, 1, 0
TMP/bad.ini:7: error: box gone: TMP/prefix/lib/hakmem/gone.so cannot be opened: No such file or directory
TMP/bad.ini:9: error: box odd: TMP/text.so is no shared object (no ELF header)
EOF
try "$ctl" lint --json "$tmp/bad.ini"
json 'lint --json' 2 '[length, .[2]]' \
    '[6,{"file":"TMP/bad.ini","line":5,"level":"error","text":"\"mode\" in [box sample]: \"slow\" is none of fast, small"}]'

cat >"$tmp/ranges.ini" <<'EOF'
[box sample]
[box bare]
[box swift]
[route mixed]
box = sample
fallback = swift
[policy]
C0-C7 = sample
1025-4k = mixed
4097- = swift
EOF
try "$ctl" lint "$tmp/ranges.ini"
says 'lint: sizes that a box is not made for; unreached box' 1 out <<'EOF'
TMP/ranges.ini:2: warning: no rule of [policy] reaches box "bare"
TMP/ranges.ini:8: warning: "C0-C7" leads 0-0 to box "sample", which is made for 16-1024 bytes
TMP/ranges.ini:9: warning: "1025-4k" leads 1025-4096 to box "sample", which is made for 16-1024 bytes
TMP/ranges.ini:9: warning: "1025-4k" leads 1025-4096 to box "swift", which is made for 16-1024 bytes
TMP/ranges.ini:10: warning: "4097-" leads 4097- to box "swift", which is made for 16-1024 bytes
EOF
try "$ctl" lint --json "$tmp/ranges.ini"
json 'lint --json of warnings' 1 '[.[] | .level] | unique' '["warning"]'

cat >"$tmp/profiles.ini" <<'EOF'
[box sample]
[policy]
17-1024 = sample
[profile a]
box sample.number = 11
[profile b]
box sample.number = 10
EOF
cat >"$tmp/base" <<'EOF'
TMP/profiles.ini:2: warning: no rule covers 0-16, 1025-: libc serves these sizes
EOF
try "$ctl" lint "$tmp/profiles.ini"
{
    cat "$tmp/base"
    echo 'TMP/profiles.ini:5: error: "number" in [box sample]: 11 is out of bounds: -1 to 10 (with profile a)'
} >"$tmp/both"
says 'lint tries every profile' 2 out <"$tmp/both"
try "$ctl" lint -p b "$tmp/profiles.ini"
says 'lint -p tries that profile' 1 out <"$tmp/base"
HAKMEM_PROFILE=b
export HAKMEM_PROFILE
try "$ctl" lint "$tmp/profiles.ini"
says 'lint heeds HAKMEM_PROFILE' 1 out <"$tmp/base"
unset HAKMEM_PROFILE
try "$ctl" lint -p c "$tmp/profiles.ini"
holds 'lint -p of an unknown profile' 2 out \
    '^TMP/profiles.ini: error: no \[profile c\] in TMP/profiles.ini; known: a, b$'

try env HAKMEM_BOX_SAMPLE_NUMBER=12 "$ctl" lint "$default"
says 'lint heeds the environment' 2 out <<'EOF'
environment HAKMEM_BOX_SAMPLE_NUMBER: error: "number" in [box sample]: 12 is out of bounds: -1 to 10
EOF
try "$ctl" lint no.ini "$tmp" "$default"
says 'lint of no file and of a directory' 2 out <<'EOF'
no.ini: error: cannot open: No such file or directory
TMP: error: is a directory, not a file
EOF
try "$ctl" lint --json no.ini
json 'lint --json of no file' 2 '.[0] | [.file, .line]' '["no.ini",null]'

printf '[box sample]\nf\344l\303\244\355\240\200 = \303\244\n[policy]\nC4 = sample\n' \
    >"$tmp/latin.ini"
try "$ctl" lint --json "$tmp/latin.ini"
json 'lint --json of what is no UTF-8' 2 '.[0].text' \
    '"unknown key \"f�lä���\" in [box sample]"'

cat >"$tmp/crash.ini" <<EOF
[box sample]
[box worse]
path = $tmp/crashes.so
[policy]
0- = sample
EOF
try "$ctl" lint "$tmp/crash.ini" "$default"
holds 'lint outlives a box that crashes' 2 out \
    '^TMP/crash.ini:2: error: box worse: loading it (dlopen, init): Segmentation fault$'

# FAULTY.INI PATTERN: what comes on stdin, linted
finds() {
    cat >"$tmp/$1"
    try "$ctl" lint "$tmp/$1"
    holds "lint of $1" "${3:-2}" out "$2"
}
finds section.ini '^TMP/section.ini:1: error: unknown section \[boks x\]; did you mean \[box x\]?$' <<'EOF'
[boks x]
EOF
finds type.ini '^TMP/type.ini:2: error: type = native: the one type is foreign, ' <<'EOF'
[box x]
type = native
[policy]
0- = x
EOF
finds fallbacks.ini '"SMALL, sample" is more than one name; it takes one route' <<'EOF'
[box sample]
[route SMALL]
box = sample
fallback = SMALL, sample
[policy]
0- = SMALL
EOF
finds key.ini 'there is no \[sample\]; the key of a box begins "box sample\."$' <<'EOF'
[box sample]
[policy]
0- = sample
[profile p]
sample.lanes = off
EOF
finds reports.ini '^TMP/reports.ini:5: warning: \[stats\] at_exit = /no/such cannot be written: /no: No such file' 1 <<'EOF'
[box sample]
[policy]
0- = sample
[stats]
at_exit = /no/such
EOF
try env HAKMEM_STATS_AT_EXIT=/no/such HAKMEM_CONF=conf/default.ini LD_PRELOAD="$top/build/libhakmem.so" true
holds 'at_exit that cannot be written is told at the start' 0 err \
    '^hakmem: \[stats\] at_exit = /no/such: cannot be opened: No such file or directory$'
cat >"$tmp/init.c" <<'EOF'
#include <hakmem/box.h>
extern void _exit(int);
static void *nothing(struct hak_box *b, size_t n) { (void)b; (void)n; return 0; }
static void take(struct hak_box *b, void *p) { (void)b; (void)p; }
static bool own(struct hak_box *b, const void *p) { (void)b; (void)p; return 0; }
static int init(struct hak_box *b) { (void)b; INIT; return 0; }
HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("x", "1"),
    .ops = {.alloc = nothing, .free = take, .owns = own, .init = init}};
EOF
inits() { # INIT PATTERN: a box whose init does that
    "${CC:-gcc}" -shared -fPIC -Iframework/include "-DINIT=$1" \
        -o "$tmp/init.so" "$tmp/init.c"
    finds init.ini "$2" <<'EOF'
[core]
trial_s = 1
[box x]
path = ./init.so
[policy]
0- = x
EOF
}
inits 'return 7' 'box x: its init returned 7; it may return 0, or -errno'
inits 'for (;;);' 'it did not end within 1 s; \[core\] trial_s is how long'
inits '_exit(0)' 'box x: .* it ended the process, with exit status 0$'

for ini in conf/*.ini; do
    build/hakctl lint "$ini" >"$tmp/why" 2>&1
    [ $? -lt 2 ] && : >"$tmp/why"
    judge "lint finds no error in $ini"
done

# ---- explain -----------------------------------------------------------------------

try "$ctl" explain 100
says 'explain: two boxes that would serve' 0 out <<'EOF'
100 bytes: size index 7, 97-112, class C3
  rule   17-512 = small  (TMP/prefix/share/hakmem/conf/default.ini:8)
  route  swift > sample > libc  (TMP/prefix/share/hakmem/conf/default.ini:5)
  boxes  swift serves: slot 112, waste 12 (10.7 %), by lane, priority 0
         TMP/prefix/lib/hakmem/swift.so
         sample stands by: slot 128, waste 28 (21.9 %), by call, priority 10
         TMP/prefix/lib/hakmem/sample.so
EOF
try "$ctl" explain 1040,0x400
says 'explain: a list; a slot of unknown size' 0 out <<'EOF'
1040 bytes: size index 65, 1025-1152
  rule   1025- = bare  (TMP/prefix/share/hakmem/conf/default.ini:10)
  route  bare > libc  (TMP/prefix/share/hakmem/conf/default.ini:10)
  boxes  bare serves: a slot of unknown size, 16 of it the core's header, by call, priority 20
         TMP/prefix/lib/hakmem/bare.so

1024 bytes: size index 64, 1009-1024, class C7
  rule   513-1024 = sample  (TMP/prefix/share/hakmem/conf/default.ini:9)
  route  sample > libc  (TMP/prefix/share/hakmem/conf/default.ini:9)
  boxes  sample serves: slot 1024, waste 0 (0.0 %), by call, priority 10
         TMP/prefix/lib/hakmem/sample.so
EOF
try env HAKMEM_POLICY_1025_=sample HAKMEM_CORE_FALLBACK=none "$ctl" explain 1M
says 'explain: a rule of the environment; nobody serves' 0 out <<'EOF'
1048576 bytes: size index 129, 262145-
  rule   1025- = sample  (environment HAKMEM_POLICY_1025_)
  route  sample > none  (environment HAKMEM_POLICY_1025_)
  boxes  sample declines, priority 10
         TMP/prefix/lib/hakmem/sample.so
  malloc fails: no box takes it, and the fallback is none
EOF
try "$ctl" explain -p other 200
holds 'explain -p' 0 out '^  rule   C4 = bare  (TMP.*default.ini:13)$'
try "$ctl" explain -c "$tmp/profiles.ini" 4k
: >"$tmp/err" # the warning of it, judged below
says 'explain -c, a size that no rule covers' 0 out <<'EOF'
4096 bytes: size index 80, 3841-4096
  rule   none covers it
  route  libc  (fallback, built-in)
  libc serves it
EOF
try env HAKMEM_CONF="$tmp/profiles.ini" "$ctl" explain 100
holds 'explain: warnings' 0 err '^TMP/profiles.ini:2: warning: no rule covers'
holds 'explain heeds HAKMEM_CONF' 0 out '(TMP/profiles.ini:3)$'

try "$ctl" explain --json 100 1M
json 'explain --json' 0 '.[0]' \
    '{"size":100,"index":7,"class":"C3","rule":{"sizes":"17-512","file":"TMP/prefix/share/hakmem/conf/default.ini","line":8},"route":{"name":"small","file":"TMP/prefix/share/hakmem/conf/default.ini","line":5},"chain":[{"box":"swift","verdict":"serves","path":"TMP/prefix/lib/hakmem/swift.so","priority":0,"by":"lane","header_bytes":0,"slot_bytes":112,"waste_bytes":12},{"box":"sample","verdict":"stands by","path":"TMP/prefix/lib/hakmem/sample.so","priority":10,"by":"call","header_bytes":0,"slot_bytes":128,"waste_bytes":28}],"last":"libc"}'
json 'explain --json: a large size' 0 \
    '.[1] | [.class, .chain[0].verdict, .chain[0].slot_bytes]' \
    '[null,"serves",null]'
try "$ctl" explain --json -c "$tmp/profiles.ini" 4k
json 'explain --json: no rule' 0 '.[0] | [.rule, .route, .chain, .last]' \
    '[null,null,[],"libc"]'

cat >"$tmp/learner.ini" <<'EOF'
[box sample]
[box swift]
[policy]
0- = sample
[learner]
mode = apply
[rule one]
classes = C3,C4
when = share > 10%
route = swift
[rule two]
classes = C4
route = swift
EOF
try "$ctl" explain -c "$tmp/learner.ini" 200
holds 'explain: what rules may do' 0 out \
    '^  learns rule one may move it to swift  (TMP/learner.ini:7)$'
holds 'explain: all of them' 0 out \
    '^  learns rule two may move it to swift  (TMP/learner.ini:11)$'
try "$ctl" explain --json -c "$tmp/learner.ini" 100 300
json 'explain --json: what rules may do' 0 '[.[].learner]' \
    '[[{"rule":"one","route":"swift","file":"TMP/learner.ini","line":7}],[]]'
try env HAKMEM_LEARNER_MODE=off "$ctl" explain -c "$tmp/learner.ini" 100
! grep -q learns "$tmp/out"
ok 'explain: not when it is off'

cat >"$tmp/sampled.ini" <<'EOF'
[core]
sample = swift
sample_every = 70
[box swift]
[box sample]
[policy]
1- = sample
EOF
try "$ctl" explain -c "$tmp/sampled.ini" 200
holds 'explain: who is asked first now and then' 0 out \
    '^  sample one in 70 goes to box swift first  (TMP/sampled.ini:2)$'
try "$ctl" explain --json -c "$tmp/sampled.ini" 100
json 'explain --json: the sampling box' 0 '[.[].sample]' \
    '[{"every":70,"box":"swift"}]'

cat >"$tmp/gone.ini" <<'EOF'
[box gone]
[box sample]
[route r]
box = gone
fallback = sample
[policy]
0- = r
EOF
try "$ctl" explain -c "$tmp/gone.ini" 64
holds 'explain: a box that is left out' 1 out '^  boxes  gone left out$'
holds 'explain: the next one serves then' 1 out '^         sample serves: '
holds 'explain: why it is left out' 1 err \
    '^TMP/gone.ini:1: error: box gone: TMP/.*/gone.so cannot be opened'
try "$ctl" explain 64q
says 'explain of no size' 2 err <<'EOF'
hakctl: explain: "64q" is not a size (64, 4k, 4KiB, 1M)
EOF
try "$ctl" explain 64,,4k
says 'explain of a comma too many' 2 err <<'EOF'
hakctl: explain: "" is not a size (64, 4k, 4KiB, 1M)
EOF
try "$ctl" explain 0x8000000000000000
says 'explain of too large a size' 2 err <<'EOF'
hakctl: explain: "0x8000000000000000" is more than any malloc gives
EOF
try "$ctl" explain
says 'explain of nothing' 2 err <<'EOF'
hakctl: explain: no size given, as in hakctl explain 64,4k
EOF
try "$ctl" explain -c no.ini 64
says 'explain with no INI' 2 err <<'EOF'
no.ini: error: cannot open: No such file or directory
hakctl: no.ini has errors, so libc would serve all sizes; hakctl lint shows them
EOF

# ---- run ---------------------------------------------------------------------------

# shellcheck disable=SC2016
show='echo "$HAKMEM_CONF|$HAKMEM_PROFILE|$LD_PRELOAD|$HAKMEM_STATS_AT_EXIT"'
try "$ctl" run -- sh -c "$show"
says 'run sets the environment' 0 out <<'EOF'
TMP/prefix/share/hakmem/conf/default.ini||TMP/prefix/lib/libhakmem.so.1|
EOF
cp "$default" "$tmp/own.ini"
try env LD_PRELOAD=libm.so.6 sh -c \
    "cd '$tmp' && exec '$ctl' run -c own.ini -p other sh -c '$show'"
says 'run -c -p: absolute path, other preloads kept' 0 out <<'EOF'
TMP/own.ini|other|TMP/prefix/lib/libhakmem.so.1:libm.so.6|
EOF
try "$ctl" run -s -- true
holds 'run -s reports at exit' 0 err '^hakmem [0-9.]*: true ('
try "$ctl" run -s -- env sh -c 'true; ls >/dev/null; :'
[ "$(grep -c '^hakmem [0-9.]*: ls ' "$tmp/err")" = 0 ]
ok 'run -s reports the program, not what it starts'
try "$ctl" run --stats-all -- env sh -c 'true; ls >/dev/null; :'
holds 'run --stats-all reports those too' 0 err '^hakmem [0-9.]*: ls ('
HAKMEM_STATS_AT_EXIT=STDERR try "$ctl" run -- true
holds 'at_exit: STDERR is stderr' 0 err '^hakmem [0-9.]*: true ('
sed 's|^\[box \(.*\)\]|&\npath = '"$prefix"'/lib/hakmem/\1.so|' "$default" \
    >"$tmp/paths.ini"
try build/hakctl run -s -c "$tmp/paths.ini" -- true
holds 'run of the build tree' 0 err '^hakmem [0-9.]*: true ('
try "$ctl" run -- sh -c 'exit 3'
says 'run returns what the program does' 3 out </dev/null
try "$ctl" run -- sh -c 'echo "$#" "$@"' sh -c -- x
says 'run leaves the arguments alone' 0 out <<'EOF'
3 -c -- x
EOF

try "$ctl" run
says 'run of nothing' 2 err <<'EOF'
hakctl: run: no program given, as in hakctl run -- ls -l
EOF
try "$ctl" run -- no-such-program
says 'run of a program that is not there' 127 err <<'EOF'
hakctl: cannot run no-such-program: No such file or directory
EOF
try "$ctl" run -- "$tmp/own.ini"
says 'run of a file that is no program' 126 err <<'EOF'
hakctl: cannot run TMP/own.ini: Permission denied
EOF
try "$ctl" run -c no.ini -- true
says 'run -c of no file' 2 err <<'EOF'
hakctl: configuration no.ini: No such file or directory; -c INI names another
EOF
try "$ctl" run -c "$tmp" -- true
says 'run -c of a directory' 2 err <<'EOF'
hakctl: configuration TMP is not a regular file; -c INI names another
EOF
try "$ctl" run -c "$tmp/bad.ini" -- echo started
holds 'run prints the errors of the INI' 2 err '^TMP/bad.ini:5: error: "mode"'
holds 'run says what that means' 2 err \
    '^hakctl: TMP/bad.ini has errors, so the program was not started$'
[ ! -s "$tmp/out" ]
ok 'run starts nothing then'
try "$ctl" run -c "$tmp/ranges.ini" -- echo started
holds 'run starts the program for all warnings' 0 out '^started$'
holds 'run prints the warnings' 0 err '^TMP/ranges.ini:2: warning: '
try "$ctl" run -p none-such -- true
holds 'run -p of an unknown profile' 2 err 'no \[profile none-such\] in '

if echo 'int main(void) { return 4; }' |
    "${CC:-gcc}" -static -x c -o "$tmp/static" - 2>/dev/null; then
    try "$ctl" run -- "$tmp/static"
    says 'run warns of a static program' 4 err <<'EOF'
hakctl: warning: TMP/static is statically linked, so nothing can be preloaded; it runs without hakmem
EOF
    printf '#include <stdlib.h>\nint main(void) { return system("ls / >/dev/null"); }\n' |
        "${CC:-gcc}" -static -x c -o "$tmp/starter" - 2>/dev/null
    try "$ctl" run --stats-all -- "$tmp/starter"
    holds 'what a static program starts runs on hakmem' 0 err \
        '^hakmem [0-9.]*: ls ('
else
    skip 'run warns of a static program' 'cannot link one'
    skip 'what a static program starts runs on hakmem' 'cannot link one'
fi
cp /bin/true "$tmp/raised"
if [ "$(id -u)" = 0 ] && chown nobody "$tmp/raised" 2>/dev/null; then
    chmod 4755 "$tmp/raised"
    try "$ctl" run -- "$tmp/raised"
    says 'run warns of a setuid program' 0 err <<'EOF'
hakctl: warning: TMP/raised runs with raised rights, and the loader passes over LD_PRELOAD then; it runs without hakmem
EOF
else
    skip 'run warns of a setuid program' 'needs root'
fi
printf '#!/bin/sh\necho script\n' >"$tmp/script"
chmod +x "$tmp/script"
try "$ctl" run -- "$tmp/script"
says 'run of a script' 0 out <<'EOF'
script
EOF

mkdir -p "$tmp/lone/bin"
cp build/hakctl "$tmp/lone/bin"
try "$tmp/lone/bin/hakctl" run -c "$tmp/own.ini" -- true
holds 'run without boxes' 2 err '^TMP/own.ini:1: error: box swift: '
try "$tmp/lone/bin/hakctl" run -- true
says 'run without a configuration' 2 err <<'EOF'
hakctl: no default configuration found; name one by -c INI or HAKMEM_CONF=INI
EOF
mkdir "$tmp/lone/lib"
cp -r "$prefix/lib/hakmem" "$tmp/lone/lib"
try "$tmp/lone/bin/hakctl" run -c "$tmp/own.ini" -- true
says 'run without the library' 2 err <<'EOF'
hakctl: no libhakmem.so in TMP/lone/bin nor libhakmem.so.1 in TMP/lone/bin/../lib; make builds the one, make install the other
EOF
cp -r "$prefix" "$tmp/a blank"
try "$tmp/a blank/bin/hakctl" run -- true
says 'run from a path with a blank' 2 err <<'EOF'
hakctl: TMP/a blank/lib/libhakmem.so.1 cannot be preloaded: blank and ":" separate names in LD_PRELOAD; move or link it to a path without them
EOF
rm -r "$tmp/lone/lib/hakmem"
mkdir "$tmp/lone/lib/hakmem"
try "$tmp/lone/bin/hakctl" boxes --json
json 'boxes --json without any' 1 . '[]'
holds 'boxes without any' 1 err \
    '^hakctl: no boxes in TMP/lone/lib/hakmem; give FILE.so$'

# ---- check-box -------------------------------------------------------------------

faulty=build/tests/boxes
bad_usage() { # NAME WORDS...: what comes on stdin, status 2
    name=$1
    shift
    try "$ctl" check-box "$@"
    says "check-box: $name" 2 err
}

try "$ctl" help check-box
cp "$tmp/out" "$tmp/help"
try "$ctl" check-box x.so --help
says 'check-box --help is help check-box' 0 out <"$tmp/help"
bad_usage 'no box' <<'EOF'
hakctl: check-box: no box given, as in hakctl check-box ./mine.so
EOF
bad_usage 'no such file' nosuch.so <<'EOF'
hakctl: check-box: ./nosuch.so: No such file or directory
EOF
bad_usage 'a directory' "$tmp" <<'EOF'
hakctl: check-box: TMP: Is a directory
EOF
bad_usage 'no ELF file' "$tmp/text.so" <<'EOF'
hakctl: check-box: TMP/text.so is no shared object; build it with cc -shared -fPIC
EOF
bad_usage 'no entry' $faulty/no_entry.so <<EOF
hakctl: check-box: $faulty/no_entry.so does not export hak_box_entry: is it a box? Put HAK_BOX_EXPORT before its entry, so that -fvisibility cannot hide it
EOF
bad_usage 'a program' "$ctl" <<'EOF'
hakctl: check-box: TMP/prefix/bin/hakctl: cannot dynamically load position-independent executable
EOF
bad_usage 'unknown property, one is near' $faulty/whole.so aligment <<'EOF'
hakctl: check-box: no property "aligment"; did you mean "alignment"?
EOF
bad_usage 'unknown property, none is near' $faulty/whole.so init 'x*' <<'EOF'
hakctl: check-box: no property "x*"; hakctl check-box --list lists them
EOF
bad_usage 'unknown parameter, one is near' $faulty/whole.so spar=1 <<EOF
hakctl: check-box: $faulty/whole.so: no parameter "spar"; did you mean "spare"?
EOF
bad_usage 'unknown parameter, none is near' $faulty/three.so spare=1 <<EOF
hakctl: check-box: $faulty/three.so: no parameter "spare"; hakctl boxes FILE.so lists them
EOF
bad_usage 'a value out of bounds' $faulty/whole.so spare=2M <<EOF
hakctl: check-box: $faulty/whole.so: spare = 2M: not in 0..1048576
EOF
bad_usage 'a value that is no number' $faulty/whole.so spare=much <<EOF
hakctl: check-box: $faulty/whole.so: spare = much: not a number
EOF
bad_usage 'neither yes nor no' $faulty/whole.so zero=maybe <<EOF
hakctl: check-box: $faulty/whole.so: zero = maybe: not one of no|yes|off|on|false|true|0|1
EOF
bad_usage 'none of the choices' $faulty/whole.so way=left <<EOF
hakctl: check-box: $faulty/whole.so: way = left: not one of up|down
EOF
bad_usage 'no time' $faulty/whole.so --timeout 1h <<'EOF'
hakctl: check-box: --timeout 1h: not a number of seconds, 1..86400
EOF
bad_usage 'an option without its value' $faulty/whole.so --timeout <<'EOF'
hakctl: check-box: option --timeout needs a value; see hakctl help check-box
EOF
try "$ctl" check-box --list
awk 'NF < 3' "$tmp/out" >"$tmp/why"
[ "$status" = 0 ] && grep -q '^alignment  *every slot is' "$tmp/out" ||
    echo "status $status, or no line for alignment" >>"$tmp/why"
judge 'check-box --list'

try "$ctl" check-box $faulty/whole.so spare=8k way=down alignment 'file_t*'
says 'check-box of a good box' 0 out <<'EOF'
ok 1 - file_tls
ok 2 - alignment
ok 3 - alignment_direct
1..3
EOF
try "$ctl" check-box $faulty/three.so alignment_direct zalloc
says 'check-box: what a box has not is skipped, with the reason' 0 out <<'EOF'
ok 1 - alignment_direct # SKIP the box has no lanes to turn off
ok 2 - zalloc # SKIP the box has no zalloc
ok 3 - zalloc_direct # SKIP the box has no lanes to turn off
1..3
EOF
# shellcheck disable=SC2016 # the other shell expands them
try sh -c 'cd "$1" && "$2" check-box three.so init' sh $faulty "$ctl"
holds 'check-box of a name without a slash' 0 out '^ok 1 - init$'
try "$ctl" check-box $faulty/broken_bounds.so spare=0 alignment init
says 'check-box: a box that does not open fails once' 1 out <<'EOF'
not ok 1 - init: SIGFPE (broken_bounds.so, in init(), seed 1)
Bail out! broken_bounds.so does not open: nothing else can be tried
1 of 1 failed: init
EOF
try "$ctl" check-box $faulty/broken_bounds.so spare=0 alignment visit_slots
says 'check-box: also where init was not asked for' 1 out <<'EOF'
Bail out! broken_bounds.so does not open: SIGFPE (in init())
EOF
try "$ctl" check-box $faulty/broken_alignment.so --seed 7 alignment content_kept
sed -i 's/0x[0-9a-f]*/P/; s/alloc([0-9]*)/alloc(N)/' "$tmp/out"
says 'check-box: a cause is told once, with box, operation and seed' 1 out <<'EOF'
not ok 1 - alignment: SIGABRT: testhost: box checked: slot P is not 16-byte aligned (broken_alignment.so, after alloc(N), seed 7)
#   testhost: box checked: slot P is not 16-byte aligned
ok 2 - alignment_direct # SKIP the box has no lanes to turn off
not ok 3 - content_kept: as in 1 - alignment (broken_alignment.so, after alloc(N), seed 7)
ok 4 - content_kept_direct # SKIP the box has no lanes to turn off
1..4
2 of 4 failed: alignment, content_kept
EOF
try "$ctl" check-box $faulty/broken_alignment.so --json alignment init
json 'check-box --json' 1 '[.failed, .of, .bail_out, .seed,
    (.properties[1] | .property, .result, .as, .call[0:11]),
    .properties[2].result]' \
    '[1,3,null,1,"alignment","failed",null,"after alloc","skipped"]'
try "$ctl" check-box $faulty/broken_alignment.so --in-process alignment
holds 'check-box --in-process: the fault is of this process' 134 err \
    'is not 16-byte aligned$'
try "$ctl" check-box $faulty/whole.so --in-process alignment
holds 'check-box --in-process of what holds' 0 out '^alignment holds$'
bad_usage '--in-process of more than one' $faulty/whole.so --in-process \
    'owns_*' <<'EOF'
hakctl: check-box: --in-process runs one property: name it, as in hakctl check-box mine.so --in-process alignment
EOF
try "$ctl" check-box --timeout 1 $faulty/broken_hang.so alignment \
    power_of_two_working_sets trim_keeps_the_living entry_words
says 'check-box: a hang is one line, the others still run' 1 out <<'EOF'
ok 1 - entry_words
ok 2 - alignment
ok 3 - alignment_direct # SKIP the box has no lanes to turn off
not ok 4 - power_of_two_working_sets: timed out after 1 s (broken_hang.so, in alloc(32), seed 1)
ok 5 - power_of_two_working_sets_direct # SKIP the box has no lanes to turn off
ok 6 - trim_keeps_the_living # SKIP the box has no trim
ok 7 - trim_keeps_the_living_direct # SKIP the box has no lanes to turn off
1..7
1 of 7 failed: power_of_two_working_sets
EOF
try "$ctl" check-box "$tmp/crashes.so" file_tls init
holds 'check-box of a box that crashes in init' 1 out \
    '^not ok 2 - init: SIGSEGV (crashes.so, in init(), seed 1)$'
try "$ctl" check-box $faulty/init_fails.so init
holds 'check-box of a box whose init fails' 1 out \
    '^not ok 1 - init: .*init of checked failed: -12 (init_fails.so, after init(), seed 1)$'
mkdir "$tmp/alone"
cp build/hakctl "$tmp/alone"
try "$tmp/alone/hakctl" check-box $faulty/whole.so
says 'check-box: the suite is not there' 2 err <<'EOF'
hakctl: cannot run TMP/alone/hakctl-check-box: No such file or directory; make builds it, make install puts it there
EOF

for file in "$prefix/lib/hakmem/sample.so" build/boxes/*.so; do
    try "$ctl" check-box "$file" 'file_*'
    cp "$tmp/out" "$tmp/why"
    [ "$status" = 0 ] && : >"$tmp/why"
    judge "check-box: the file ${file##*/} follows the rules"
done
cat >"$tmp/calls.c" <<'EOF'
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
double hak_box_entry(double x);
double second(double x);
static __thread double third;
double hak_box_entry(double x)
{
    void *p = malloc((size_t)x);
    printf("%p %p\n", p, mmap(p, 1, 2, 3, 4, 5));
    dlopen("x", RTLD_NOW);
    third += x;
    return cos(third);
}
double second(double x)
{
    return x;
}
EOF
"${CC:-gcc}" -shared -fPIC -o "$tmp/calls.so" "$tmp/calls.c" -lm
try "$ctl" check-box "$tmp/calls.so" 'file_*'
sed -n 's/^#   # //p' "$tmp/out" | sort >"$tmp/sorted"
cp "$tmp/sorted" "$tmp/out"
says 'check-box: all that a file may do wrong, a line each' 1 out <<'EOF'
calls dlopen: a box opens nothing
calls malloc: memory comes from host->map and host->meta
calls mmap: address space comes from host->map
exports second: only hak_box_entry may be visible; make it static or build with -fvisibility=hidden
has thread-local variables (PT_TLS): keep what belongs to a thread in the heap that heap_open makes
needs libm.so.6: a box may need libc.so.6 alone
uses printf: a box never prints; host->log does
EOF

# ---- installed -------------------------------------------------------------------

try make -s install DESTDIR="$tmp/dest" PREFIX=/opt/hakmem
{
    [ "$status" = 0 ] || cat "$tmp/out" "$tmp/err"
} >"$tmp/why"
judge 'make install'
there=$tmp/dest/opt/hakmem
try "$there/bin/hakctl" check-box "$there/lib/hakmem/ultra.so" 'entry_*'
says 'installed: check-box' 0 out <<'EOF'
ok 1 - entry_versions
ok 2 - entry_operations
ok 3 - entry_words
1..3
EOF
ln -s "$there/bin/hakctl" "$tmp/alone/link"
try "$tmp/alone/link" check-box "$there/lib/hakmem/ultra.so" entry_words
holds 'installed: check-box by a link' 0 out '^ok 1 - entry_words$'

# ---- lint.sh ---------------------------------------------------------------------

lint_tools() {
    for tool in git clang-format-14 clang-tidy cppcheck shellcheck; do
        command -v "$tool" >/dev/null || return 1
    done
}

if lint_tools; then
    repo=$tmp/repo
    mkdir -p "$repo/tools" "$repo/framework" "$repo/plugins" \
        "$repo/build/boxes"
    cp tools/lint.sh "$repo/tools"
    cp build/hakctl build/hakctl-check-box "$repo/build"
    cp .clang-format .clang-tidy "$repo"
    cp "$prefix/lib/hakmem/bare.so" "$repo/build/boxes"
    printf 'int least(int a);\nint least(int a)\n{\n    return a;\n}\n' \
        >"$repo/framework/good.c"
    git -C "$repo" init -q
    git -C "$repo" add framework tools .clang-format .clang-tidy
    try "$repo/tools/lint.sh"
    says 'lint.sh finds nothing' 0 out <<'EOF'
clang-format   ok    1 files
clang-tidy     ok    1 files
cppcheck       ok    1 files
boxes          ok    1 boxes
shellcheck     ok    1 scripts
paths          ok    4 files
lint: 6 steps, nothing found
EOF
    cp build/tests/boxes/with_tls.so "$repo/build/boxes"
    cat >"$repo/framework/bad.c" <<'EOF'
int least(int a);
int least(int a) {
    int at[2] = {1, 2};
    if (a);
    return at[2];
}
EOF
    # shellcheck disable=SC2016
    echo 'echo $1' >"$repo/tools/bad.sh"
    echo "see $repo/README" >"$repo/notes"
    git -C "$repo" add framework tools notes
    try "$repo/tools/lint.sh"
    cp "$tmp/out" "$tmp/all"
    grep -v '^  ' "$tmp/all" >"$tmp/out"
    says 'lint.sh: every step fails' 1 out <<'EOF'
clang-format   FAIL
clang-tidy     FAIL
cppcheck       FAIL
boxes          FAIL
shellcheck     FAIL
paths          FAIL
lint: 6 steps, failed: clang-format clang-tidy cppcheck boxes shellcheck paths
EOF
    cp "$tmp/all" "$tmp/out"
    holds 'lint.sh: format' 1 out \
        '^    framework/bad.c: not formatted; make format does it$'
    holds 'lint.sh: clang-tidy' 1 out 'bad.c:4:.*\[bugprone-suspicious-semicolon'
    holds 'lint.sh: cppcheck' 1 out 'bad.c:5.*at\[2\].*out of bounds'
    holds 'lint.sh: boxes' 1 out '^    build/boxes/with_tls.so:$'
    holds 'lint.sh: boxes' 1 out 'not ok . - file_tls: has thread-local variables'
    holds 'lint.sh: shellcheck' 1 out 'tools/bad.sh line 1:'
    holds 'lint.sh: paths' 1 out \
        '^    notes:1:see TMP/repo/README   <- a path of one machine'
    rm -rf "$repo/.git"
    try env GIT_CEILING_DIRECTORIES="$tmp" "$repo/tools/lint.sh"
    holds 'lint.sh without git' 2 err '^lint: git tracks no file here'
else
    skip 'lint.sh' 'needs git, clang-format-14, clang-tidy, cppcheck, shellcheck'
fi

echo "1..$n"
