#!/bin/sh
# long.sh SECONDS - every fuzz target for its part of that time; `make fuzz`.
# Texts by libFuzzer, whose finds stay in build/fuzz/corpus; the others with
# the driver of `make check`. What kills a target is named, to become a seed.
set -u
cd "$(dirname "$0")/../.." || exit 2
total=$1
confs='default tiny mid-v35 smallmid lanes-off verify hardened guard'
# five texts, the box loader, the calls on each configuration
part=$((total / 14))
[ "$part" -gt 0 ] || part=1
failed=0

# found NAME FILE
found()
{
    echo "fuzz: $1 failed on $2; mend it and keep that file in tests/fuzz/seeds/" >&2
    failed=1
}

for target in conf signature control profile trace; do
    mkdir -p build/fuzz/corpus/$target
    seeds=tests/fuzz/seeds/$target
    [ $target = conf ] && seeds="$seeds tests/conf conf"
    # shellcheck disable=SC2086
    build/fuzz/$target -max_total_time="$part" -timeout=10 -print_final_stats=1 \
        -artifact_prefix=build/fuzz/$target- build/fuzz/corpus/$target $seeds \
        >build/fuzz/$target.log 2>&1 ||
        found $target "$(sed -n 's/.*Test unit written to //p' \
            build/fuzz/$target.log)"
    grep number_of_executed_units build/fuzz/$target.log | sed "s/^/$target: /"
done

export HAK_FUZZ_SECONDS="$part"
build/tests/fuzz/box | sed 's/^/box: /' | grep changed ||
    found box build/fuzz/box.input
for conf in $confs; do
    LD_PRELOAD=$PWD/build/libhakmem.so HAKMEM_CONF=$PWD/conf/$conf.ini \
        HAK_TEST_MODE=$conf build/tests/fuzz/ops >build/fuzz/ops.log ||
        found "ops on conf/$conf.ini" "build/fuzz/ops.$conf.input"
    grep changed build/fuzz/ops.log | sed "s/^/ops on $conf: /"
    grep SEED build/fuzz/ops.log
done
exit $failed
