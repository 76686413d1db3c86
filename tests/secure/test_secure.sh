#!/bin/sh
# test_secure.sh - a set-user-ID program that is linked with hakmem: the
# environment is ignored, and only what root alone can write is used. TAP.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
if [ "$(id -u)" != 0 ] || ! command -v setpriv >/dev/null; then
    echo "1..0 # SKIP needs root and setpriv"
    exit 0
fi
# Not below a mount with nosuid, reachable by everybody, and writable by root
# alone all the way up, which /tmp and /var/tmp are not.
for base in /opt /srv /var/lib; do
    [ "$(stat -c '%u %A' "$base" 2>/dev/null | tr -d 'rx-')" = '0 dw' ] && break
done
dir=$(mktemp -d "$base/hakmem-secure.XXXXXX") || exit 1
loose=$(mktemp -d /tmp/hakmem-loose.XXXXXX) || exit 1
trap 'rm -rf "$dir" "$loose"' EXIT
chmod 755 "$dir" "$loose"
mkdir -p "$dir/build/boxes" "$dir/build/modules" "$dir/conf"
n=0
turns=

# verdict NAME 0|1
verdict() {
    n=$((n + 1))
    if [ "$2" = 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; fi
}

fresh() {
    rm -rf "$dir/build/boxes"
    mkdir "$dir/build/boxes"
    cp "$top/build/libhakmem.so.1" "$dir/build/"
    cp "$top"/build/boxes/*.so "$dir/build/boxes/"
    cp "$top"/build/modules/*.so "$dir/build/modules/"
    cp "$top/conf/default.ini" "$dir/conf/"
    chown -R root:root "$dir"
    chmod 755 "$dir" "$dir"/build "$dir"/build/boxes "$dir"/build/boxes/*.so \
        "$dir"/build/modules "$dir"/build/modules/*.so
    chmod 644 "$dir/conf/default.ini"
    [ ! -e "$dir/owner" ] || chmod 4755 "$dir/owner" # chown took it away
}

# ini KEY-OF-STATS VALUE, or ini path FILE: of the box ultra
ini() {
    case $1 in
    path) sed "s,^\[box ultra\],&\npath = $2," "$top/conf/default.ini" ;;
    *) sed "s,^$1 = none.*,$1 = $2," "$top/conf/default.ini" ;;
    esac >"$dir/conf/default.ini"
}

# check NAME WANTED-OUTPUT WANTED-TEXT-ON-STDERR [VARIABLE=VALUE...]
check() {
    name=$1 want=$2 message=$3
    shift 3
    n=$((n + 1))
    out=$(cd "$loose" && env "$@" setpriv --reuid=65534 --regid=65534 --clear-groups \
        "$dir/owner" ${turns:+"$turns"} 2>"$loose/stderr")
    said=$(cat "$loose/stderr")
    case "$said" in *"$message"*) told=yes ;; *) told=no ;; esac
    if [ "$out" = "$want" ] && [ $told = yes ] &&
        { [ -n "$message" ] || [ -z "$said" ]; }; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        echo "# stdout: $out"
        sed 's/^/# stderr: /' "$loose/stderr"
    fi
}

fresh
${CC:-cc} -I "$top/framework/include" -o "$dir/owner" \
    "$top/tests/secure/owner.c" "$dir/build/libhakmem.so.1" \
    -Wl,-rpath,"$dir/build" || exit 1
chmod 4755 "$dir/owner"

boxes='ultra midmt large'
no_ultra='libc midmt large'
libc='libc libc libc'
check "runs on the boxes, each a file of its own" "$boxes" ""
check "HAKMEM_CONF is ignored" "$boxes" "" HAKMEM_CONF=/nonexistent
check "keys in the environment are ignored" "$boxes" "" HAKMEM_CORE_VERIFY=what
check "so is the exit report" "$boxes" "" HAKMEM_STATS_AT_EXIT=stderr

# ---- reports -----------------------------------------------------------------

turns=200
sed "s,^log .*,log = $dir/learner.log," "$top/tests/lib/learner.ini" \
    >"$dir/conf/default.ini"
check "routes are learned" mid_v35 ""
grep -q '^owner .*C7 ultra -> mid_v35, rule light' "$dir/learner.log"
verdict "and logged where root alone can write" $?
sed "s,^log .*,log = $loose/learner.log," "$top/tests/lib/learner.ini" \
    >"$dir/conf/default.ini"
check "but not in a directory of others" mid_v35 \
    "learner.log: cannot be opened: lies in /tmp, which can be written by"
there=0
[ ! -e "$loose/learner.log" ] || there=1
verdict "no log is there" $there
turns=

ini at_exit "$dir/report"
check "a report where root alone can write" "$boxes" ""
verdict "is for root alone" "$([ "$(stat -c '%u %a' "$dir/report")" = '0 600' ]
    echo $?)"
ini at_exit "$loose/report"
check "no report elsewhere" "$boxes" \
    "[stats] at_exit = $loose/report: cannot be opened: lies in /tmp, which"
ini at_exit report
check "nor in the directory that the program is started in" "$boxes" \
    "at_exit = report: cannot be opened: is no whole path"
fresh
ini socket auto
rm "$dir/build/modules/control.so"
check "no control socket, and its module is not looked for" "$boxes" ""
fresh

# ---- boxes -------------------------------------------------------------------

chmod o+w "$dir/build/boxes/ultra.so"
check "a box that others can write is refused" "$no_ultra" \
    "ultra.so can be written by others"
fresh
chmod g+w "$dir/build/boxes/ultra.so"
check "or a group" "$no_ultra" "ultra.so can be written by others"
fresh
chown nobody "$dir/build/boxes/ultra.so"
check "a box that is not root's is refused" "$no_ultra" \
    "ultra.so is not owned by root"
fresh
chmod o+w "$dir/build/boxes"
check "a directory that others can write to" "$libc" \
    "ultra.so lies in $dir/build/boxes, which can be written by others"
fresh
chown nobody "$dir/build"
check "one further up that is not root's" "$libc" \
    "ultra.so lies in $dir/build, which is not owned by root"
fresh
mv "$dir/build/boxes/ultra.so" "$dir/build/real.so"
ln -s ../real.so "$dir/build/boxes/ultra.so"
check "a link of root's is followed" "$boxes" ""
fresh
ln -s "$dir/build/boxes/ultra.so" "$loose/ultra.so"
ini path "$loose/ultra.so"
check "a link in a directory of others is not" "$no_ultra" \
    "ultra.so lies in /tmp, which can be written by others"
mkdir "$dir/hall"
chown nobody "$dir/hall"
ln -s "$dir/hall" "$dir/door"
cp "$top/build/boxes/ultra.so" "$dir/hall"
ini path "$dir/door/ultra.so"
check "nor is a link of root's to such a directory trusted" "$no_ultra" \
    "ultra.so lies in $dir/hall, which is not owned by root"
cp "$top/build/boxes/ultra.so" "$loose/other.so"
ini path ./other.so
check "nothing is looked for in the working directory" "$no_ultra" \
    "./other.so is no whole path"
fresh

# ---- configuration -----------------------------------------------------------

chmod o+w "$dir/conf/default.ini"
check "so is such an INI" "$libc" \
    "$dir/conf/default.ini: can be written by others"
fresh
chown nobody "$dir/conf/default.ini"
check "or one that is not root's" "$libc" \
    "$dir/conf/default.ini: is not owned by root"
fresh
chmod o+w "$dir/conf"
check "or one in a directory of others" "$libc" \
    "$dir/conf/default.ini: lies in $dir/conf, which can be written by others"
chmod o-w "$dir/conf"

# A fused library needs no files, so there are none to distrust.
rm -r "$dir/build/boxes" "$dir/conf"
cp "$top/build/fused/default/libhakmem.so.1" "$dir/build/"
check "a fused library runs on its boxes, and ignores the environment" \
    "$boxes" "" HAKMEM_CONF=/nonexistent HAKMEM_STATS_AT_EXIT=stderr
echo "1..$n"
