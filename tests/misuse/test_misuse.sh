#!/bin/sh
# test_misuse.sh - each wrong program of this folder is stopped where its first
# comment says (misuse.h), in each configuration, and docs/misuse.md says the
# same. TAP.
#
#     tests/misuse/test_misuse.sh            the tests
#     tests/misuse/test_misuse.sh --table    docs/misuse.md, as it is to be
#     tests/misuse/test_misuse.sh --scudo    is what it says of Scudo so?
#
# conf/guard.ini, where there is one, samples: its programs run with the
# variables of tests/misuse/guard.env, which make it take every block.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD

confs() {
    for conf in default hardened guard; do
        [ -e conf/$conf.ini ] && echo $conf
    done
}

# FILE
program() {
    basename "${1%.*}"
}

# FILE KEY: what its first comment gives for the key
of() {
    sed -n "/\*\//q; s/^ \* $2: //p" "$1"
}

# FILE CONF: the result and the text for it. A box that only samples leaves the
# rest to the default.
expected() {
    line=$(of "$1" "$2")
    [ -z "$line" ] && [ "$2" = guard ] &&
        line=$(of "$1" default)
    echo "$line"
}

table() {
    sed -n '/^| fault/q; p' docs/misuse.md
    head=fault rule=---
    for conf in $(confs) scudo; do
        head="$head | $conf" rule="$rule | ---"
    done
    printf '| %s | program |\n| %s | --- |\n' "$head" "$rule"
    for file in tests/misuse/*.c tests/misuse/*.cc; do
        row=$(of "$file" fault)
        for conf in $(confs) scudo; do
            row="$row | $(expected "$file" "$conf" | sed 's/:.*//')"
        done
        echo "| $row | \`$(program "$file")\` |"
    done
}

if [ "${1:-}" = --table ]; then
    table
    exit
fi

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

said=$tmp/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

# The newest that is installed; libclang-rt-14-dev has it.
scudo() {
    find /usr/lib/llvm-*/ -name libclang_rt.scudo_standalone-x86_64.so \
        2>"$tmp/said" | sort | tail -n 1
}

# PROGRAM CONF: on that allocator
run() {
    case $2 in
    scudo) LD_PRELOAD=$(scudo) "build/tests/misuse/$1" ;;
    guard)
        # shellcheck disable=SC2046
        env $(cat tests/misuse/guard.env) \
            build/hakctl run -c conf/guard.ini -- "build/tests/misuse/$1"
        ;;
    *) build/hakctl run -c "conf/$2.ini" -- "build/tests/misuse/$1" ;;
    esac
}

# PROGRAM CONF: when it is stopped, in the words of the table
stopped() {
    run "$1" "$2" >"$tmp/steps" 2>"$tmp/said"
    status=$?
    last=$(tail -n 1 "$tmp/steps")
    case $status:$last in
    0:missed) echo no ;;
    134:now | 139:now) echo 'at once' ;; # SIGABRT, SIGSEGV
    134:free) echo 'at free' ;;
    134:reuse) echo 'at reuse' ;;
    *) echo "status $status after \"$last\"" ;;
    esac
}

# One line, with that text, that names the call and the pointer in it.
said() {
    [ -z "$1" ] && return
    [ "$(grep -c '^hakmem: ' "$tmp/said")" = 1 ] &&
        grep -F -e "$1" "$tmp/said" | grep -q '^hakmem: .*[a-z](.*)'
}

one() { # FILE CONF
    want=$(expected "$1" "$2")
    text=$(echo "$want" | sed 's/[^:]*:* *//')
    want=$(echo "$want" | sed 's/:.*//')
    got=$(stopped "$(program "$1")" "$2" 2>/dev/null)
    [ "$want" = 'by sampling' ] && [ "$got" != no ] && got=$want
    [ "$want" = "$got" ] && said "$text"
    passed=$?
    echo "wanted \"$want\" with \"$text\", got \"$got\"" >>"$tmp/said"
    result $passed "$(program "$1") under $2"
}

if [ "${1:-}" = --scudo ]; then
    [ -n "$(scudo)" ] || { echo '1..0 # SKIP no Scudo'; exit; }
    for file in tests/misuse/*.c tests/misuse/*.cc; do
        [ "$(of "$file" scudo)" = 'no such call' ] || one "$file" scudo
    done
    finish
    exit
fi

for conf in $(confs); do
    for file in tests/misuse/*.c tests/misuse/*.cc; do
        one "$file" "$conf"
    done
done

# Whatever the boxes: no block is freed twice without a word.
for conf in tiny mid-v35 smallmid lanes-off; do
    for file in tests/misuse/double_free*.c; do
        got=$(stopped "$(program "$file")" "$conf" 2>/dev/null)
        case $got in 'at once' | 'at reuse') said free ;; *) false ;; esac
        result $? "$(program "$file") under $conf: $got"
    done
done

table | diff docs/misuse.md - >"$tmp/said"
result $? 'docs/misuse.md is what test_misuse.sh --table says'
finish
