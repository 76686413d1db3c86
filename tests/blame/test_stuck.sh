#!/bin/sh
# test_stuck.sh - [core] blame: the report names a thread that does not come back
# from an operation of a box, and does not wait for that box. TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD HAKMEM_CORE_BLAME
tmp=$(mktemp -d) || exit 1
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT
said=$tmp/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

"${CC:-gcc}" -O1 -fno-builtin -o "$tmp/victim" tests/blame/victim.c -lpthread ||
    exit 1
printf '[box mine]\npath = %s\n[policy]\n0- = mine\n' \
    "$PWD/build/tests/boxes/faulty.so" >"$tmp/x.ini"

# start OPERATION [VARIABLE=VALUE...]: a victim that hangs in that operation.
start() {
    op=$1
    shift
    : >"$said"
    env HAKMEM_CONF="$tmp/x.ini" HAKMEM_BOX_MINE_OP="$op" \
        HAKMEM_BOX_MINE_HOW=hang HAKMEM_STATS_ON_SIGNAL=USR2 "$@" \
        LD_PRELOAD="$PWD/build/libhakmem.so" "$tmp/victim" "$op" \
        2>"$said" >/dev/null &
    pid=$!
    while kill -0 $pid 2>/dev/null && ! grep -q '^hangs$' "$said"; do
        sleep 0.05
    done
}
# report N: asks for a report, and waits until N have come whole.
report() {
    kill -USR2 "$pid"
    while kill -0 "$pid" 2>/dev/null &&
        [ "$(grep -c -e '^route .*mine' -e '^{.*}$' "$said")" -lt "$1" ]; do
        sleep 0.05
    done
}
end() {
    kill -9 "$pid"
    wait "$pid" 2>/dev/null
    pid=
}

for op in alloc free refill; do
    start $op HAKMEM_CORE_BLAME=yes
    report 1
    grep -q "^thread $pid in box mine, $op, for [1-9][0-9]* s\$" "$said"
    result $? "a thread that stays in $op is named, with its id"
    if [ "$op" != free ]; then
        end
        continue
    fi
    sleep 2
    report 2
    sed -n 's/^thread .* for \([0-9]*\) s$/\1/p' "$said" >"$tmp/for"
    [ "$(wc -l <"$tmp/for")" = 2 ] &&
        [ "$(tail -n 1 "$tmp/for")" -gt "$(head -n 1 "$tmp/for")" ]
    result $? 'the next report says for how long since then'
    grep '^mine' "$said" | tail -n 1 | grep -q ' - '
    result $? 'its box is not asked for figures'
    end
done

start alloc HAKMEM_CORE_BLAME=yes HAKMEM_STATS_FORMAT=json
report 1
grep -q "\"stuck\":\[{\"thread\":$pid,\"box\":\"mine\",\"operation\":\"alloc\",\"seconds\":[1-9]" \
    "$said"
result $? 'so does the report in JSON'
end

start alloc HAKMEM_CORE_BLAME=no
report 1
! grep -q '^thread ' "$said"
result $? 'without blame nobody is named'
end
finish
