#!/bin/sh
# lint.sh - everything that can be said of the sources without running them.
# One line a step; what a failed one said comes under it and stays in
# build/lint/. Run by `make lint`, which builds first.
set -u
cd "$(dirname "$0")/.." || exit 2
export LC_ALL=C

out=build/lint
mkdir -p $out
failed=
steps=0

step() { # NAME FUNCTION
    steps=$((steps + 1))
    if "$2" >"$out/$2.txt" 2>&1; then
        printf '%-14s ok    %s\n' "$1" "$(tail -n 1 "$out/$2.txt")"
    else
        printf '%-14s FAIL\n' "$1"
        sed 's/^/    /' "$out/$2.txt"
        failed="$failed $1"
    fi
}

# Tracked files that are there, by pattern, one a line.
tracked() {
    git ls-files -- "$@" | while IFS= read -r file; do
        [ ! -f "$file" ] || printf '%s\n' "$file"
    done
}

sources() {
    tracked 'framework/*.c' 'plugins/*.c' 'tools/*.c' | grep -v /tests/
}

# Version 14 where it is, else the release's own. Sources are written so that
# clang-format 14 and 19 (Debian 12 and 13) want them alike.
tool() {
    command -v "$1-14" || command -v "$1" || echo "$1"
}

# ---- the steps -----------------------------------------------------------

format() {
    tracked '*.c' '*.h' | xargs "$(tool clang-format)" --dry-run -Werror \
        >$out/format.all 2>&1 || {
        sed -n 's/^\([^ :]*\):[0-9]*:[0-9]*: error:.*/\1/p' $out/format.all |
            sort -u | sed 's/$/: not formatted; make format does it/'
        return 1
    }
    echo "$(tracked '*.c' '*.h' | wc -l) files"
}

# As lint.sh --tidy FILE, one process a file: clang-tidy 14 finds faults with
# va_list from the second file on. What passed is looked at again when it, a
# header or the rules changed.
tidy_one() {
    stamp=$out/tidy/$1
    newer=$out/tidy/$1.h
    mkdir -p "${stamp%/*}"
    if [ -e "$stamp" ]; then
        find "$1" .clang-tidy -newer "$stamp" >"$newer"
        find framework plugins tools -name '*.h' -newer "$stamp" >>"$newer"
        [ -s "$newer" ] || return 0
    fi
    rm -f "$stamp"
    "$(tool clang-tidy)" --quiet "$1" -- -std=gnu11 -D_GNU_SOURCE \
        -Iframework/include -Iframework 2>"$newer" && : >"$stamp"
    grep -v 'warnings\{0,1\} generated' "$newer"
    [ -e "$stamp" ]
}

tidy() {
    sources | xargs -P 2 -n 1 tools/lint.sh --tidy || return 1
    echo "$(sources | wc -l) files"
}

check() {
    mkdir -p $out/cppcheck
    sources | xargs cppcheck -q -j 2 --cppcheck-build-dir=$out/cppcheck \
        --std=c11 -D_GNU_SOURCE -D__x86_64__ --inline-suppr \
        --enable=warning,performance,portability --error-exitcode=1 \
        --suppress=normalCheckLevelMaxBranches \
        -Iframework/include -Iframework || return 1
    echo "$(sources | wc -l) files"
}

boxes() {
    for box in build/boxes/*.so; do
        build/hakctl check-box "$box" 'file_*' >$out/box || {
            echo "$box:"
            grep -v '^ok' $out/box
            return 1
        }
    done
    set -- build/boxes/*.so
    echo "$# boxes"
}

scripts() {
    tracked '*.sh' | xargs shellcheck || return 1
    echo "$(tracked '*.sh' | wc -l) scripts"
}

# Where this checkout is, or a home: neither means anything elsewhere.
paths() {
    tracked | tr '\n' '\0' | xargs -0 grep -nIF "$(pwd -P)" >$out/found
    tracked | tr '\n' '\0' |
        xargs -0 grep -nIE '/(home|Users)/[A-Za-z]' >>$out/found
    if [ -s $out/found ]; then
        sed 's/$/   <- a path of one machine; write it relative/' $out/found
        return 1
    fi
    echo "$(tracked | wc -l) files"
}

# Includes go down, no circles: the folders as README draws them.
layers() {
    tools/layers.py
}

if [ "${1-}" = --tidy ]; then
    tidy_one "$2"
    exit
fi

if [ "$(tracked | wc -l)" = 0 ]; then
    echo 'lint: git tracks no file here; lint.sh looks at tracked files' >&2
    exit 2
fi
step clang-format format
step clang-tidy tidy
step cppcheck check
step boxes boxes
step shellcheck scripts
step paths paths
step layers layers

if [ -n "$failed" ]; then
    echo "lint: $steps steps, failed:$failed"
    exit 1
fi
echo "lint: $steps steps, nothing found"
