#!/bin/sh
# test_broken.sh - the conformance suite finds what it is for: each box of
# tests/boxes that says `breaks: PROPERTY` fails that one, in the words that
# its `says:` gives; each property has such a box; those that the faults are
# built upon hold all. TAP. (`timeout:` is for boxes that hang.)
set -u
cd "$(dirname "$0")/../.." || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
said=$tmp/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

# FILE KEY: what its first comment gives for the key
of() {
    sed -n "/\*\//q; s/^ \* $2: //p" "$1"
}

breaks() { # FILE.c
    property=$(of "$1" breaks)
    seconds=$(of "$1" timeout)
    build/hakctl check-box "build/tests/boxes/$(basename "$1" .c).so" \
        --timeout "${seconds:-30}" "$property" >"$tmp/said" 2>&1
    status=$?
    grep -e "^not ok [0-9]* - $property: " "$tmp/said" >"$tmp/line"
    [ $status = 1 ] && grep -qF -e "$(of "$1" says)" "$tmp/line"
    result $? "$(basename "$1" .c) breaks $property"
    echo "$property" >>"$tmp/broken"
}

build/hakctl check-box build/tests/boxes/whole.so >"$tmp/said" 2>&1 &&
    ! grep -q '# SKIP' "$tmp/said"
result $? 'the whole box holds all and skips none'
build/hakctl check-box build/tests/boxes/three.so >"$tmp/said" 2>&1
result $? 'the smallest box holds all that it has'

for file in tests/boxes/*.c; do
    [ -z "$(of "$file" breaks)" ] || breaks "$file"
done

# What [core] verify says of them, while a program runs on them alone.
for file in tests/boxes/*.c; do
    [ -n "$(of "$file" verify)" ] || continue
    name=$(basename "$file" .c)
    printf '[core]\nverify = yes\n[box x]\npath = %s\n[policy]\n0- = x\n' \
        "$PWD/build/tests/boxes/$name.so" >"$tmp/x.ini"
    HAKMEM_CONF=$tmp/x.ini LD_PRELOAD=$PWD/build/libhakmem.so ls / \
        >"$tmp/said" 2>&1
    [ $? -gt 128 ] && grep -q '^hakmem: .*box x: ' "$tmp/said" &&
        grep -qF -e "$(of "$file" verify)" "$tmp/said"
    result $? "verify names $name and its operation"
done

build/hakctl check-box --list | sed 's/ .*//' | sort >"$tmp/listed"
sort -u "$tmp/broken" | comm -3 "$tmp/listed" - >"$tmp/said"
[ -s "$tmp/listed" ] && [ ! -s "$tmp/said" ]
result $? 'each property has a box in tests/boxes that breaks it'

for file in tests/boxes/broken_*.c; do
    [ -n "$(of "$file" breaks)" ] && [ -n "$(of "$file" says)" ] ||
        echo "$file: breaks: or says: is missing"
done >"$tmp/said"
[ ! -s "$tmp/said" ]
result $? 'each broken box says what it breaks'
finish
