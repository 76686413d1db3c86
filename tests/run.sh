#!/bin/sh
# run.sh - all tests; what `make check` runs after `make tests`.
#
#     tests/run.sh                 all of them
#     tests/run.sh forks midmt     those with one of these words in their name
#     tests/run.sh --fused NAME    those that build/fused/NAME can be put to
#     tests/run.sh --foreign       preload tests on each conf/foreign/*.ini
#     tests/run.sh --quick         those of tests/quick.txt
#     tests/run.sh --list ...      their names
#     tests/run.sh --one NAME      one, as prove runs it; its output in full
#
# A name is a file; one that runs in modes has its mode in front, as in
# verify:build/tests/preload/forks. tests/modes.txt says what modes there are,
# and which test runs in which. Fails when any test failed or was not built.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=tests/programs/modes.sh
. tests/programs/modes.sh

conf=$PWD/conf/default.ini
lib=$PWD/build/libhakmem.so
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD

# ---- names -----------------------------------------------------------------

# FILES...: those of the source patterns that matched something.
sources()
{
    for file in "$@"; do
        [ -e "$file" ] && echo "$file"
    done
}

units()
{
    sources tests/unit/test_*.c | sed 's,^tests/\(.*\)\.c$,build/tests/\1,'
    sources plugins/*/tests/test_*.c |
        sed 's,^plugins/\([^/]*\)/tests/\(.*\)\.c$,build/tests/\1/\2,'
}

conformance()
{
    sources plugins/*/*.mk |
        sed 's,^plugins/\([^/]*\)/.*,build/boxes/\1.so,'
}

# tests/modes.txt as lines "TEST: MODE MODE...", a test a line, names of modes
# written out. Modes with long: in front become a line "long:TEST: MODE...".
table()
{
    awk '
        function add(mode, test) {
            if (mode ~ /^-/)
                line["long:" test] = line["long:" test] " " mode
            if (sub(/^long:/, "", mode))
                test = "long:" test
            line[test] = line[test] " " mode
        }
        { sub(/#.*/, "") }
        $2 == "=" { name = $1; $1 = $2 = ""; modes[name] = $0; next }
        {
            for (i = 2; i <= NF; i++) {
                n = split($i in modes ? modes[$i] : $i, mode)
                for (k = 1; k <= n; k++)
                    add(mode[k], $1)
            }
        }
        END { for (test in line) print test line[test] }' tests/modes.txt
}
modes=$(table)

# TEST NAME: the name, in each mode of the test.
in_modes()
{
    words=$(echo "$modes" | sed -n "s,^$1: ,,p")
    for mode in $words; do
        case "$mode: $words -conf/default.ini " in
        -* | *" -$mode "*) ;;
        *) echo "$mode:$2" ;;
        esac
    done
}

# A second each: the texts and the loader as they are, the malloc family in
# modes.
fuzz()
{
    for target in conf signature control profile trace box; do
        echo "build/tests/fuzz/$target"
    done
    in_modes fuzz/ops build/tests/fuzz/ops
}

preloads()
{
    sources tests/preload/*.c | sed 's,.*/\(.*\)\.c$,\1,'
}

preload()
{
    for test in $(preloads); do
        line=$test
        echo "$modes" | grep -q "^$test: " || line=others
        in_modes "$line" "build/tests/preload/$test"
    done
}

foreign()
{
    for test in $(preloads); do
        in_modes "long:$test" "build/tests/preload/$test"
    done
}

scripts()
{
    sources tests/programs/*.sh |
        grep -v -e '/lib\.sh' -e '/modes\.sh' -e '/work-'
}

programs()
{
    for file in $(scripts); do
        echo "$file"
        in_modes "programs/$(basename "$file" .sh)" "$file"
    done
}

# NAME: all that can run on build/fused/NAME.
fused()
{
    { scripts; preload | sed -n 's,^fused/default:,,p'; } |
        sed "s,^,fused/$1:,"
}

# The long ones first, so that two jobs end together.
names()
{
    programs
    preload
    fuzz
    sources tests/*/test_*.sh
    conformance
    units
}

