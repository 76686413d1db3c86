#!/bin/sh
# test_check_box.sh - hakctl check-box, also as it is installed.
set -u
# shellcheck source=tests/hakctl/lib.sh
. tests/hakctl/lib.sh

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
hakctl: check-box: $faulty/whole.so: spare: 2M is out of bounds: 0 to 1048576
EOF
bad_usage 'a value that is no number' $faulty/whole.so spare=much <<EOF
hakctl: check-box: $faulty/whole.so: spare: "much" is not a size (64, 4k, 4KiB, 1M)
EOF
bad_usage 'neither yes nor no' $faulty/whole.so zero=maybe <<EOF
hakctl: check-box: $faulty/whole.so: zero: "maybe" is none of yes, no, on, off, true, false, 1, 0
EOF
bad_usage 'none of the choices' $faulty/whole.so way=left <<EOF
hakctl: check-box: $faulty/whole.so: way: "left" is none of up, down
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

finish
