#!/bin/sh
# test_foreign.sh - foreign boxes: every way to describe one badly, each with its
# one message; what hakctl says of them; calls of their libraries. TAP; run from
# the repository root after `make tests`.
set -u
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD LD_LIBRARY_PATH GLIBC_TUNABLES
export LC_ALL=C

# shellcheck source=tests/programs/modes.sh
. tests/programs/modes.sh

ctl=$(pwd)/build/hakctl
lib=$(pwd)/build/libhakmem.so
libs=$(pwd)/build/tests/foreign
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

said=$tmp/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

is() { # NAME WANT GOT
    printf 'wanted: %s\ngot:    %s\n' "$2" "$3" >"$said"
    [ "$2" = "$3" ]
    result $? "$1"
}

has() { # NAME PATTERN TEXT
    printf 'no line like: %s\ngot: %s\n' "$2" "$3" >"$said"
    printf '%s\n' "$3" | grep -q -e "$2"
    result $? "$1"
}

# ---- bad input: one message, with file and line ------------------------------

# Its stdin are the keys of [box x]; the policy leads all to it.
ini() {
    {
        echo '[box x]'
        echo 'type = foreign'
        cat
        echo '[policy]'
        echo '0- = x'
    } >"$tmp/x.ini"
}

bad() { # NAME WANT, stdin: as ini
    ini
    (cd "$tmp" && "$ctl" lint x.ini) >"$tmp/out" 2>&1
    is "$1" "$2" "$(cat "$tmp/out")"
    got=$(cd "$tmp" && HAKMEM_CONF=x.ini LD_PRELOAD=$lib /bin/echo served \
        2>/dev/null)
    is "$1: the program runs" served "$got"
}

good='alloc = malloc(size) -> ptr
free = free(ptr)
owns = residual'

cp "$libs/odd.so" "$tmp/odd.so"
cp "$libs/odd.so" "$tmp/narrow.so"
printf '\001' | dd of="$tmp/narrow.so" bs=1 seek=4 conv=notrunc 2>/dev/null
cp "$libs/odd.so" "$tmp/arm.so"
printf '\267' | dd of="$tmp/arm.so" bs=1 seek=18 conv=notrunc 2>/dev/null
head -c 3000 "$libs/odd.so" >"$tmp/cut.so"

