#!/bin/sh
# deps.sh GROUP - install the Debian packages that a group of targets needs,
# or, without the rights to, name them in one line with the command to type.
set -eu

build='libinih-dev libffi-dev'
case "$1" in
build) want=$build ;;
demo) want="$build python3" ;;
check) want="$build perl python3 git sqlite3 redis-server redis-tools xz-utils \
g++ valgrind spin tar findutils coreutils jq libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4 \
libtbbmalloc2 libmemkind0" ;;
bench) want="$build python3 python3-matplotlib libmimalloc2.0 libjemalloc2 \
libtcmalloc-minimal4 libtbbmalloc2 perl git sqlite3 redis-server redis-tools \
xz-utils z3" ;;
fuzz) want="$build clang libclang-rt-14-dev" ;;
lint) want="$build clang-format-14 clang-tidy cppcheck shellcheck" ;;
*) echo "deps.sh: unknown group $1" >&2; exit 2 ;;
esac

missing=
for package in $want; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null |
        grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo=sudo
    else
        echo "missing packages; type: sudo apt-get install -y$missing" >&2
        exit 1
    fi
fi
# The services that some packages bring are not wanted, only their programs.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then
    made=1
    printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
    $sudo chmod +x $policy
fi
trap '[ -z "$made" ] || $sudo rm -f $policy' EXIT
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
