#!/bin/sh
# test_kinds.sh - gates, claims, kinds and profiles of the shipped
# configurations, as a running program and hakctl show them. TAP; run from the
# repository root after `make tests`.
set -u
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD
export LC_ALL=C

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
said=$tmp/diff
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

# NAME: stdin is what `$tmp/got` must be
same()
{
    diff - "$tmp/got" >"$said"
    result $? "$1"
}

# VARIABLE=VALUE... : the table of routes at start, its head line left out
routes()
{
    env "$@" HAKMEM_STATS_AT_START=stderr LD_PRELOAD="$PWD/build/libhakmem.so" \
        true 2>&1 | grep -v '^hakmem 0' >"$tmp/got"
}

routes
same 'default.ini without gates' <<'END'
route  C0 .. C7: ultra > libc
route  1025-262144: midmt > libc
route  262145-: large > libc
END

routes HAKMEM_MID_V35_ENABLED=1
same 'HAKMEM_MID_V35_ENABLED' <<'END'
route  C0 .. C4: ultra > libc
route  C5 .. C6: mid_v35 > ultra > libc  (MID_V35)
route  C7: ultra > libc
route  1025-262144: midmt > libc
route  262145-: large > libc
END

routes HAKMEM_MID_V35_ENABLED=1 HAKMEM_MID_V35_CLASSES=0x20
same 'HAKMEM_MID_V35_CLASSES' <<'END'
route  C0 .. C4: ultra > libc
route  C5: mid_v35 > ultra > libc  (MID_V35)
route  C6 .. C7: ultra > libc
route  1025-262144: midmt > libc
route  262145-: large > libc
END

routes HAKMEM_SMALLMID_ENABLE=1 HAKMEM_MID_V35_ENABLED=1
same 'MID_V35 goes before SMALLMID' <<'END'
route  C0 .. C3: ultra > libc
route  C4: smallmid > ultra > libc  (SMALLMID)
route  C5 .. C6: mid_v35 > ultra > libc  (MID_V35)
route  C7: smallmid > ultra > libc  (SMALLMID)
route  1025-262144: midmt > libc
route  262145-: large > libc
END

routes HAKMEM_PROFILE=MIXED_TINYV3_C7_SAFE
same 'profile MIXED_TINYV3_C7_SAFE' <<'END'
route  C0 .. C3: tiny > ultra > libc  (TINY)
route  C4: ultra > libc
route  C5 .. C6: mid_v35 > ultra > libc  (MID_V35)
route  C7: ultra > libc
route  1025-262144: midmt > libc
route  262145-: large > libc
END

routes HAKMEM_PROFILE=C6_HEAVY_LEGACY_POOLV1
same 'profile C6_HEAVY_LEGACY_POOLV1' <<'END'
route  C0 .. C5: ultra > libc
route  C6: smallmid > ultra > libc  (SMALLMID)
route  C7: ultra > libc
route  1025-262144: midmt > libc
route  262145-: large > libc
END

routes HAKMEM_CONF=conf/kinds.ini
same 'kinds.ini: the example of the notes' <<'END'
route  C0 .. C3: tiny > libc  (LEGACY)
route  C4: ultra > libc  (ULTRA)
route  C5 .. C6: mid_v35 > ultra > libc  (MID_V35)
route  C7: ultra > libc  (ULTRA)
route  1025-262144: midmt > libc
route  262145-: large > libc
END

routes HAKMEM_CONF=conf/kinds.ini HAKMEM_PROFILE=research
same 'kinds.ini: V7 bound to a box file' <<'END'
route  C0 .. C3: tiny > libc  (LEGACY)
route  C4: ultra > libc  (ULTRA)
route  C5 .. C7: v7 > ultra > libc  (V7)
route  1025-262144: midmt > libc
route  262145-: large > libc
END

routes HAKMEM_CONF=conf/kinds.ini HAKMEM_ROUTE_MID_V3_ENABLED=1 \
    HAKMEM_MID_V35_CLASSES=C6
