#!/bin/sh
# run.sh - all tests; what `make check` runs after `make tests`.
#
#     tests/run.sh                 all of them
#     tests/run.sh forks midmt     those with one of these words in their name
#     tests/run.sh --fused NAME    those that build/fused/NAME can be put to
#     tests/run.sh --foreign       preload tests on each conf/foreign/*.ini
#     tests/run.sh --list          the names
#     tests/run.sh --one NAME      one, as prove runs it; its output in full
#
# A name is a file; a preload test has its mode in front, as in
# verify:build/tests/preload/forks. Modes: plain (libc), those of
# tests/programs/modes.sh, conf/FILE instead of conf/default.ini, and fused/NAME
# for the library in build/fused/NAME. Fails when any test failed or was not
# built.
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

# A second each: the texts and the loader as they are, the malloc family on
# each kind of configuration.
fuzz()
{
    for target in conf signature box; do
        echo "build/tests/fuzz/$target"
    done
    for mode in plain default verify owns lanes-off conf/tiny.ini \
        conf/mid-v35.ini conf/smallmid.ini conf/learner.ini \
        conf/hardened.ini guard-each conf/foreign/jemalloc.ini; do
        echo "$mode:build/tests/fuzz/ops"
    done
}

conformance()
{
    sources plugins/*/*.mk |
        sed 's,^plugins/\([^/]*\)/.*,build/boxes/\1.so,'
}

preload()
{
    for file in tests/preload/*.c; do
        name=$(basename "$file" .c)
        case $name in
        learner)
            modes='learner learner-verify learner-lanes-off learner-observe
                   learner-off'
            ;;
        api | routes | sealed) modes='default verify owns lanes-off' ;;
        guard) modes='guard guard-each guard-recheck' ;;
        apart) continue ;; # its configuration alone: below
        background) modes='default background' ;;
        kept) modes='plain default owns lanes-off' ;;
        family | stress)
            modes='plain default verify owns lanes-off no-fallback guard
                   guard-each'
            ;;
        figures)
            modes='plain default verify owns lanes-off no-fallback guard
                   guard-each conf/tiny.ini conf/mid-v35.ini conf/smallmid.ini
                   conf/hardened.ini'
            ;;
        threads | threads_remote)
            modes='plain default verify owns lanes-off guard guard-each'
            ;;
        content | forks | life)
            modes='plain default verify owns lanes-off guard'
            ;;
        limits) modes='plain default verify owns lanes-off conf/hardened.ini' ;;
        churn)
            modes='plain default verify owns lanes-off guard conf/tiny.ini
                   conf/mid-v35.ini conf/smallmid.ini conf/hardened.ini'
            ;;
        faults) # every box that maps memory of the window
            modes='plain default lanes-off no-fallback guard-each conf/tiny.ini
                   conf/mid-v35.ini conf/smallmid.ini conf/hardened.ini'
            ;;
        *) modes='plain default verify owns lanes-off' ;;
        esac
        for mode in $modes; do
            echo "$mode:build/tests/preload/$name"
        done
    done
    for file in conf/*.ini; do
        [ "$file" = conf/default.ini ] && continue
        echo "$file:build/tests/preload/family"
        echo "$file:build/tests/preload/stress"
        echo "$file:build/tests/preload/sealed"
    done
    echo conf/hardened.ini:build/tests/preload/apart
    for file in conf/foreign/*.ini; do
        echo "$file:build/tests/preload/family"
        echo "$file:build/tests/preload/sealed"
    done
    # Some of them: all is --foreign.
    foreign | grep -e /stress$ -e /jemalloc.ini.*/ -e /two-makers.*/life$ \
        -e /mimalloc.ini.*/threads
}

foreign()
{
    for file in conf/foreign/*.ini; do
        for name in threads threads_remote limits stress life content forks \
            figures; do
            # tbbmalloc has no handler of fork: a child can find its locks taken
            case $file:$name in */tbbmalloc.ini:forks) continue ;; esac
            echo "$file:build/tests/preload/$name"
        done
    done
}

programs()
{
    sources tests/programs/*.sh |
        grep -v -e '/lib\.sh' -e '/modes\.sh' -e '/work-'
}

# NAME: all that can run on build/fused/NAME.
fused()
{
    {
        programs
        sources tests/preload/*.c | grep -v /apart |
            sed 's,^tests/preload/\(.*\)\.c$,build/tests/preload/\1,'
    } | sed "s,^,fused/$1:,"
}

# The long ones first, so that two jobs end together.
names()
{
    programs
    preload
    fuzz
    fused default | grep -e /preload/ -e /python -e /redis
    fused all-boxes | grep -e /build$ -e /family -e /stress -e /churn \
        -e /threads
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
    conf/*:*) on_ini "$1" ;;
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

if [ "${1:-}" = --fused ]; then
    chosen=$(fused "$2")
    shift 2
elif [ "${1:-}" = --foreign ]; then
    chosen=$(foreign)
    shift
else
    chosen=$(names)
fi
[ "${1:-}" = --list ] && echo "$chosen" && exit
if [ $# != 0 ]; then
    words=$(printf '%s\n' "$@")
    chosen=$(echo "$chosen" | grep -F -e "$words") || {
        echo "run.sh: no test has that in its name: $*" >&2
        exit 2
    }
fi
mkdir -p build/tests
# shellcheck disable=SC2086
exec prove -j2 --failures --timer --exec 'tests/run.sh --one' $chosen
