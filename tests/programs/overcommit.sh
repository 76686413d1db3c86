#!/bin/sh
# overcommit.sh - no overcommit (mode 2): every private page counts. The mode
# is the machine's, so it is set for a moment only, by root, and restored.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need perl

mode_file=/proc/sys/vm/overcommit_memory
[ "$(id -u)" = 0 ] || skip_all 'not root'
was=$(cat $mode_file) || skip_all "no $mode_file"
restore() { echo "$was" >$mode_file; }
(echo 2 >$mode_file) 2>/dev/null || skip_all "$mode_file cannot be written"
trap 'restore; rm -rf "$work"' EXIT
[ "$(cat $mode_file)" = 2 ] || skip_all "$mode_file does not keep 2"

same 'perl in mode 2' perl "$here/work.pl" 10000
same 'forks in mode 2' sh -c 'seq 1 9000 | sort -r | uniq | wc -l'
if command -v prlimit >/dev/null; then
    same 'perl in mode 2 and 1 GiB of address space' \
        prlimit --as=1073741824 perl "$here/work.pl" 1000
fi
restore
finish
