# shellcheck shell=sh
# lib.sh - sourced by the tests of this folder, from the repository root after
# `make tests`: questions to hakctl, judgements of exact words and exit codes,
# as TAP, and a tree like an installed one, in a directory of its own. So what
# the real boxes and configurations say may change.
set -u
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD LD_LIBRARY_PATH
export LC_ALL=C

top=$(pwd -P)
tmp=$(mktemp -d) || exit 1
tmp=$(cd "$tmp" && pwd -P)
trap 'rm -rf "$tmp"' EXIT

# ---- asking and judging ----------------------------------------------------

said=$tmp/why
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

# COMMAND...: leaves out, err (our directories as TMP and TOP) and status
try() {
    "$@" >"$tmp/out.raw" 2>"$tmp/err.raw"
    status=$?
    sed "s|$tmp|TMP|g; s|$top|TOP|g" "$tmp/out.raw" >"$tmp/out"
    sed "s|$tmp|TMP|g; s|$top|TOP|g" "$tmp/err.raw" >"$tmp/err"
}

says() { # NAME STATUS out|err: exactly what comes on stdin, the other nothing
    other=out
    [ "$3" = err ] || other=err
    cat >"$tmp/want"
    {
        [ "$status" = "$2" ] || echo "status $status, not $2"
        diff "$tmp/want" "$tmp/$3"
        sed "s/^/std$other: /" "$tmp/$other"
    } >"$tmp/why"
    judge "$1"
}

holds() { # NAME STATUS out|err PATTERN: a line matches
    {
        [ "$status" = "$2" ] || echo "status $status, not $2"
        grep -q -e "$4" "$tmp/$3" || {
            echo "no line like $4 in std$3:"
            cat "$tmp/$3"
        }
    } >"$tmp/why"
    judge "$1"
}

judge() { # NAME: good when why is empty
    [ ! -s "$tmp/why" ]
    result $? "$1"
}

json() { # NAME STATUS FILTER RESULT: of stdout, compact
    {
        [ "$status" = "$2" ] || echo "status $status, not $2"
        got=$(jq -c "$3" "$tmp/out" 2>&1)
        [ "$got" = "$4" ] || printf '%s\nis not\n%s\n' "$got" "$4"
    } >"$tmp/why"
    judge "$1"
}

# ---- the tree ----------------------------------------------------------------

prefix=$tmp/prefix
# shellcheck disable=SC2034 # for those that source this
ctl=$prefix/bin/hakctl
mkdir -p "$prefix/bin" "$prefix/lib/hakmem" "$prefix/share/hakmem/conf"
cp build/hakctl build/hakctl-check-box "$prefix/bin"
cp build/libhakmem.so.1 "$prefix/lib"

box() { # FILE FLAGS...
    out=$1
    shift
    "${CC:-gcc}" "$@" -std=gnu11 -O1 -shared -fPIC -fvisibility=hidden \
        -Iframework/include -o "$out" tests/hakctl/sample.c
}
box "$prefix/lib/hakmem/sample.so" || exit 1
box "$prefix/lib/hakmem/swift.so" -DLANES || exit 1
box "$prefix/lib/hakmem/bare.so" -DBARE || exit 1
box "$tmp/crashes.so" -DCRASHES || exit 1
echo 'no box' >"$tmp/text.so"

cat >"$prefix/share/hakmem/conf/default.ini" <<'EOF'
[box swift]
[box sample]
[box bare]
[route small]
box = swift
fallback = sample
[policy]
17-512 = small
513-1024 = sample
1025- = bare
0-16 = bare
[profile other]
policy.C4 = bare
EOF
# shellcheck disable=SC2034
default=$prefix/share/hakmem/conf/default.ini

# Configurations with errors, with warnings, and with profiles.
cat >"$tmp/bad.ini" <<EOF
[core]
fallbak = libc
[box sample]
numbr = 1
mode = slow
lanes = perhaps
[box gone]
[box odd]
path = $tmp/text.so
[policy]
C0-C7 = sample
1025- = odd
EOF

cat >"$tmp/ranges.ini" <<'EOF'
[box sample]
[box bare]
[box swift]
[route mixed]
box = sample
fallback = swift
[policy]
C0-C7 = sample
1025-4k = mixed
4097- = swift
EOF

cat >"$tmp/profiles.ini" <<'EOF'
[box sample]
[policy]
17-1024 = sample
[profile a]
box sample.number = 11
[profile b]
box sample.number = 10
EOF
