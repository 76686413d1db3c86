#!/bin/sh
# test_cxx.sh - libhakmem-cxx.so: the size that C++'s delete is told is looked
# at where new is libstdc++'s; a program's own operators get what is theirs. TAP.
# (tests/misuse/delete_*.cc: what it finds.)
set -u
cd "$(dirname "$0")/../.." || exit 1
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD
command -v g++ >/dev/null || { echo '1..0 # SKIP no g++'; exit 0; }
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
said=$tmp/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

check() { # STATUS NAME
    cat "$tmp/out" "$tmp/err" >"$said"
    result "$1" "$2"
}

cc='g++ -std=c++17 -O1 -fno-builtin'
pic="$cc -fPIC -shared"
{
    $cc -o "$tmp/plain" tests/cxx/main.cc tests/cxx/use.cc &&
    $cc -o "$tmp/own" tests/cxx/main.cc tests/cxx/use.cc tests/cxx/own.cc &&
    $pic -o "$tmp/libown.so" tests/cxx/own.cc &&
    $cc -o "$tmp/linked" tests/cxx/main.cc tests/cxx/use.cc -L"$tmp" -lown \
        -Wl,--no-as-needed -Wl,-rpath,"$tmp" &&
    $cc -o "$tmp/static" -static-libstdc++ tests/cxx/main.cc \
        tests/cxx/use.cc tests/cxx/own.cc &&
    $pic -o "$tmp/use.so" tests/cxx/use.cc &&
    $pic -o "$tmp/use-own.so" tests/cxx/use.cc tests/cxx/own.cc &&
    for i in 1 2; do
        gcc -O1 -fPIC -shared -DOWN=$i -o "$tmp/libown$i.so" tests/cxx/turn.c &&
            gcc -O1 -fPIC -shared -o "$tmp/use-$i.so" tests/cxx/turn.c \
                -L"$tmp" -lown$i -Wl,-rpath,"$tmp" || break
    done &&
    $pic -o "$tmp/use-static.so" -static-libstdc++ tests/cxx/use.cc \
        tests/cxx/own.cc &&
    gcc -o "$tmp/host" tests/cxx/host.c -ldl &&
    $cc -o "$tmp/mixed" tests/cxx/mixed.cc &&
    $cc -o "$tmp/work" tests/programs/work.cc -lpthread
} >"$tmp/out" 2>"$tmp/err"
check $? 'programs are built'

same() { # CONF NAME COMMAND...: as on libc
    conf=$1 name=$2
    shift 2
    "$@" >"$tmp/want" 2>&1
    want=$?
    build/hakctl run -c "conf/$conf.ini" -- "$@" >"$tmp/out" 2>"$tmp/err"
    [ $? = $want ] && [ ! -s "$tmp/err" ] && diff "$tmp/want" "$tmp/out" \
        >>"$tmp/err"
    check $? "$name ($conf)"
}

for conf in default hardened; do
    same "$conf" "libstdc++'s operators" "$tmp/plain"
    same "$conf" "the program's own" "$tmp/own"
    same "$conf" "a library's own" "$tmp/linked"
    same "$conf" 'libstdc++ in the program' "$tmp/static"
    same "$conf" 'C++ in a library that comes later' "$tmp/host" "$tmp/use.so"
    same "$conf" 'with operators of its own' "$tmp/host" "$tmp/use-own.so"
    same "$conf" 'with libstdc++ in it' "$tmp/host" "$tmp/use-static.so"
    # Where the one before was: what was found for that is not asked.
    same "$conf" 'one after the other' "$tmp/host" "$tmp/use-1.so" \
        "$tmp/use-2.so" "$tmp/use-1.so"
done

# No right size is taken for a wrong one, on boxes of every kind.
export HAKMEM_CORE_SIZED_DELETE=yes
for conf in default tiny mid-v35 smallmid lanes-off verify hardened; do
    same "$conf" 'every form of new and delete' "$tmp/work"
done
export HAKMEM_CORE_SAMPLE_EVERY=1 HAKMEM_BOX_GUARD_MOST_PER_SECOND=0
same guard 'every form of new and delete' "$tmp/work"
unset HAKMEM_CORE_SAMPLE_EVERY HAKMEM_BOX_GUARD_MOST_PER_SECOND

export HAKMEM_CORE_SIZED_DELETE=no
build/hakctl run -c conf/hardened.ini -- build/tests/misuse/delete_smaller \
    >"$tmp/out" 2>"$tmp/err" && grep -q missed "$tmp/out"
check $? 'sized_delete = no: nothing is compared'

# What gave a block out is what takes it back.
export HAKMEM_CORE_MATCH_DELETE=yes
for conf in default hardened; do
    same "$conf" 'every form of new and delete, matched' "$tmp/work"
    same "$conf" "libstdc++'s operators, matched" "$tmp/plain"
    same "$conf" "the program's own, with match_delete" "$tmp/own"
    same "$conf" "a library's own, with match_delete" "$tmp/linked"
    same "$conf" 'libstdc++ in the program, with match_delete' "$tmp/static"
    same "$conf" 'C++ in a library that comes later, with match_delete' \
        "$tmp/host" "$tmp/use.so"
    same "$conf" 'with libstdc++ in it, with match_delete' \
        "$tmp/host" "$tmp/use-static.so"
done
mismatch() { # ARGUMENT TEXT
    build/hakctl run -c conf/hardened.ini -- "$tmp/mixed" "$1" \
        >"$tmp/out" 2>"$tmp/err"
    [ $? = 134 ] && grep -q -F -e "$2" "$tmp/err"
    check $? "match_delete = yes: $1: $2"
}
mismatch array 'came from operator new'
mismatch one 'came from operator new[]'
mismatch malloc 'came from malloc'
mismatch sized 'came from operator new'
mismatch aligned 'came from operator new[]'
mismatch free 'of what C++'
mismatch realloc 'of what C++'
mismatch size 'was asked for with'
unset HAKMEM_CORE_MATCH_DELETE
for what in array one malloc sized aligned free realloc; do
    build/hakctl run -c conf/hardened.ini -- "$tmp/mixed" $what \
        >"$tmp/out" 2>"$tmp/err" && [ ! -s "$tmp/err" ]
    check $? "match_delete = no: $what is not looked at"
done
finish
