#!/bin/sh
# tools.sh - programs under a tool that has a hand in malloc or in the loader:
# they work as without the preload, or decline with one clear line.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need gcc perl

cat >"$work/blocks.c" <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void)
{
    char *kept[500] = {0};
    unsigned sum = 0;
    for (unsigned i = 0; i < 5000; i++) {
        free(kept[i % 500]);
        kept[i % 500] = memset(malloc(i * 7 % 60000 + 1), (int)i, 1);
        sum = sum * 31 + (unsigned char)kept[i * 13 % 500 > i ? 0 : i % 500][0];
    }
    for (int i = 0; i < 500; i++)
        free(kept[i]);
    printf("%u\n", sum);
    return 0;
}
C
gcc -g -O0 -o "$work/blocks" "$work/blocks.c"

# works NAME FILE OUTPUT: FILE has that output and no word of hakmem's.
works()
{
    [ "$(cat "$2")" = "$3" ] && ! grep -q '^hakmem:' "$2.err"
    ok=$?
    report $ok "$1"
    [ $ok = 0 ] || tail -n 20 "$2.err" | sed 's/^/# /'
}

preloaded()
{
    env LD_PRELOAD="$lib" "$@" >"$work/under" 2>"$work/under.err"
}

expected=$("$work/blocks")

preloaded LD_DEBUG=all LD_DEBUG_OUTPUT="$work/debug" "$work/blocks"
works 'LD_DEBUG=all' "$work/under" "$expected"
# shellcheck disable=SC2016
preloaded LD_DEBUG=all perl -e 'print join(",", map { $_ * 3 } 1 .. 9)'
works 'LD_DEBUG=all on stderr' "$work/under" 3,6,9,12,15,18,21,24,27
preloaded LD_BIND_NOW=1 LD_DEBUG=statistics "$work/blocks"
works 'LD_BIND_NOW=1' "$work/under" "$expected"

# valgrind puts its own malloc before ours; it finds nothing to say of us.
if command -v valgrind >/dev/null; then
    preloaded valgrind -q --error-exitcode=9 "$work/blocks"
    works 'valgrind' "$work/under" "$expected"
    [ ! -s "$work/under.err" ]
    report $? 'valgrind has nothing to say'
fi

# ASan in the program comes first and serves it. As a library it comes after
# any preload, and says so in a line of its own.
asan()
{
    name=$1
    shift
    command -v "$1" >/dev/null || return 0
    "$@" -g -fsanitize=address -o "$work/asan" "$work/blocks.c" || return 0
    preloaded "$work/asan"
    if [ -s "$work/under" ]; then
        works "$name: works" "$work/under" "$expected"
    else
        [ "$(wc -l <"$work/under.err")" = 1 ] &&
            grep -q 'ASan runtime does not come first' "$work/under.err"
        report $? "$name: declines in one line"
    fi
}
asan 'ASan of gcc' gcc
if [ -x "$work/asan" ]; then
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $lib" \
        "$work/asan" >"$work/under" 2>"$work/under.err"
    works 'ASan of gcc, named first' "$work/under" "$expected"
fi
asan 'ASan of gcc, static' gcc -static-libasan
asan 'ASan of clang' clang

# ThreadSanitizer takes what malloc the program has, and most addresses.
if gcc -g -fsanitize=thread -o "$work/tsan" "$work/blocks.c" 2>/dev/null &&
    "$work/tsan" >/dev/null 2>&1; then
    preloaded HAKMEM_STATS_AT_EXIT="$work/stats" HAKMEM_STATS_FORMAT=json \
        "$work/tsan"
    works 'TSan of gcc' "$work/under" "$expected"
    served "$work/stats"
    report $? 'TSan of gcc: boxes serve it'
fi
finish