same 'kinds.ini: MID_V3 gets what is left' <<'END'
route  C0 .. C3: tiny > libc  (LEGACY)
route  C4: ultra > libc  (ULTRA)
route  C5: mid_v3 > ultra > libc  (MID_V3)
route  C6: mid_v35 > ultra > libc  (MID_V35)
route  C7: ultra > libc  (ULTRA)
route  1025-262144: midmt > libc
route  262145-: large > libc
END

# ---- what serves is what the table says ------------------------------------

# VARIABLE=VALUE...: the report of a run of perl
report()
{
    # shellcheck disable=SC2016
    env "$@" HAKMEM_STATS_AT_EXIT="$tmp/report" HAKMEM_STATS_FORMAT=json \
        LD_PRELOAD="$PWD/build/libhakmem.so" \
        perl -e 'my @a = map { "x" x ($_ % 900) } 1 .. 20000; print scalar @a' \
        >/dev/null
}

# FILTER: of the report
ask()
{
    jq -r "$1" "$tmp/report" >"$tmp/got"
    rm -f "$tmp/report"
}

report
ask '[.boxes[].name] | join(" ")'
same 'boxes behind closed gates are not loaded' <<'END'
ultra midmt large
END

report HAKMEM_MID_V35_ENABLED=1
ask '.boxes[] | select(.name == "mid_v35") | .allocs > 5000'
same 'mid_v35 serves when its gate is open' <<'END'
true
END

report HAKMEM_SMALLMID_ENABLE=1
ask '.boxes[] | select(.name == "smallmid") | .allocs > 5000'
same 'smallmid serves when its gate is open' <<'END'
true
END

report HAKMEM_TINY_HEAP_V2=1
ask '.boxes[] | select(.name == "tiny").counters |
     .magazine_calls > 1000 and .magazine_hits > 0 and
     .magazine_calls == .magazine_hits + .magazine_misses'
same 'TinyHeapV2 counts its calls' <<'END'
true
END

report HAKMEM_TINY_HEAP_V2=1 HAKMEM_TINY_HEAP_V2_CLASS_MASK=0
ask '.boxes[] | select(.name == "tiny") |
     [.allocs > 1000, .counters.magazine_calls // 0] | join(" ")'
same 'a class mask of 0 leaves no magazine' <<'END'
true 0
END

env HAKMEM_TINY_HEAP_V2=1 HAKMEM_TINY_HEAP_V2_STATS=1 \
    LD_PRELOAD="$PWD/build/libhakmem.so" perl -e 1 2>&1 |
    sed -n 's/^\(counts tiny: magazine_calls\) .*/\1/p' >"$tmp/got"
same 'HAKMEM_TINY_HEAP_V2_STATS prints them' <<'END'
counts tiny: magazine_calls
END

# ---- hakctl -----------------------------------------------------------------

HAKMEM_MID_V35_ENABLED=1 build/hakctl explain 300 |
    sed -n "s,$PWD/,,; s/default.ini:[0-9]*/default.ini:N/; s/^  rule *//p" \
        >"$tmp/got"
same 'explain names the claim and the gate' <<'END'
[route MID_V35] classes = C5,C6  (conf/default.ini:N; enabled: environment HAKMEM_MID_V35_ENABLED)
END

HAKMEM_MID_V35_ENABLED=1 build/hakctl explain -j 300 |
    jq -r '.[0] | [.rule.classes, .route.name, .chain[0].box] | join(" ")' \
        >"$tmp/got"
same 'explain in JSON' <<'END'
C5,C6 MID_V35 mid_v35
END

env HAKMEM_CONF=conf/tiny.ini HAKMEM_SMALLMID_ENABLE=1 \
    LD_PRELOAD="$PWD/build/libhakmem.so" true 2>"$tmp/got"
same 'a gate that has nothing to open: not told by each process' </dev/null
HAKMEM_SMALLMID_ENABLE=1 build/hakctl lint conf/tiny.ini >"$tmp/got" 2>&1
same 'but by lint' <<'END'
environment HAKMEM_SMALLMID_ENABLE: note: nothing to set: conf/tiny.ini has no [route SMALLMID]
END

finish
