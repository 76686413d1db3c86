#!/bin/sh
# modes.sh - sourced: the ways in which tests run hakmem, as words for env.
#
#   default      as conf/default.ini says
#   verify       each free asks the directory and the boxes
#   owns         each free asks the boxes alone
#   lanes-off    each call crosses the boundary
#   no-fallback  libc is never asked
#   background   a thread of the core's ages memory
#   control      it can be asked and changed (docs/control.md)
#   learner...   as tests/lib/learner.ini says, evaluated more often; -verify,
#                -lanes-off as above, -observe and -off with that mode
#   guard        as conf/guard.ini says, one in 20; guard-each: every one;
#                guard-recheck: every one, and with signal_recheck
#   profile      with a heap profile of one block in 64 KiB; profile-each: of
#                every block; profile-lists: of each in a box whose spans are
#                lists (conf/smallmid.ini). It is written when the program
#                ends

# missing_library INI: what a box of the INI calls and this system does not
# have, one name; fails if all is there or anything else is wrong.
missing_library()
{
    "${root:-.}/build/hakctl" lint "$1" 2>/dev/null | sed -n \
        -e 's/.*: cannot be loaded: there is no //p' \
        -e 's/.*: cannot be loaded: \(.*\): cannot open shared object.*/\1/p' |
        head -n 1 | grep .
}

boxes()
{
    sed -n 's/^\[box \([a-z0-9_]*\)\].*/\1/p' "$1"
}

# environment MODE CONF
environment()
{
    case $1 in
    default) ;;
    verify) echo HAKMEM_CORE_VERIFY=yes ;;
    owns) echo HAKMEM_CORE_FREE_ROUTE=owns ;;
    lanes-off)
        boxes "$2" | tr '[:lower:]' '[:upper:]' |
            sed 's/.*/HAKMEM_BOX_&_LANES=off/'
        ;;
    no-fallback) echo HAKMEM_CORE_FALLBACK=none ;;
    background) echo HAKMEM_CORE_BACKGROUND=yes ;;
    control)
        echo HAKMEM_CONTROL_SOCKET=auto XDG_RUNTIME_DIR="${root:-$PWD}/build"
        ;;
    learner | learner-*)
        echo HAKMEM_CONF=tests/lib/learner.ini HAKMEM_LEARNER_EVERY=64
        case $1 in
        learner-verify | learner-lanes-off)
            environment "${1#learner-}" tests/lib/learner.ini
            ;;
        learner-*) echo HAKMEM_LEARNER_MODE="${1#learner-}" ;;
        esac
        ;;
    guard | guard-*)
        echo HAKMEM_CONF=conf/guard.ini HAKMEM_BOX_GUARD_MOST_PER_SECOND=0
        case $1 in
        guard) echo HAKMEM_CORE_SAMPLE_EVERY=20 ;;
        *) echo HAKMEM_CORE_SAMPLE_EVERY=1 ;;
        esac
        case $1 in
        guard-recheck) echo HAKMEM_BOX_GUARD_SIGNAL_RECHECK=yes ;;
        esac
        ;;
    profile | profile-each | profile-lists)
        profiles=${root:-$PWD}/build/tests/profiles
        mkdir -p "$profiles"
        echo HAKMEM_HEAP_PROFILE_FILE="$profiles/%p.pb.gz" \
            HAKMEM_HEAP_PROFILE_COST=0
        case $1 in
        profile) echo HAKMEM_HEAP_PROFILE_EVERY=64k ;;
        profile-lists)
            echo HAKMEM_HEAP_PROFILE_EVERY=1 HAKMEM_CONF=conf/smallmid.ini
            ;;
        *) echo HAKMEM_HEAP_PROFILE_EVERY=1 ;;
        esac
        ;;
    *)
        echo "modes.sh: no mode $1" >&2
        return 2
        ;;
    esac
}
