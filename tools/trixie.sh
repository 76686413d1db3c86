#!/bin/sh
# trixie.sh - the README's commands in a root of Debian 13 (trixie), whatever
# release this machine runs; what `make check-trixie` and CI run.
#
#     tools/trixie.sh             builds, make demo, the tests below
#     FULL=1 tools/trixie.sh      make demo, lint, check and bench QUICK=1
#     ROOT=DIR tools/trixie.sh    the root is DIR: made if it is not there,
#                                 kept, and used again the next time
#
# Needs root's rights, debootstrap (installed if missing) and a mirror of
# Debian's packages. Exit code 77, after one line that says why: there can be no
# such root here, nothing was tested. The root's mounts are in a namespace of
# their own, whose processes end with it, so nothing is left behind, and
# removing DIR by hand is safe.
set -eu
cd "$(dirname "$0")/.."

# Words of tests/run.sh: what newer libraries, tools and programs meet.
quick='/coreutils.sh /python.sh /gcc.sh /redis.sh /other-malloc.sh'
quick="$quick test_conf test_foreign test_loader learner-observe"
quick="$quick default:build/tests/preload/atfork default:build/tests/preload/fork"
quick="$quick default:build/tests/preload/family conf/foreign/mimalloc.ini"
suite=trixie
checkout=checkout # in /srv of the root: a name that no source has
log=build/trixie.log

left_out() {
    echo "trixie.sh: Debian 13 is left out: $*"
    exit 77
}

# ---- inside the namespace, outside of the root -----------------------------

# COMMAND in the root $1, which has /proc, /sys and /dev here alone.
enter() {
    root=$1
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" CI="${CI:-}" \
        http_proxy="${http_proxy:-}" /bin/sh -euc "cd /srv/$checkout; $2"
}

if [ "${1-}" = --enter ]; then
    enter "$2" "$3"
fi

in_root() {
    unshare --mount --pid --fork --kill-child tools/trixie.sh \
        --enter "$root" "$1"
}

# ---- the root ----------------------------------------------------------------

[ "$(id -u)" = 0 ] || left_out "that takes root's rights"
unshare --mount --pid --fork true 2>/dev/null ||
    left_out 'no mount namespace can be made here'
tools/deps.sh trixie >&2 || left_out 'debootstrap cannot be installed'

# From where this machine has its packages; none known: debootstrap's own.
# shellcheck disable=SC2016
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
        'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1
}

if [ -n "${ROOT:-}" ]; then
    root=$ROOT
else
    root=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-trixie.XXXXXX")
    chmod 755 "$root" # apt fetches as a user of its own
    trap 'rm -rf --one-file-system "$root"' EXIT
    trap 'exit 1' HUP INT TERM PIPE
fi
mkdir -p build "$root"
root=$(cd "$root" && pwd -P)
if [ ! -e "$root/.made" ]; then
    echo "trixie.sh: debootstrap ($log has what it says)"
    # shellcheck disable=SC2046
    unshare --mount --pid --fork --kill-child debootstrap --variant=minbase \
        --include=gcc,make,git $suite "$root" $(mirror) >$log 2>&1 ||
        left_out "debootstrap: $(tail -n 1 $log)"
    touch "$root/.made"
fi

# ---- what is tested: the files that git tracks, as they are -------------------

rm -rf --one-file-system "$root/srv/$checkout"
mkdir -p "$root/srv/$checkout"
git ls-files -z | tar -c --null --ignore-failed-read -T - |
    tar -x -C "$root/srv/$checkout"
in_root 'git init -q . && git add -A && tools/deps.sh check >/dev/null' ||
    left_out 'its packages cannot be installed'

if [ -n "${FULL:-}" ]; then
    in_root 'make demo && make lint && make check && make bench QUICK=1'
else
    in_root "make demo && make -j2 tests && tests/run.sh $quick"
fi
echo 'trixie.sh: Debian 13: all of it passed'
