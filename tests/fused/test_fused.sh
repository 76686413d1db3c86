#!/bin/sh
# test_fused.sh - libraries of make fused: what is in them, what they refuse,
# and what cannot be fused. TAP; run from the repository root after
# `make tests`. (Programs run on them too: run.sh, fused/NAME.)
set -u
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD MAKEFLAGS MAKELEVEL
export LC_ALL=C

ctl=build/hakctl
lib=$PWD/build/fused/default/libhakmem.so
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

said=$tmp/why
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

ok() { # NAME, of the status before; what was found is in $tmp/why
    result $? "$1"
    : >"$tmp/why"
}

says() { # TEXT: stands in what was said
    cat "$tmp/out" "$tmp/err" >"$tmp/why"
    grep -qF -e "$1" "$tmp/why"
}

# ENVIRONMENT...: a program under the default library, and what it said.
under() {
    env LD_PRELOAD="$lib" "$@" /bin/ls / >"$tmp/out" 2>"$tmp/err"
}

# MAKE-ARGUMENTS...: fails, and makes no library.
refuses() {
    make --no-print-directory fused "$@" >"$tmp/out" 2>"$tmp/err" &&
        echo "make did not fail" >>"$tmp/err" && return 1
    return 0
}

# ---- what is in it -----------------------------------------------------------

exported() {
    nm -D --defined-only "$1" | awk '{ print $3 }' | sort
}
exported build/libhakmem.so >"$tmp/out"
exported "$lib" | diff "$tmp/out" - >"$tmp/why"
ok 'exports what the other library exports'

nm -D --undefined-only "$lib" | grep -w -e dlopen -e realpath -e stat >"$tmp/why"
[ ! -s "$tmp/why" ]
ok 'opens no box and looks for no INI'

! grep -E -e '/(boxfile|setup|policy|conf_file)\.o' -e libinih \
    build/fused/default/libhakmem.map >"$tmp/why"
ok 'nothing that reads an INI or opens boxes was linked'

nm build/fused/all-boxes/libhakmem.so >"$tmp/out"
: >"$tmp/err"
says midmt_init && says smallmid && says tiny && says large
ok 'boxes with equal names inside are in one library'

$ctl version "$lib" >"$tmp/out" 2>"$tmp/err" &&
    says ', fused from conf/default.ini' && says '  box midmt: midmt '
ok 'hakctl version: a fused library'
$ctl version build/libhakmem.so >"$tmp/out" 2>"$tmp/err" && says 'dlopened'
ok 'hakctl version: the other one'
$ctl version build/fused/all-boxes/libhakmem.so >"$tmp/out" 2>"$tmp/err" &&
    says '  box second: ultra ' && says ', lanes off'
ok 'hakctl version: two boxes of one kind'
$ctl version README.md /nonexistent >"$tmp/out" 2>"$tmp/err"
[ $? = 2 ] && says 'README.md is no library of hakmem' &&
    says '/nonexistent cannot be opened'
ok 'hakctl version: no library'
$ctl boxes "$lib" >"$tmp/out" 2>"$tmp/err"
[ $? = 1 ] && says 'is a library of hakmem, no box; hakctl version'
ok 'hakctl boxes sends libraries to hakctl version'

# ---- running -------------------------------------------------------------------

under A=b && [ ! -s "$tmp/err" ]
ok 'says nothing by itself'
under HAKMEM_CONF=conf/tiny.ini
says 'hakmem: this library is fused from conf/default.ini; HAKMEM_CONF is not read'
ok 'HAKMEM_CONF is told of'
under HAKMEM_POLICY_C4=midmt HAKMEM_BOX_ULTRA_LANES=off HAKMEM_BENCH_MIN_SIZE=1
says ' are not read' && says HAKMEM_POLICY_C4 && says HAKMEM_BOX_ULTRA_LANES &&
    ! says HAKMEM_BENCH && [ "$(wc -l <"$tmp/err")" = 1 ]
ok 'other keys are told of, in one line'
under HAKMEM_STATS_AT_EXIT="$tmp/stats" HAKMEM_STATS_FORMAT=json &&
    [ ! -s "$tmp/err" ] && mv "$tmp/stats" "$tmp/out" &&
    says '"conf":"conf/default.ini","profile":null,"build":"fused"'
