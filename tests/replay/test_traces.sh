#!/bin/sh
# test_traces.sh - traces of real programs, played with checks on each box: on
# libc and on all configurations of conf/ and of tests/fused/.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
cd "$root" || exit 1
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
said=$tmp/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh
# shellcheck source=tests/programs/modes.sh
. tests/programs/modes.sh

# Those whose library is there.
for conf in conf/*.ini conf/foreign/*.ini tests/fused/all-boxes.ini; do
    if library=$(missing_library "$conf"); then
        skip "$conf" "there is no $library"
    else
        set -- "$@" "$conf"
    fi
done

# Where configurations write files, as heap-profile.ini does.
cd "$tmp" || exit 1
for trace in "$root"/tests/traces/*.trace; do
    for conf in "$@"; do
        "$root/build/hakctl" replay "$trace" --check -c "$root/$conf" \
            >"$said" 2>&1
        result $? "$(basename "$trace") on $conf"
    done
    "$root/build/hakctl" replay "$trace" --check --exact --libc >"$said" 2>&1
    result $? "$(basename "$trace") on libc"
    [ "$(stat -c %s "$trace")" -lt 1000000 ] &&
        "$root/build/hakctl" trace "$trace" >"$said"
    result $? "$(basename "$trace") is small and whole"
done
finish
