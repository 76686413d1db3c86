#!/bin/sh
# test_tutorial.sh - docs/writing-a-box.md does what it says: its code is
# built outside the tree with its own command, named in its INI, and serves.
set -u
cd "$(dirname "$0")/../.." || exit 1
top=$PWD
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

said=$dir/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

block() { # block LANGUAGE: the first fenced block of it
    awk -v fence="\`\`\`$1" '$0 == fence && !done {on = 1; next}
        /^```$/ && on {on = 0; done = 1} on' docs/writing-a-box.md
}

block c >"$dir/mine.c"
block ini >"$dir/mine.ini"
command=$(block sh)
(cd "$dir" && ln -s "$top/framework" framework && eval "$command") \
    >"$dir/said" 2>&1
result $? "the box builds: $command"

build/hakctl lint "$dir/mine.ini" >"$dir/said" 2>&1
result $? "its INI is clean"

# shellcheck disable=SC2016 # it is perl that expands them
HAKMEM_STATS_AT_EXIT="$dir/report" HAKMEM_STATS_FORMAT=json \
    build/hakctl run -c "$dir/mine.ini" -- perl -e \
    'my @a = map { "x" x ($_ % 900) } 1 .. 20000; print scalar(@a), "\n"' \
    >"$dir/said" 2>&1
wrong=0
[ "$(cat "$dir/said")" = 20000 ] || wrong=1
result $wrong "a program runs on it"

# Without usable_size the core keeps a header in front of each block. Neighbours
# of the box are not its own, whoever asks.
for mode in HAKMEM_CORE_FREE_ROUTE=owns HAKMEM_CORE_VERIFY=yes; do
    # shellcheck disable=SC2016 # it is perl that expands them
    env "$mode" build/hakctl run -c "$dir/mine.ini" -- perl -e \
        'my @a = map { "x" x ($_ * 37 % 30000) } 1 .. 5000; print scalar(@a), "\n"' \
        >"$dir/said" 2>&1
    grep -qx 5000 "$dir/said"
    result $? "a program runs on it with $mode"
done

allocs() {
    jq -s "last | .boxes[] | select(.name == \"mine\") | .$1" "$dir/report"
}
cp "$dir/report" "$dir/said"
wrong=0
{ [ "$(allocs allocs)" -gt 20000 ] && [ "$(allocs id)" = '"mine"' ]; } ||
    wrong=1
result $wrong "the box served it"

sed 's,path = ./mine.so,path = '"$top"'/build/tests/boxes/three.so,' \
    "$dir/mine.ini" >"$dir/other.ini"
rm "$dir/report"
HAKMEM_STATS_AT_EXIT="$dir/report" HAKMEM_STATS_FORMAT=json \
    build/hakctl run -c "$dir/other.ini" -- perl -e 'print 1' >"$dir/said" 2>&1
[ "$(cat "$dir/said")" = 1 ] && [ "$(allocs id)" = '"three"' ]
result $? "another path, another box, nothing rebuilt"

build/hakctl check-box "$dir/mine.so" >"$dir/said" 2>&1
grep '^not ok' "$dir/said" | sed 's/^not ok [0-9]* - //; s/:.*//' | sort >"$dir/failed"
grep -qx two_instances "$dir/failed" &&
    ! grep -qvx -e two_instances -e fork_with_threads "$dir/failed"
result $? "the conformance suite finds what the page says"
finish