bad 'no path' 'x.ini:2: error: box x: no path = LIBRARY, as in path = libjemalloc.so.2' <<EOF
$good
EOF
bad 'no calls' 'x.ini:2: error: box x: needs alloc =, free = and owns =, as in alloc = malloc(size) -> ptr, free = free(ptr), owns = residual' <<EOF
path = libc.so.6
EOF
bad 'no such library' 'x.ini:2: error: box x: cannot be loaded: libnone.so.9: cannot open shared object file: No such file or directory' <<EOF
path = libnone.so.9
$good
EOF
bad 'no library of any of the names' 'x.ini:2: error: box x: cannot be loaded: there is no libnone.so.8 | libnone.so.9' <<EOF
path = libnone.so.8 | libnone.so.9
$good
EOF
bad 'a symbol missing in the first library that there is' 'x.ini:2: error: box x: free = fre(ptr): the library has no symbol "fre"; nm -D FILE lists them' <<EOF
path = libnone.so.8 | libc.so.6 | libm.so.6
alloc = malloc(size) -> ptr
free = fre(ptr)
owns = residual
EOF
bad 'names that are none' 'x.ini:2: error: box x: cannot be loaded: there is no |' <<EOF
path = |
$good
EOF
bad 'a 32-bit library' 'x.ini:2: error: box x: ./narrow.so is for another kind of machine; build it for x86-64' <<EOF
path = ./narrow.so
$good
EOF
bad 'a library of another machine' 'x.ini:2: error: box x: ./arm.so is for another kind of machine; build it for x86-64' <<EOF
path = ./arm.so
$good
EOF
bad 'a library that is cut short' 'x.ini:2: error: box x: ./cut.so is not whole; copy or build it again' <<EOF
path = ./cut.so
$good
EOF
bad 'no library' 'x.ini:2: error: box x: ./x.ini is no shared object (no ELF header)' <<EOF
path = ./x.ini
$good
EOF
bad 'a variable for a function' 'x.ini:2: error: box x: alloc = environ(size) -> ptr: "environ" of the library is a variable, no function' <<EOF
path = libc.so.6
alloc = environ(size) -> ptr
free = free(ptr)
owns = residual
EOF
bad 'symbol missing' 'x.ini:2: error: box x: alloc = mallok(size) -> ptr: the library has no symbol "mallok"; nm -D FILE lists them' <<EOF
path = libc.so.6
alloc = mallok(size) -> ptr
free = free(ptr)
owns = residual
EOF
bad 'signature wrong' 'x.ini:4: error: "alloc" in [box x]: expected "," or ")" at character 13, before "-> ptr"' <<EOF
path = libc.so.6
alloc = malloc(size -> ptr
free = free(ptr)
owns = residual
EOF
bad 'type unknown' 'x.ini:4: error: "alloc" in [box x]: "int" is no type (bool i32 u32 i64 u64 size ptr f64 cstr) at character 14, before "int:0) -> ptr"' <<EOF
path = libc.so.6
alloc = malloc(size, int:0) -> ptr
free = free(ptr)
owns = residual
EOF
bad 'signature too long' 'x.ini:4: error: "alloc" in [box x]: more than 12 parameters at character 71, before "size) -> ptr"' <<EOF
path = libc.so.6
alloc = m(ptr:0,ptr:0,ptr:0,ptr:0,ptr:0,ptr:0,ptr:0,ptr:0,i32:0,i32:0,i32,i32,size) -> ptr
free = free(ptr)
owns = residual
EOF
bad 'no pointer' 'x.ini:2: error: box x: alloc = malloc(size): it gives no ptr, as in alloc = malloc(size) -> ptr' <<EOF
path = libc.so.6
alloc = malloc(size)
free = free(ptr)
owns = residual
EOF
bad 'a value left open' 'x.ini:2: error: box x: free = free(ptr, i32): parameter 2 has no value here; give it one, as in i32:0, or begin with free = free(ptr)' <<EOF
path = libc.so.6
alloc = malloc(size) -> ptr
free = free(ptr, i32)
owns = residual
EOF
bad 'a role missing' 'x.ini:2: error: box x: alloc = malloc(size:3) -> ptr: each of its roles is needed once, as in alloc = malloc(size) -> ptr' <<EOF
path = libc.so.6
alloc = malloc(size:3) -> ptr
free = free(ptr)
owns = residual
EOF
bad 'no such owner' 'x.ini:2: error: box x: owns = residul: it is residual, region or a call, as in owns(ptr) -> bool' <<EOF
path = libc.so.6
alloc = malloc(size) -> ptr
free = free(ptr)
owns = residul
EOF
bad 'a region that nobody gets' 'x.ini:2: error: box x: owns = region needs an init = that hands the region over, as in manage(region, region_size)' <<EOF
path = libc.so.6
alloc = malloc(size) -> ptr
free = free(ptr)
owns = region
EOF
bad 'a region that init does not hand over' 'x.ini:2: error: box x: owns = region: alloc gave no block of the region; either init does not hand it over, or another box has this library' <<EOF
path = libc.so.6
alloc = malloc(size) -> ptr
free = free(ptr)
owns = region
init = abs(i32:1) -> i32
EOF
# What functions of ours are asked for, and what of it cannot be.
hooked() { # NAME WANT KEYS
    bad "$1" "x.ini:2: error: box x: $2" <<EOF
path = ./odd.so
alloc = odd_alloc(f64:1.5, size, i32:3) -> ptr
free = odd_free(ptr, f64:1.5)
owns = region
init = odd_start(cstr:"x", out hooks) -> i32 == 0
$3
EOF
}
take='take = t(size) -> ptr'
roles='each of its roles is needed once, as in'
ours='a pointer or size that says nothing to us is u64'
hooked 'hooks that are not there' 'init: parameter 2 of odd_start has no value here; give it one, as in ptr:0, or set hooks = take ...' ''
hooked 'hooks without take' 'hooks and take go together, as in hooks = take none and take = take(size, align) -> ptr' 'hooks = none'
hooked 'take without hooks' 'hooks and take go together, as in hooks = take none and take = take(size, align) -> ptr' "$take"
hooked 'a hook unknown' 'hooks: "tkae" is none of take give purge none zero one' "hooks = take tkae
$take"
hooked 'a hook undescribed' 'hooks: give, and there is no give =, as in give = give(ptr, size) -> i32 == 0' "hooks = take give
$take"
hooked 'too many hooks' 'hooks: more than 16' "hooks = none none none none none none none none none none none none none none none none take
$take"
hooked 'take without a size' "take: $roles take = take(size, align) -> ptr; $ours" 'hooks = take
take = t(align) -> ptr'
hooked 'take of two sizes' "take: $roles take = take(size, align) -> ptr; $ours" 'hooks = take
take = t(size, size) -> ptr'
hooked 'take that gives no pointer' 'take: what it gives is as in take = take(size, align) -> ptr' 'hooks = take
take = t(size) -> i32'
hooked 'give that does not say when' 'give: what it gives is as in give = give(ptr, size) -> i32 == 0' "hooks = take give
$take
give = g(ptr, size) -> i32"
hooked 'purge without a pointer' "purge: $roles purge = purge(ptr, size) -> i32 == 0; $ours" "hooks = take purge
$take
purge = p(u64, size) -> i32 == 0"
hooked 'a name of the library in take' 'take: parameter 2 cannot be compared with that' 'hooks = take
take = t(size, ptr:&odd_level) -> ptr'
hooked 'a function that cannot be' 'take: libffi makes no function like t: "..." cannot be in it' 'hooks = take
take = t(size, ..., i32) -> ptr'
bad 'hooks without a region' 'x.ini:2: error: box x: hooks give out memory of the region: set owns = region' <<EOF
path = libc.so.6
$good
hooks = take
$take
EOF
# shellcheck disable=SC2016
bad 'a value that nothing keeps' 'x.ini:2: error: box x: alloc: no call before odd_alloc keeps a $size, as out ptr=size does' <<EOF
path = ./odd.so
alloc = odd_alloc(f64:1.5, size, i32:\$size) -> ptr
free = odd_free(ptr, f64:1.5)
owns = odd_owns(ptr) -> bool
init = odd_start(cstr:"x", out u64=level) -> i32 == 0
EOF
# shellcheck disable=SC2016
bad 'kept later than it is named' 'x.ini:2: error: box x: init: no call before odd_asked keeps a $level, as out ptr=level does' <<EOF
path = ./odd.so
alloc = odd_alloc(f64:1.5, size, i32:3) -> ptr
free = odd_free(ptr, f64:1.5)
owns = odd_owns(ptr) -> bool
init = odd_asked(i32:\$level), odd_start(cstr:"x", out u64=level) -> i32 == 0
EOF

bad 'init fails' 'x.ini:2: error: box x: init: odd_start failed: it returned -1' <<EOF
path = ./odd.so
alloc = odd_alloc(f64:1.5, size, i32:3) -> ptr
free = odd_free(ptr, f64:1.5)
owns = odd_owns(ptr) -> bool
init = odd_start(cstr:"y", out u64) -> i32 == 0
EOF
bad 'key unknown' 'x.ini:7: error: unknown key "aloc" in [box x]; did you mean "alloc"?' <<EOF
path = libc.so.6
$good
aloc = malloc(size) -> ptr
EOF
bad 'a polled call with an open value' 'x.ini:2: error: box x: call level: to be polled, it is one call whose parameters all have values' <<EOF
path = libc.so.6
$good
[call level]
box = x
call = abs(i32) -> i32
poll = yes
EOF
bad 'a call of no box' 'x.ini:8: error: "box" in [call level]: there is no box "y"' <<EOF
path = libc.so.6
$good
[call level]
box = y
call = abs(i32) -> i32
EOF

ini <<EOF
path = $libs/crash.so
$good
EOF
is 'a library that crashes at load' \
    'x.ini:1: error: box x: loading it (dlopen, init): Illegal instruction' \
    "$(cd "$tmp" && "$ctl" lint x.ini 2>&1)"

printf 'void _exit(int);\n__attribute__((constructor)) void go(void) { _exit(0); }\n' >"$tmp/go.c"
${CC:-cc} -shared -fPIC -o "$tmp/go.so" "$tmp/go.c"
sed "s,^path = .*,path = $tmp/go.so," "$tmp/x.ini" >"$tmp/go.ini"
is 'a library that ends the process' \
    'go.ini:1: error: box x: loading it (dlopen, init): it ended the process, with exit status 0' \
    "$(cd "$tmp" && "$ctl" lint go.ini 2>&1)"
is 'as explain says it' "$tmp/x.ini:1: error: box x: loading it (dlopen, init): Illegal instruction" \
    "$("$ctl" explain 100 -c "$tmp/x.ini" 2>&1)"
is 'and call' "$tmp/x.ini:1: error: box x: loading it (dlopen, init): Illegal instruction" \
    "$("$ctl" call "$tmp/x.ini" x 'f()' 2>&1)"
is 'and boxes' "hakctl: $libs/crash.so is no box that can be loaded: Illegal instruction" \
    "$("$ctl" boxes "$libs/crash.so" 2>&1)"
is 'by hand the program dies of it, as linked with it' 132 \
    "$(HAKMEM_CONF=$tmp/x.ini LD_PRELOAD=$lib sh -c : 2>/dev/null; echo $?)"

cat >"$tmp/two.ini" <<EOF
[box a]
type = foreign
path = libc.so.6
$good
[box b]
type = foreign
path = $libs/odd.so
alloc = odd_alloc(f64:1.5, size, i32:3) -> ptr
free = odd_free(ptr, f64:1.5)
owns = residual
[policy]
0-32k = a
32769- = b
EOF
is 'two residual boxes' 'two.ini:8: error: box b: owns = residual, as box a has; one box of a process may be so, give one of them owns = SYMBOL(ptr) -> bool' \
    "$(cd "$tmp" && "$ctl" lint two.ini)"
is 'the other one serves' 5000000 "$(HAKMEM_CONF=$tmp/two.ini \
    LD_PRELOAD=$lib perl -e 'print length("x" x 5000000)' 2>/dev/null)"

has 'it is not fused' 'box glibc cannot be fused: its library is opened' \
    "$("$ctl" fuse -c conf/foreign/glibc.ini -o "$tmp/fused" 2>&1)"

# ---- what is said of good ones -----------------------------------------------

odd=tests/foreign/odd.ini
is 'lint: libffi under 32 KiB' "$odd:13: warning: \"0-1024\" leads sizes under 32 KiB to box \"odd\", whose alloc or free goes through libffi, some tens of ns a call; docs/foreign.md lists the shapes that have an adapter" \
    "$("$ctl" lint $odd)"
answer=$("$ctl" explain 100 -c $odd)
has 'explain: libffi' 'alloc by libffi: odd_alloc(f64:1.5, size, i32:\*odd_level) -> ptr' "$answer"
has 'explain: adapter' 'owns by adapter: odd_owns(ptr) -> bool' "$answer"
has 'explain: cost' 'alloc and free: [0-9]* ns a pair, measured here' "$answer"
has 'explain: JSON' '"calls":"adapter"' \
    "$("$ctl" explain 100 --json -c conf/foreign/glibc.ini)"
answer=$("$ctl" boxes -c $odd)
has 'boxes -c: libffi' '^  alloc by libffi: odd_alloc(f64:1.5, size' "$answer"
has 'boxes -c: adapter' '^  owns by adapter: odd_owns(ptr) -> bool' "$answer"
has 'boxes -c: cost' '^  alloc and free: [0-9]* ns a pair, measured here' "$answer"
has 'boxes -c: the header' '^  no usable size: .* a header of 16 bytes' "$answer"
has 'boxes -c: one of ours' '^  served by   lanes' "$answer"
has 'boxes -c: JSON' '"calls":\["alloc by adapter: mallocx(.*"pair_ns":[0-9]' \
    "$("$ctl" boxes --json -c conf/foreign/jemalloc.ini)"
is 'boxes -c: a box that is left out' 1 \
    "$("$ctl" boxes -c "$tmp/two.ini" >/dev/null 2>&1; echo $?)"
is 'boxes -c: and a file' 2 \
    "$("$ctl" boxes -c $odd ultra >/dev/null 2>&1; echo $?)"
has 'boxes: calls are parameters' '  alloc  *call  default none' \
    "$("$ctl" boxes foreign)"

is 'libffi, headers, malloc inside alloc' 0 "$(HAK_TEST_MODE=odd \
    HAKMEM_CONF=$odd LD_PRELOAD=$lib build/tests/preload/family |
    grep -c '^not ok')"

