#!/bin/sh
# test_models.sh [MODEL...] - search each model of tests/models/ through to the end:
# it must hold, and each of its weakenings ("weak: NAME") must not. TAP.
set -u
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v spin >/dev/null; then
    echo '1..0 # SKIP no spin'
    exit 0
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-models.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
count=0
failed=0
[ $# != 0 ] || set -- "$here"/*.pml

# search FILE [WEAKENING]: leaves the verifier's words in $work/said.
search()
{
    (cd "$work" && spin ${2:+-D$2} -a "$1" &&
        "${CC:-cc}" -w -O1 -DSAFETY -DMEMLIM=512 -o pan pan.c &&
        ./pan -m100000) >"$work/said" 2>&1
}

report()
{
    count=$((count + 1))
    [ "$1" = 0 ] || failed=1
    [ "$1" = 0 ] || sed 's/^/# /' "$work/said"
    [ "$1" = 0 ] && echo "ok $count - $2" || echo "not ok $count - $2"
}

for model in "$@"; do
    model=$(cd "$(dirname "$model")" && pwd)/$(basename "$model")
    name=$(basename "$model" .pml)
    search "$model"
    grep -q 'errors: 0$' "$work/said" &&
        ! grep -q -e 'not completed' -e 'too small' "$work/said"
    report $? "$name: $(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' \
        "$work/said") states"
    sed -n 's/^ \* weak: \([A-Z_]*\).*/\1/p' "$model" >"$work/weak"
    while read -r weak; do
        search "$model" "$weak"
        grep -q 'errors: [1-9]' "$work/said"
        report $? "$name: not with $weak"
    done <"$work/weak"
done
echo "1..$count"
exit $failed
