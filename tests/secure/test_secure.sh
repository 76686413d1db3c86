#!/bin/sh
# test_secure.sh - a set-user-ID program that is linked with hakmem: the
# environment is ignored, and only what root alone can write is used. TAP.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
if [ "$(id -u)" != 0 ] || ! command -v setpriv >/dev/null; then
    echo "1..0 # SKIP needs root and setpriv"
    exit 0
fi
# Not below a mount with nosuid, and reachable by everybody.
dir=$(mktemp -d /var/tmp/hakmem-secure.XXXXXX)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
mkdir -p "$dir/build/boxes" "$dir/conf"
n=0
turns=

# verdict NAME 0|1
verdict() {
    n=$((n + 1))
    if [ "$2" = 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; fi
}

fresh() {
    cp "$top/build/libhakmem.so.1" "$dir/build/"
    cp "$top"/build/boxes/*.so "$dir/build/boxes/"
    cp "$top/conf/default.ini" "$dir/conf/"
    chown -R root:root "$dir"
    chmod 755 "$dir"/build/boxes/*.so
    chmod 644 "$dir/conf/default.ini"
    [ ! -e "$dir/owner" ] || chmod 4755 "$dir/owner" # chown took it away
}

# check NAME WANTED-OUTPUT WANTED-TEXT-ON-STDERR [VARIABLE=VALUE...]
check() {
    name=$1 want=$2 message=$3
    shift 3
    n=$((n + 1))
    out=$(env "$@" setpriv --reuid=65534 --regid=65534 --clear-groups \
        "$dir/owner" ${turns:+"$turns"} 2>"$dir/stderr")
    said=$(cat "$dir/stderr")
    case "$said" in *"$message"*) told=yes ;; *) told=no ;; esac
    if [ "$out" = "$want" ] && [ $told = yes ] &&
        { [ -n "$message" ] || [ -z "$said" ]; }; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        echo "# stdout: $out"
        sed 's/^/# stderr: /' "$dir/stderr"
    fi
}

fresh
${CC:-cc} -I "$top/framework/include" -o "$dir/owner" \
    "$top/tests/secure/owner.c" "$dir/build/libhakmem.so.1" \
    -Wl,-rpath,"$dir/build" || exit 1
chmod 4755 "$dir/owner"

check "runs on the boxes" ultra ""
check "HAKMEM_CONF is ignored" ultra "" HAKMEM_CONF=/nonexistent
check "keys in the environment are ignored" ultra "" HAKMEM_CORE_VERIFY=what
check "so is the exit report" ultra "" HAKMEM_STATS_AT_EXIT=stderr

turns=200
sed "s,^log .*,log = $dir/learner.log," "$top/conf/learner.ini" \
    >"$dir/conf/default.ini"
check "routes are learned" mid_v35 ""
[ ! -e "$dir/learner.log" ]
verdict "but no log is written" $?
"$dir/owner" $turns >"$dir/stdout"
grep -q '^owner .*C7 ultra -> mid_v35, rule light' "$dir/learner.log"
verdict "as it is without raised rights" $?
turns=
fresh

chmod o+w "$dir/build/boxes/ultra.so"
check "a box that others can write is refused" libc "can be written by others"
fresh
chown nobody "$dir/build/boxes/ultra.so"
check "a box that is not root's is refused" libc "is not owned by root"
fresh
chmod o+w "$dir/conf/default.ini"
check "so is such an INI" libc "no configuration that root alone can write"
fresh
chown nobody "$dir/conf/default.ini"
check "or one that is not root's" libc \
    "no configuration that root alone can write"

# A fused library needs no files, so there are none to distrust.
rm -r "$dir/build/boxes" "$dir/conf"
cp "$top/build/fused/default/libhakmem.so.1" "$dir/build/"
check "a fused library runs on its boxes, and ignores the environment" \
    ultra "" HAKMEM_CONF=/nonexistent HAKMEM_STATS_AT_EXIT=stderr
echo "1..$n"
