#!/bin/sh
# run.sh SECONDS CONF... - what `make check-delays` built, on each configuration
# in turn until the time is over: churn, every fourth time the soak, whose routes
# move, and with some of them boxes that are swapped. Each run has a seed of its own; a failed one says how it is
# repeated, as far as threads can be.
#
#     HAK_DELAY_SEED=N tests/delays/run.sh 10 conf/default.ini
set -u
cd "$(dirname "$0")/../.." || exit 2
end=$(($(date +%s) + $1))
shift
seed=${HAK_DELAY_SEED:-$(date +%s)}
runs=0
swaps=swaps_under_threads_that_start_end_fork_and_free

# CONF SECONDS
one()
{
    program='churn churned'
    case $((runs % 4)),$1 in
    1,conf/default.ini | 1,tests/delays/hasty.ini)
        program="swaps $swaps" ;;
    3,*) program='stress soaked' ;;
    esac
    set -- env HAK_DELAY_SEED="$seed" HAK_TEST_SEED="$seed" \
        HAK_TEST_SOAK="$2" HAK_TEST_MODE="$1" HAKMEM_CONF="$PWD/$1" \
        LD_PRELOAD="$PWD/build/delays/libhakmem.so" \
        "build/tests/preload/${program% *}" "${program#* }"
    "$@" && return
    echo "# again: $*"
    exit 1
}

while :; do
    for conf in "$@"; do
        left=$((end - $(date +%s)))
        [ $runs != 0 ] && [ $left -le 0 ] && break 2
        one "$conf" $((left < 10 ? left : 10))
        runs=$((runs + 1))
        seed=$((seed + 1))
    done
done
echo "# $runs runs, the last with seed $((seed - 1))"
