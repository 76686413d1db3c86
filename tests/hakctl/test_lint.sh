#!/bin/sh
# test_lint.sh - hakctl lint: the faults in configurations.
set -u
# shellcheck source=tests/hakctl/lib.sh
. tests/hakctl/lib.sh

try "$ctl" lint "$default"
says 'lint of a good INI' 0 out </dev/null
try "$ctl" lint --json "$default"
json 'lint --json of a good INI' 0 . '[]'
try "$ctl" lint
says 'lint of nothing' 2 err <<'EOF'
hakctl: lint: no INI given, as in hakctl lint conf/default.ini
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

finish
