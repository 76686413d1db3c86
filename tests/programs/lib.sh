#!/bin/sh
# lib.sh - sourced: runs real programs with and without the preload.
#
#     . "$(dirname "$0")/lib.sh"
#     need perl                         # else the whole script is skipped
#     same 'sorts' perl "$here/work.pl" 100000
#     modes=$every                      # see modes.sh
#     same 'sorts a little' perl "$here/work.pl" 1000
#     finish
#
# `same` runs the command in an empty directory, once on libc and once a mode
# on hakmem, and compares exit code, output, and the files that it leaves. It
# also asks hakmem's own report: boxes must have served it. With
# HAK_TEST_FUSED=NAME it is build/fused/NAME, which has one mode.
set -u

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
lib=${HAKMEM_LIB:-$root/build/libhakmem.so}
HAKMEM_CONF=${HAKMEM_CONF:-$root/conf/default.ini}
export HAKMEM_CONF
fused=${HAK_TEST_FUSED:-}
if [ -n "$fused" ]; then
    lib=$root/build/fused/$fused/libhakmem.so
    unset HAKMEM_CONF
fi
# shellcheck source-path=SCRIPTDIR source=modes.sh
. "$here/modes.sh"
# shellcheck disable=SC2034
every='default verify owns lanes-off profile-each'
modes=default
limit_seconds=60
work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-programs.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM PIPE
count=0
failed=0

# One locale, one clock, one home: nothing of the machine shows in output.
export LC_ALL=C TZ=UTC HOME="$work" PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1

skip_all()
{
    echo "1..0 # SKIP $*"
    exit 0
}

need()
{
    for program in "$@"; do
        command -v "$program" >/dev/null || skip_all "no $program"
    done
}

report()
{
    count=$((count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        failed=1
    fi
}

# skip NAME WHY
skip()
{
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

finish()
{
    echo "1..$count"
    exit $failed
}

# run WHERE VARIABLE=... COMMAND...: leaves WHERE/{files,out,err,code}. The
# directory's name may get into the files, so it is the same for all.
run()
{
    at=$1
    shift
    mkdir "$at" "$work/files"
    (cd "$work/files" && exec timeout "$limit_seconds" env "$@") \
        </dev/null >"$at/out" 2>"$at/err"
    echo $? >"$at/code"
    mv "$work/files" "$at/files"
}

# Prints what differs; fails when anything does.
compare()
{
    for part in code out err; do
        diff -u "$1/$part" "$2/$part" >"$work/diff" || break
    done
    [ -s "$work/diff" ] || diff -r "$1/files" "$2/files" >"$work/diff"
    head -20 "$work/diff"
    [ ! -s "$work/diff" ]
}

served()
{
    grep -q '"allocs":[1-9]' "$1" 2>/dev/null && return 0
    echo "no report of a box that served it"
    return 1
}

same()
{
    name=$1
    shift
    run "$work/plain" "$@"
    for mode in ${fused:-$modes}; do
        # shellcheck disable=SC2046
        run "$work/under" LD_PRELOAD="$lib" \
            $([ -n "$fused" ] || environment "$mode" "$HAKMEM_CONF") \
            HAKMEM_STATS_AT_EXIT="$work/stats" HAKMEM_STATS_FORMAT=json "$@"
        compare "$work/plain" "$work/under" >"$work/told" &&
            served "$work/stats" >"$work/told"
        report $? "$name ($mode)"
        sed 's/^/# /' "$work/told"
        rm -rf "$work/under" "$work/stats"
    done
    rm -rf "$work/plain"
}
