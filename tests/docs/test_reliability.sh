#!/bin/sh
# test_reliability.sh - docs/reliability.md: the tests that it names are there,
# and its commands run something. TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
doc=$tmp/doc # with @ for what quotes code
tr '\140' @ <docs/reliability.md >"$doc"
said=$tmp/bad
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

none() { # NAME: of what $tmp/bad complains
    [ ! -s "$tmp/bad" ]
    result $? "$1"
}

tests/run.sh --list >"$tmp/list"
{
    cat tests/*/*.[ch] plugins/*/tests/*.[ch] Makefile
    find framework -name '*.[ch]' -exec cat {} +
} >"$tmp/sources"

# A name with an underscore is a case or a function; with a * some.
grep -o '@[a-z0-9]*_[a-z0-9_]*\*\{0,1\}@' "$doc" | tr -d '@*' | sort -u |
    while read -r name; do
        grep -q "\<$name" "$tmp/sources" || echo "no $name"
    done >"$tmp/bad"
none 'cases'

grep -oE '\b(tests|plugins|framework|conf|bench)/[A-Za-z0-9_./*-]+\b' "$doc" |
    grep -v NAME | sort -u | while read -r path; do
        # shellcheck disable=SC2086
        ls -d $path >/dev/null 2>&1 || ls -d $path.* >/dev/null 2>&1 ||
            echo "no $path"
    done >"$tmp/bad"
none 'files with their folder'

grep -oE '@[a-z_]+\.(c|h|pml)@' "$doc" | tr -d @ | sort -u |
    while read -r file; do
        [ -n "$(find framework plugins tests -name "$file")" ] ||
            echo "no $file"
    done >"$tmp/bad"
none 'files by their name'

# @tests/run.sh WORD...@, and the last column of the first table.
{
    grep -o '@tests/run\.sh [^@]*@' "$doc" | cut -d' ' -f2-
    sed -n '/^## What works/,/^## What is caught/s/.*| \(@.*@\) |$/\1/p' "$doc"
} | tr -d '@,' | tr ' ' '\n' | grep -v -e ^-- -e WORD | sort -u |
    while read -r word; do
        grep -qF -e "$word" "$tmp/list" || echo "tests/run.sh $word: no test"
    done >"$tmp/bad"
none 'words of tests/run.sh'

grep -oE '@make [a-z-]+' "$doc" | cut -d' ' -f2 | sort -u |
    while read -r target; do
        [ -d "plugins/${target#check-}" ] ||
            grep -qE "^(\.PHONY:)?([a-z -]* )?$target\b" Makefile \
                framework/fused.mk || echo "no make $target"
    done >"$tmp/bad"
none 'targets of make'
finish
