#!/bin/sh
# trixie.sh - run the README's commands in a root folder with Debian 13
# (trixie), on any release. `make check-trixie` and CI run this.
#
#     tools/trixie.sh             build, make demo, the tests below
#     FULL=1 tools/trixie.sh      make demo, lint, check and bench QUICK=1
#     ROOT=DIR tools/trixie.sh    use DIR as the root folder: make it if it does
#                                 not exist, and keep it for the next time
#
# The script needs root's rights, debootstrap (which it installs) and a mirror
# of Debian's packages. Exit status 77, after one line with the reason: the root
# folder cannot be made here, and nothing was tested. The mounts of the root
# folder are in a namespace of their own, and end with its processes. So nothing
# is left behind, and DIR can be removed by hand.
set -eu
cd "$(dirname "$0")/.."

# Arguments of tests/run.sh: the tests that depend on versions of libraries,
# tools and programs.
quick='/coreutils.sh /python.sh /gcc.sh /redis.sh /other-malloc.sh'
quick="$quick test_conf test_foreign test_loader learner-observe"
quick="$quick default:build/tests/preload/atfork default:build/tests/preload/fork"
quick="$quick default:build/tests/preload/last_thread"
quick="$quick default:build/tests/preload/family conf/foreign/mimalloc.ini"
quick="$quick heap_profile hakctl/test_profile test_report test_stack"
suite=trixie
checkout=checkout # folder in /srv; the name must not occur in sources
log=build/trixie.log

left_out() {
    echo "trixie.sh: Debian 13 is left out: $*"
    exit 77
}

# ---- inside the namespace, outside of the root -----------------------------

# Run command $2 in the root folder $1. Its /proc, /sys and /dev are mounted in
# this namespace only.
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

# Print the mirror that this machine uses. If none is known, print nothing:
# debootstrap then takes its own.
# shellcheck disable=SC2016
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
        'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1
}

if [ -n "${ROOT:-}" ]; then
    root=$ROOT
else
    root=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-trixie.XXXXXX")
    chmod 755 "$root" # apt downloads as another user
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

# ---- test the tracked files as they are in the work tree ---------------------

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