# Each block of odd costs a question when it is resized, and one when it is
# freed; the program's own start costs some.
{
    sed "s,../../build,$(pwd)/build," $odd
    printf '[call asked]\nbox = odd\ncall = odd_asked() -> u64\npoll = yes\n'
} >"$tmp/asked.ini"
cat >"$tmp/asked.c" <<'EOF'
#include <stdlib.h>
int main(void)
{
    char *volatile p;
    for (int i = 0; i < 10000; i++) {
        p = malloc(50);
        p = realloc(p, 500);
        free(p);
    }
    return 0;
}
EOF
${CC:-cc} -o "$tmp/asked" "$tmp/asked.c"
asked=$("$ctl" run -s -c "$tmp/asked.ini" -- "$tmp/asked" 2>&1 |
    sed -n 's/^counts odd: asked //p')
is 'realloc asks once whose a block is' 2 "$((${asked:-0} / 10000))"

# ---- an allocator on memory of ours, which it takes by functions of ours -----

hooked=tests/foreign/hooked.ini
# shellcheck disable=SC2016
blocks='for (1..200) { my $x = "a" x (300000 + $_ * 1000); } print "done\n"'
answer=$("$ctl" run -s -c $hooked -- perl -e "$blocks" 2>&1)
has 'hooks: the program runs' '^done$' "$answer"
has 'hooks: all that was taken came back' '^counts hooked: given [1-9]' "$answer"
has 'hooks: none declined' '^hooked  *\([1-9][0-9]*\)  *\1  *0 .* 0$' "$answer"
has 'hooks: what does not fit is declined, and served' '^hooked .* [1-9][0-9]*$' \
    "$("$ctl" run -s -c $hooked -- perl -e '@x = map { "a" x 9000000 } 1..9;' 2>&1)"
