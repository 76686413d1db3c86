#!/bin/sh
# lint.sh - run all static checks of the sources. It prints one line for each
# step, with the output of a failed step under it. The outputs stay in
# build/lint/. `make lint` builds first and then runs this.
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

# Print the tracked files that match patterns and exist, one a line.
tracked() {
    git ls-files -- "$@" | while IFS= read -r file; do
        [ ! -f "$file" ] || printf '%s\n' "$file"
    done
}

sources() {
    tracked 'framework/*.c' 'plugins/*.c' 'tools/*.c' | grep -v /tests/
}

# Print the name of a clang tool: of version 14 if it is installed, else of the
# release's version. Sources are written so that clang-format 14 and 19 (Debian
# 12 and 13) agree on them.
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

# Run clang-tidy on one file, as lint.sh --tidy FILE. Each file needs a process
# of its own: clang-tidy 14 reports false errors about va_list from the second
# file on. A file that passed is checked again if the file, a header or the
# rules have changed.
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

# Find paths that exist on one machine only: this checkout's, or a home folder.
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
