#!/bin/sh
# test_versions.sh - cores and boxes of three versions of box.h meet: today's,
# and two that grow.sh makes of it. All nine pairs run a real program, with a
# box that assigns whole structs, one with lanes and one that maps memory. TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
folder=build/versions
failed=

said=$folder/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

# N: core and boxes of the header that is so many versions later.
build() {
    at=$folder/$1
    later=-DLATER=$1
    [ "$1" = 0 ] && later=-ULATER
    mkdir -p "$at/include/hakmem" "$at/boxes"
    for header in framework/include/hakmem/*.h; do
        cp -p "$header" "$at/include/hakmem/"
    done
    tests/versions/grow.sh framework/include/hakmem/box.h "$1" >"$at/box.h" ||
        return 1
    cmp -s "$at/box.h" "$at/include/hakmem/box.h" ||
        cp "$at/box.h" "$at/include/hakmem/box.h"
    make -j2 B="$at" CFLAGS=-O1 CORE_INC="-I$at/include -Iframework" \
        BOX_INC="-I$at/include -I$at/kit" "$at/libhakmem.so" \
        "$at/boxes/ultra.so" "$at/boxes/large.so" "$at/modules/learner.so" &&
        "${CC:-cc}" -O1 -shared -fPIC -Wall -Wextra -Werror \
            "$later" -I"$at/include" \
            -o "$at/greeting.so" tests/versions/greeting.c &&
        sed "s,@,$PWD/$at," tests/versions/versions.ini >"$at/versions.ini"
}

for version in 0 1 2; do
    build $version >$folder.log 2>&1 || failed=$version
    mkdir -p $folder
    mv $folder.log $folder/said
    [ -z "$failed" ]
    result $? "core and boxes of box.h, $version minor versions later"
    [ -z "$failed" ] || break
done

# CORE BOXES: what a program says that runs on them.
run() {
    HAKMEM_CONF=$PWD/$folder/$2/versions.ini HAKMEM_STATS_FORMAT=json \
        HAKMEM_STATS_AT_EXIT=$PWD/$folder/report \
        LD_PRELOAD=$PWD/$folder/$1/libhakmem.so PYTHONMALLOC=malloc /usr/bin/python3 -c '
import json, threading
def work():
    global last
    rows = [{"n": i, "text": str(i) * 40} for i in range(20000)]
    last = json.loads(json.dumps(rows))[-1]["n"]
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print(len(bytearray(1 << 20)), last)' 2>$folder/said >$folder/printed
}

# What a pair must do: the program's own result, both parameters of the box, no
# complaint, and lanes.
holds() { # CORE BOXES
    rm -f $folder/report
    run "$1" "$2" || return 1
    grep -qx '1048576 19999' $folder/printed &&
        [ "$(cat $folder/said)" = 'hakmem: box greeting: good morning 128' ] ||
        return 1
    jq -e '.boxes | map({(.name): .}) | add |
        (.greeting | .live > 0 and .peak_bytes == 4321) and
        (.ultra | .refills > 100 and .allocs > 20 * .refills) and
        (.large.allocs > 0)' \
        $folder/report >>$folder/said
}

for core in 0 1 2; do
    for boxes in 0 1 2; do
        [ -n "$failed" ] && break 2
        holds $core $boxes
        result $? "core of version $core, boxes of version $boxes"
    done
done
finish
