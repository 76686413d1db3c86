#!/bin/sh
# test_files.sh - how our files are linked and compiled: addresses resolved at
# start and read-only then, no code that can be written, constant formats. TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
export LC_ALL=C
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
said=$tmp/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

# linked FILE: its program headers and dynamic section, as they should be
linked() {
    readelf -ldW "$1" >"$tmp/elf" || return 1
    grep -q '^ *GNU_RELRO' "$tmp/elf" || echo "no RELRO segment"
    grep -q 'FLAGS.*BIND_NOW\|FLAGS_1.*NOW' "$tmp/elf" ||
        echo "symbols are bound while it runs (lazily)"
    grep -q 'GNU_STACK.* RW  ' "$tmp/elf" || echo "it may execute its stack"
    ! grep 'LOAD.* RWE ' "$tmp/elf" || echo "a segment of code to be written"
    ! grep -q TEXTREL "$tmp/elf" || echo "code that is relocated (TEXTREL)"
    grep -q '^Elf file type is DYN' "$tmp/elf" || echo "not relocatable"
}

for file in build/libhakmem.so.1 build/libhakmem-cxx.so build/boxes/*.so build/modules/*.so \
    build/hakctl build/hakctl-check-box build/fused/*/libhakmem.so.1; do
    linked "$file" >"$tmp/said"
    [ ! -s "$tmp/said" ]
    result $? "$file"
done

# How framework/base/log.c is compiled, of another file.
command=$(make -nB build/obj/framework/base/log.o 2>/dev/null |
    sed -n 's,framework/base/log\.c,FILE,p' | sed 's, -o [^ ]*, -o /dev/null,')
compile() {
    cat >"$tmp/x.c"
    sh -c "$(echo "$command" | sed "s,FILE,$tmp/x.c,")" >"$tmp/said" 2>&1
}

compile <<'X'
#include <stdio.h>
int f(const char *s);
int f(const char *s) { return printf("%s", s); }
X
result $? "a format of ours is compiled"
compile <<'X'
#include <stdio.h>
int f(const char *s);
int f(const char *s) { return printf(s); }
X
grep -q '=format-security' "$tmp/said"
result $? "one that is a variable is an error"
compile <<'X'
#include <stdio.h>
int f(const char *s, int i);
int f(const char *s, int i) { return printf(s, i); }
X
grep -q '=format-nonliteral' "$tmp/said"
result $? "with arguments, too"
compile <<'X'
#include <stdarg.h>
#include <stdio.h>
void f(const char *s, ...);
void f(const char *s, ...)
{
    va_list ap;
    va_start(ap, s);
    vprintf(s, ap);
    va_end(ap);
}
X
grep -q '=missing-format-attribute\|=suggest-attribute=format' "$tmp/said"
result $? "what passes one on says so, so that its callers are looked at"
grep -rn 'diagnostic ignored "-Wformat\|-Wno-format\|-Wno-error' Makefile \
    framework plugins tools | grep -v 'B=build/\|fsanitize' >"$tmp/said"
[ ! -s "$tmp/said" ]
result $? "nothing turns that off"
finish
