#!/bin/sh
# test_run.sh - hakctl run: a program on hakmem.
set -u
# shellcheck source=tests/hakctl/lib.sh
. tests/hakctl/lib.sh

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
grep '^hakmem [0-9.]*: ls ' "$tmp/err" >"$tmp/why"
judge 'run -s reports the program, not what it starts'
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

# shellcheck disable=SC2016
show='echo "$HAKMEM_HEAP_PROFILE_FILE|$HAKMEM_HEAP_PROFILE_EVERY"'
try sh -c "cd '$tmp' && exec '$ctl' run --heap-profile -- sh -c '$show'"
says_out() { # NAME: stdout as on stdin, whatever is on stderr
    diff - "$tmp/out" >"$tmp/why"
    judge "$1"
}
says_out 'run --heap-profile: an absolute path' <<'EOF'
TMP/hakmem-heap.%p.pb.gz|
EOF
holds 'run --heap-profile says the file' 0 err \
    'read it by: hakctl profile TMP/hakmem-heap.[0-9]*.pb.gz$'
try "$ctl" run --heap-profile="$tmp/a.pb.gz" --heap-profile-every=4k -- \
    sh -c "$show"
says_out 'run --heap-profile=FILE --heap-profile-every' <<'EOF'
TMP/a.pb.gz|4k
EOF
try "$ctl" run --heap-profile="$tmp/none/a.pb.gz" -- true
says 'run --heap-profile in no folder' 2 err <<'EOF'
hakctl: run: --heap-profile=TMP/none/a.pb.gz: TMP/none: No such file or directory
EOF
try "$ctl" run --heap-profile="$tmp" -- true
says 'run --heap-profile of a folder' 2 err <<'EOF'
hakctl: run: --heap-profile=TMP: is a folder; name a file in it
EOF
try "$ctl" run --heap-profile=a.folded -- true
holds 'run --heap-profile of another format' 2 err 'FILE --collapsed or --text'
try "$ctl" run --heap-profile-every=few -- true
holds 'run --heap-profile-every=few' 2 err '"few" is not a size'
try "$ctl" run --heap-profile-all="$tmp/a.pb.gz" -- true
holds 'run --heap-profile-all of one file' 2 err 'the name needs a %p'
# A shell that lives on, and a program that it starts.
mkdir "$tmp/one" "$tmp/all"
work='python3 -c "x = [str(i) for i in range(100000)]"; exit'
try "$ctl" run --heap-profile="$tmp/one/%p.pb.gz" -- bash -c "$work"
try "$ctl" run --heap-profile-all="$tmp/all/%p.pb.gz" -- bash -c "$work"
find "$tmp/one" "$tmp/all" -type f >"$tmp/why"
[ "$(grep -c /one/ "$tmp/why")" = 1 ] &&
    [ "$(grep -c /all/ "$tmp/why")" -gt 1 ] && : >"$tmp/why"
judge 'run --heap-profile of the program alone, -all of what it starts too'
try "$ctl" run --fused "$tmp" --heap-profile -- true
holds 'run --fused --heap-profile' 2 err '^hakctl: run: --fused takes no --heap'

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
cp "$tmp/out" "$tmp/why"
judge 'run starts nothing then'
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

finish
