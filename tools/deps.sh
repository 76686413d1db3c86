#!/bin/sh
# deps.sh GROUP... - install the Debian packages that groups of make targets
# need. Without root's rights, print the command to type in one line.
#
# "a|b" is one package under its names in different releases. The script takes
# the first name that is installed, or that this release has. If a release has
# none of the names, one line says so, and the tests and benches that need the
# package leave out what needs it.
set -eu

build='libinih-dev libffi-dev libjansson-dev libncurses-dev libmicrohttpd-dev
libdw-dev libelf-dev zlib1g-dev libiberty-dev libzstd-dev
libjs-chart.js'
peers='libmimalloc2.0|libmimalloc3 libjemalloc2
libtcmalloc-minimal4|libtcmalloc-minimal4t64 libtbbmalloc2'
programs='perl python3 git sqlite3 redis-server redis-tools xz-utils'

packages() { # GROUP
    case $1 in
    build) echo "$build" ;;
    demo) echo "$build python3" ;;
    check) echo "$build $programs g++ valgrind spin tar findutils coreutils jq
tmux prometheus curl postgresql
libdebuginfod1|libdebuginfod1t64 $peers libmemkind0" ;;
    bench) echo "$build $programs $peers python3-matplotlib z3 postgresql g++
jq" ;;
    fuzz) echo "$build clang libclang-rt-14-dev|libclang-rt-dev" ;;
    lint) echo "$build clang-format-14|clang-format clang-tidy cppcheck
shellcheck" ;;
    trixie) echo debootstrap ;;
    *) echo "deps.sh: unknown group $1" >&2; exit 2 ;;
    esac
}

# Is one of the names A|B installed?
installed() {
    for name in $(echo "$1" | tr '|' ' '); do
        dpkg-query -W -f='${Status}\n' "$name" 2>/dev/null |
            grep -q 'install ok installed' && return
    done
    return 1
}

# Print the first of the names A|B that can be installed; fail if there is none.
# If apt has no package lists, print the first name.
available() {
    set -- "$(echo "$1" | tr '|' ' ')"
    for name in $1; do
        apt-cache policy "$name" 2>/dev/null |
            grep -q '^  Candidate: [^(]' && echo "$name" && return
    done
    ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 && return 1
    echo "${1%% *}"
}

# Set `missing` to those of the `wanted` packages that can be installed.
choose() {
    missing=
    for package in $wanted; do
        if name=$(available "$package"); then
            missing="$missing $name"
        else
            echo "deps.sh: this release has no package $package;" \
                'what needs it is left out' >&2
        fi
    done
}

wanted=
for group in "$@"; do
    list=$(packages "$group")
    for package in $list; do
        installed "$package" || wanted="$wanted $package"
    done
done
[ -n "$wanted" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo=sudo
    else
        choose
        [ -n "$missing" ] || exit 0
        echo "missing packages; type: sudo apt-get install -y$missing" >&2
        exit 1
    fi
fi
# Keep packages from starting services: only their programs are needed.
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
choose
[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