is 'hooks: the contract' 0 "$("$ctl" check-box -c $hooked hooked --may-decline \
    alignment zalloc aligned_blocks 'owns_*' fork_with_threads |
    grep -c '^not ok')"
is 'a kept value in a declared call' 'result i32 154' \
    "$("$ctl" call $hooked hooked 'key()' 2>/dev/null)"

# What a system does that lets nobody make code.
cat >"$tmp/nocode.c" <<'EOF'
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 77;
    execvp(argv[1], argv + 1);
    return 78;
}
EOF
${CC:-cc} -o "$tmp/nocode" "$tmp/nocode.c"
is 'hooks: no code may be made' \
    "$hooked:3: error: box hooked: take: no memory that can be executed: Operation not permitted" \
    "$("$tmp/nocode" "$ctl" lint $hooked 2>&1 | grep error)"
is 'hooks: the program runs without them' served "$("$tmp/nocode" env \
    HAKMEM_CONF=$hooked LD_PRELOAD="$lib" /bin/echo served 2>/dev/null)"
# The signal that comes with this limit would end the program.
has 'hooks: a limit of file sizes' \
    'take: no memory that can be executed: File too large$' "$(ulimit -f 0
    HAKMEM_CONF=$hooked LD_PRELOAD="$lib" exec /bin/echo served 2>&1)"