# ---- one test ----------------------------------------------------------------

# Some tests want the machine for themselves, if only for a moment.
alone()
{
    case $1 in
    */overcommit.sh) printf %s -x ;;
    *) printf %s -s ;;
    esac
}

# INI:PROGRAM. The tunable: as hakctl run sets it for foreign boxes.
on_ini()
{
    env GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384 \
        LD_PRELOAD="$lib" HAKMEM_CONF="$PWD/${1%%:*}" \
        HAKMEM_STATS_AT_EXIT=none HAK_TEST_MODE="${1%%:*}" "${1#*:}"
}

one()
{
    case $1 in
    plain:*) HAK_TEST_MODE=plain "${1#*:}" ;;
    fused/*:*.sh)
        library=${1%%:*}
        HAK_TEST_FUSED=${library#*/} sh "${1#*:}"
        ;;
    fused/*:*)
        env LD_PRELOAD="$PWD/build/${1%%:*}/libhakmem.so" \
            HAK_TEST_MODE="${1%%:*}" "${1#*:}"
        ;;
    conf/foreign/*:*)
        if library=$(missing_library "${1%%:*}"); then
            echo "1..0 # SKIP there is no $library"
        else
            on_ini "$1"
        fi
        ;;
    conf/heap-profile.ini:*)
        mkdir -p build/tests/profiles
        export HAKMEM_HEAP_PROFILE_FILE="$PWD/build/tests/profiles/x.pb.gz"
        on_ini "$1"
        ;;
    conf/*:*) on_ini "$1" ;;
    record:*) # what hakctl says on stderr is no fault of the test
        traces=build/tests/traces/$$
        mkdir -p "$traces"
        HAK_TEST_MODE=record build/hakctl record -c "$conf" \
            -o "$traces/%p.trace" -- "${1#*:}"
        status=$?
        rm -rf "$traces"
        return $status
        ;;
    *:*)
        # shellcheck disable=SC2046
        env LD_PRELOAD="$lib" HAKMEM_CONF="$conf" HAK_TEST_MODE="${1%%:*}" \
            $(environment "${1%%:*}" "$conf") "${1#*:}"
        ;;
    */foreign.so) # the file alone is no allocator
        build/hakctl check-box -c conf/foreign/glibc.ini glibc --timeout 180
        ;;
    */guard.so) # a bounded number of small blocks
        build/hakctl check-box "$1" --timeout 180 --may-decline \
            most_per_second=0
        ;;
    *.so) build/hakctl check-box "$1" --timeout 180 ;;
    *.sh) sh "$1" ;;
    *) "$1" ;;
    esac
}

if [ "${1:-}" = --one ]; then
    exec 9>>build/tests/.lock
    command -v flock >/dev/null && flock "$(alone "$2")" 9
    one "$2" 9>&-
    exit
fi

# ---- all ---------------------------------------------------------------------

list= # --list may stand anywhere
for word in "$@"; do
    shift
    if [ "$word" = --list ]; then list=yes; else set -- "$@" "$word"; fi
done
case ${1:-} in
--fused)
    chosen=$(fused "$2")
    shift 2
    ;;
--foreign)
    chosen=$(foreign)
    shift
    ;;
--quick)
    chosen=$(names)
    shift
    # shellcheck disable=SC2046
    set -- $(grep -v '^#' tests/quick.txt)
    ;;
*) chosen=$(names) ;;
esac
if [ $# != 0 ]; then
    words=$(printf '%s\n' "$@")
    chosen=$(echo "$chosen" | grep -F -e "$words") || {
        echo "run.sh: no test has that in its name: $*" >&2
        exit 2
    }
fi
[ -z "$list" ] || { echo "$chosen" && exit; }
mkdir -p build/tests
rm -rf build/tests/profiles # of modes.sh
# shellcheck disable=SC2086
exec prove -j2 --failures --timer --exec 'tests/run.sh --one' $chosen
