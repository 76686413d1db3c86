#!/bin/sh
# coreutils.sh - sort in threads, xz in threads, tar and find on a tree.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need sort xz tar find awk

# Lines of a fixed pseudo-random sequence.
lines()
{
    awk -v n="$1" 'BEGIN {
        for (x = 1; n > 0; n--) {
            x = (x * 16807) % 2147483647
            printf "%d %s%x\n", x, substr("abcdefghijklmnop", x % 9 + 1), x * 3
        }
    }'
}

tree()
{
    for d in 1 2 3 4 5 6 7 8 9; do
        mkdir -p "$1/d$d/deeper/and/deeper" "$1/d$d/empty"
        for f in 1 2 3 4 5 6 7 8 9; do
            seq "$d" $((f * 900)) >"$1/d$d/file$f"
            echo "$f" >"$1/d$d/deeper/and/deeper/$f"
        done
    done
}

lines 750000 >"$work/large"
lines 20000 >"$work/small"
tree "$work/tree"

same 'sort of 20 MB in two threads' \
    sort --parallel=2 -S 24M -T . -o sorted "$work/large"
same 'numeric sort' sort -n -r --parallel=2 -o sorted "$work/small"
same 'xz -T2' sh -c "xz -T2 -1 --block-size=2MiB -c '$work/large' >packed.xz &&
    xz -T2 -dc packed.xz | cksum"
same 'tar' sh -c "tar --sort=name --mtime=@0 --owner=0 --group=0 -C '$work' \
    -cf tree.tar tree && mkdir x && tar -xf tree.tar -C x && tar -tvf tree.tar"
# shellcheck disable=SC2016
same 'find' sh -c 'cd "$1" && find . -type f -size +2k -printf "%p %s\n" |
    sort; find . -depth -name "file*" -exec cksum {} + | sort;
    find . -empty | sort' find "$work/tree"
modes=$every
same 'small sort' sort --parallel=2 -S 1M -T . -o sorted "$work/small"
# The sandbox of xz 5.6 and later lets no file be made at its end.
same 'small xz -T2' HAKMEM_HEAP_PROFILE_AT_EXIT=no \
    sh -c "xz -T2 -0 --block-size=64KiB -c '$work/small' >packed.xz"
finish