is 'hooks: the program runs under that limit' served "$(ulimit -f 0
    HAKMEM_CONF=$hooked LD_PRELOAD="$lib" exec /bin/echo served 2>/dev/null)"

# ---- call, check-so, check-box -----------------------------------------------

cat >"$tmp/call.ini" <<EOF
[box c]
type = foreign
path = libc.so.6
$good
[call length]
box = c
call = strlen(cstr) -> size
[call scan]
box = c
call = sscanf(cstr, cstr:"%d", ..., out i32) -> i32 == 1
[policy]
0- = c
EOF
is 'call' 'result size 5
result i32 1
out 3 i32 -42' "$("$ctl" call "$tmp/call.ini" c 'length("a \"b\"")' 'scan("-42")')"
"$ctl" call "$tmp/call.ini" c 'scan("x")' >/dev/null
is 'call: its condition does not hold' 1 $?
is 'call: an argument of another type' \
    'hakctl: call: length(3): expected a string in "" at character 2, before "3)"' \
    "$("$ctl" call "$tmp/call.ini" c 'length(3)' 2>&1)"
has 'call: not declared' 'no \[call lenght\] with box = c in .*; did you mean "length"?' \
    "$("$ctl" call "$tmp/call.ini" c 'lenght("x")' 2>&1)"

is 'check-so' 0 "$("$ctl" check-so libc.so.6 tests/foreign/libc.cases |
    grep -c '^not ok')"
