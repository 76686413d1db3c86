#!/bin/sh
# cxx.sh - C++: new and delete plain, sized, aligned, nothrow; containers.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need g++

# shellcheck disable=SC2154
g++ -std=c++17 -O1 -fno-builtin -o "$work/cxx" "$here/work.cc" || exit 1
modes=$every
same 'new and delete' "$work/cxx"
finish
