#!/bin/sh
# run.sh asan | tsan - the tests that `make check-asan`, `make check-tsan` built.
set -u
cd "$(dirname "$0")/../.." || exit 2
# Some tests mean to die of a signal.
all=handle_segv=0:handle_sigbus=0
export ASAN_OPTIONS="$all:detect_leaks=0:allocator_may_return_null=1"
export UBSAN_OPTIONS=print_stacktrace=1
# Children of programs with threads go on; see tsan.supp for what is known.
export TSAN_OPTIONS="$all:die_after_fork=0:suppressions=tests/sanitize/tsan.supp"
# shellcheck disable=SC2046
exec prove --exec '' $(find build/"$1"/tests -type f -perm -u+x -name 'test_*' |
    sort)