fused=$PWD/build/fused/default/libhakmem.so
for library in libc.so.6 "$PWD/build/libhakmem.so" "$fused"; do
    [ -e "$library" ] || [ "$library" != "$fused" ] || continue
    is "the malloc family's cases on $library" '' \
        "$("$ctl" check-so "$library" tests/preload/family.cases 2>&1 |
            grep -v -e '^ok' -e '^1\.\.27$')"
done
cat >"$tmp/kept.cases" <<'EOF'
strdup(cstr:"abc") -> ptr = copy, strlen(ptr:$copy) -> size == 3, free(ptr:$copy)
strtol(cstr:"12x", out ptr=rest, i32:10) -> i64 == 12 = n, abs(i32:$n*2+1) -> i32 == 25
abs(i32:$n) -> i32
abs(hooks) -> i32
EOF
# shellcheck disable=SC2016
is 'check-so: values that are kept' 'ok 1 - strdup(cstr:"abc") -> ptr = copy, strlen(ptr:$copy) -> size == 3, free(ptr:$copy)
ok 2 - strtol(cstr:"12x", out ptr=rest, i32:10) -> i64 == 12 = n, abs(i32:$n*2+1) -> i32 == 25
not ok 3 - abs(i32:$n) -> i32: no call before abs keeps a $n, as out ptr=n does
not ok 4 - abs(hooks) -> i32: parameter 1 has no value; give it one, as in ptr:0
1..4' "$("$ctl" check-so libc.so.6 "$tmp/kept.cases")"
is 'check-so: what fails, and why' 'not ok 1 - abs(i32:-7) -> i32 == 8: abs returned 7
not ok 2 - abort(): Aborted
not ok 3 - nothing(): the library has no symbol "nothing"; nm -D FILE lists them
not ok 4 - abs(int:7): "int" is no type (bool i32 u32 i64 u64 size ptr f64 cstr) at character 5, before "int:7)"
not ok 5 - abs(i32): parameter 1 has no value; give it one, as in i32:0
not ok 6 - sqrt: expected "(" at the end of "sqrt"
1..6' "$("$ctl" check-so libc.so.6 tests/foreign/bad.cases)"

# All properties hold (hakctl check-box -c INI BOX); here those that are short.
for ini in conf/foreign/*.ini; do
    if library=$(missing_library "$ini"); then
        skip "check-box $ini" "there is no $library"
        continue
    fi
    box=$(sed -n 's/^\[box \(.*\)\]/\1/p' "$ini" | tail -1)
    "$ctl" check-box -c "$ini" "$box" --may-decline alignment zalloc \
        resize aligned_blocks 'owns_*' fork_with_threads >"$tmp/out" 2>&1
    is "check-box $ini $box" 0 $?
done

# ---- lock = yes: one call of the library at a time -----------------------------

on_alone() { # SED PROGRAM WORDS...: on the INI as sed leaves it
    sed "$1" tests/foreign/alone.ini >build/tests/foreign/alone.ini
    shift
    HAKMEM_CONF=$(pwd)/build/tests/foreign/alone.ini LD_PRELOAD=$lib \
        HAK_TEST_MODE=alone "$@" 2>&1
}
here="s,\.\./\.\./build/tests/foreign,$libs,"
bad_lines='^not ok|^hakmem|^1\.\.0|at once'
threads() { # SED
    on_alone "$1" build/tests/preload/threads detached_threads
    on_alone "$1" build/tests/preload/threads_remote \
        blocks_outlive_their_thread realloc_of_another_threads_blocks
}
is 'lock = yes: threads' '' "$(threads "$here" | grep -E "$bad_lines")"
is 'lock = yes: forks' '' "$(on_alone "$here" build/tests/preload/forks |
    grep -E "$bad_lines")"
has 'lock = no: the library is not thread-safe' 'two threads are in it at once' \
    "$(threads "$here; /^lock/d")"
sed "$here; s/i32:16/i32:8/" tests/foreign/alone.ini \
    >build/tests/foreign/alone.ini
has 'lint: blocks that are not aligned' \
    'warning: box alone: .* not 16-byte aligned, which compilers rely on' \
    "$("$ctl" lint build/tests/foreign/alone.ini 2>&1)"

has 'polled calls in the report' \
    '^counts jemalloc: epoch 1, allocated_bytes [0-9]' \
    "$("$ctl" run -s -c conf/foreign/jemalloc.ini -- /bin/true 2>&1)"
finish
