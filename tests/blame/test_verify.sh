#!/bin/sh
# test_verify.sh - [core] verify names the box and the operation whose answer is
# wrong. Without verify some of these faults go on silently, others end in a
# message about somebody else. TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD HAKMEM_CORE_BLAME
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
said=$tmp/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

"${CC:-gcc}" -O1 -fno-builtin -o "$tmp/victim" tests/blame/victim.c -lpthread ||
    exit 1
printf '[core]\nverify = yes\n[box mine]\npath = %s\n[policy]\n0- = mine\n' \
    "$PWD/build/tests/boxes/faulty.so" >"$tmp/x.ini"

victim() { # OPERATION HOW [OPERATION OF THE PROGRAM]
    HAKMEM_CONF=$tmp/x.ini HAKMEM_BOX_MINE_OP=$1 HAKMEM_BOX_MINE_HOW=$2 \
        LD_PRELOAD=$PWD/build/libhakmem.so "$tmp/victim" "${3:-$1}" \
        >"$said" 2>&1
    status=$?
}

named() { # OPERATION HOW WORDS [OPERATION OF THE PROGRAM]
    victim "$1" "$2" "${4:-$1}"
    [ $status = 134 ] && [ "$(grep -c '^hakmem: ' "$said")" = 1 ] &&
        grep -q "^hakmem: verify: box mine: ${5:-$1}([0-9a-fx, ]*).* $3" "$said"
    result $? "$1, $2: $3"
}

victim none skew alloc
[ $status = 0 ] && [ ! -s "$said" ]
result $? 'a box without a fault is let alone'
for op in alloc zalloc aligned_alloc resize; do
    [ $op = resize ] || # the slot would be too short as well
        named $op again 'returned 0x[0-9a-f]*, which overlaps 0x[0-9a-f]*, a live slot of box mine'
    named $op static 'which is no memory that host->map gave this box'
    [ $op = aligned_alloc ] ||
        named $op beyond 'which reaches out of the memory that host->map gave'
    named $op disown 'of which its own owns() knows nothing'
    named $op short 'whose usable_size is less'
done
named alloc skew 'which is not 16-byte aligned'
named zalloc skew 'which is not 16-byte aligned'
named resize skew 'which is not 16-byte aligned'
named aligned_alloc skew 'which is not aligned to 4096'
named refill again 'which overlaps 0x[0-9a-f]*, a live slot of box mine'
for op in alloc zalloc aligned_alloc resize free owns usable_size refill \
    heap_open heap_park stats trim age; do
    named $op nest 'called malloc, which no operation of a box may'
done
finish