ok 'the report at exit is for the environment to choose'
under HAKMEM_STATS_FORMAT=xml && says 'HAKMEM_STATS_FORMAT' && says 'text'
ok 'a format that there is not is told of'

env HAKMEM_CONF=conf/tiny.ini $ctl run -s -f build/fused/default -- /bin/ls / \
    >"$tmp/out" 2>"$tmp/err" && says 'conf/default.ini, fused boxes' &&
    ! says 'not read'
ok 'hakctl run --fused FOLDER'
$ctl run --fused "$lib" -c conf/tiny.ini -- /bin/ls >"$tmp/out" 2>"$tmp/err"
[ $? = 2 ] && says 'run: --fused takes no -c'
ok 'hakctl run --fused with a configuration'
$ctl run --fused build/fused/all-boxes -- build/tests/misuse/delete_smaller \
    >"$tmp/out" 2>"$tmp/err"
[ $? = 134 ] && says 'operator delete('
ok 'hakctl run --fused with sized_delete = yes: a wrong size'
$ctl run --fused build/fused/default -- build/tests/misuse/delete_smaller \
    >"$tmp/out" 2>"$tmp/err" && says missed
ok 'hakctl run --fused without it'
mkdir "$tmp/alone" && cp build/fused/all-boxes/libhakmem.so "$tmp/alone" &&
    $ctl run --fused "$tmp/alone" -- /bin/ls >"$tmp/out" 2>"$tmp/err"
[ $? = 2 ] && says "no libhakmem-cxx.so beside $tmp/alone/libhakmem.so"
ok 'hakctl run --fused without the library for it'
$ctl run --fused build/libhakmem-cxx.so -- /bin/ls >"$tmp/out" 2>"$tmp/err"
[ $? = 2 ] && says 'libhakmem-cxx.so is no library of hakmem'
ok 'hakctl run --fused with another library'
$ctl run --fused build/none -- /bin/ls >"$tmp/out" 2>"$tmp/err"
[ $? = 2 ] && says 'build/none: ' && says 'make fused CONF=INI builds one'
ok 'hakctl run --fused without a library'

# ---- what cannot be fused --------------------------------------------------------

refuses CONF=tests/fused/stranger.ini &&
    says 'tests/fused/stranger.ini:4: error: box three: ' &&
    says 'cannot be fused: only boxes of plugins/ have sources here'
ok "a stranger's box"
refuses CONF=tests/conf/unknown-key.ini &&
    says 'tests/conf/unknown-key.ini:7: error: unknown key "fallbak"' &&
    [ ! -e build/fused/unknown-key ]
ok 'an INI with errors'
refuses CONF=conf/learner.ini &&
    says '"mode" in [learner] cannot be fused: it decides while programs run'
ok 'routes that change'
refuses CONF=conf/guard.ini &&
    says '"sample" in [core] cannot be fused: it decides while programs run'
ok 'samples'
refuses CONF=nosuch.ini && says 'nosuch.ini: error: cannot open'
ok 'no INI'
refuses CONF=conf/tiny.ini PROFILE=none && says 'no [profile none]'
ok 'no such profile'

HAKMEM_POLICY_C0=midmt $ctl fuse -c conf/tiny.ini -p magazine -o "$tmp/made" \
    >"$tmp/out" 2>"$tmp/err" && cat "$tmp/made/"* >"$tmp/out" &&
    says '.profile = "magazine"' && says '.name = "tiny", .priority = 0, .lanes = false' &&
    says 'X(0, tiny, __VA_ARGS__)' && says 'FUSED_BOXES := tiny ultra midmt large'
ok 'a profile counts, the environment does not'
touch -d '2001-01-01' "$tmp/made/"*
$ctl fuse -c conf/tiny.ini -p magazine -o "$tmp/made" >"$tmp/out" 2>"$tmp/err"
find "$tmp/made" -type f -newermt '2002-01-01' >"$tmp/why"
[ ! -s "$tmp/why" ]
ok 'files that stay as they are are not written again'

finish
