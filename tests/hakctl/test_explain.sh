#!/bin/sh
# test_explain.sh - hakctl explain: where a request goes, and why.
set -u
# shellcheck source=tests/hakctl/lib.sh
. tests/hakctl/lib.sh

try "$ctl" explain 100
says 'explain: two boxes that would serve' 0 out <<'EOF'
100 bytes: size index 7, 97-112, class C3
  rule   17-512 = small  (TMP/prefix/share/hakmem/conf/default.ini:8)
  route  swift > sample > libc  (TMP/prefix/share/hakmem/conf/default.ini:5)
  boxes  swift serves: slot 112, waste 12 (10.7 %), by lane, priority 0
         TMP/prefix/lib/hakmem/swift.so
         sample stands by: slot 128, waste 28 (21.9 %), by call, priority 10
         TMP/prefix/lib/hakmem/sample.so
EOF
try "$ctl" explain 1040,0x400
says 'explain: a list; a slot of unknown size' 0 out <<'EOF'
1040 bytes: size index 65, 1025-1152
  rule   1025- = bare  (TMP/prefix/share/hakmem/conf/default.ini:10)
  route  bare > libc  (TMP/prefix/share/hakmem/conf/default.ini:10)
  boxes  bare serves: a slot of unknown size, 16 of it the core's header, by call, priority 20
         TMP/prefix/lib/hakmem/bare.so

1024 bytes: size index 64, 1009-1024, class C7
  rule   513-1024 = sample  (TMP/prefix/share/hakmem/conf/default.ini:9)
  route  sample > libc  (TMP/prefix/share/hakmem/conf/default.ini:9)
  boxes  sample serves: slot 1024, waste 0 (0.0 %), by call, priority 10
         TMP/prefix/lib/hakmem/sample.so
EOF
try env HAKMEM_POLICY_1025_=sample HAKMEM_CORE_FALLBACK=none "$ctl" explain 1M
says 'explain: a rule of the environment; nobody serves' 0 out <<'EOF'
1048576 bytes: size index 129, 262145-
  rule   1025- = sample  (environment HAKMEM_POLICY_1025_)
  route  sample > none  (environment HAKMEM_POLICY_1025_)
  boxes  sample declines, priority 10
         TMP/prefix/lib/hakmem/sample.so
  malloc fails: no box takes it, and the fallback is none
EOF
try "$ctl" explain -p other 200
holds 'explain -p' 0 out '^  rule   C4 = bare  (TMP.*default.ini:13)$'
try "$ctl" explain -c "$tmp/profiles.ini" 4k
: >"$tmp/err" # the warning of it, judged below
says 'explain -c, a size that no rule covers' 0 out <<'EOF'
4096 bytes: size index 80, 3841-4096
  rule   none covers it
  route  libc  (fallback, built-in)
  libc serves it
EOF
try env HAKMEM_CONF="$tmp/profiles.ini" "$ctl" explain 100
holds 'explain: warnings' 0 err '^TMP/profiles.ini:2: warning: no rule covers'
holds 'explain heeds HAKMEM_CONF' 0 out '(TMP/profiles.ini:3)$'

try "$ctl" explain --json 100 1M
json 'explain --json' 0 '.[0]' \
    '{"size":100,"index":7,"class":"C3","rule":{"sizes":"17-512","file":"TMP/prefix/share/hakmem/conf/default.ini","line":8},"route":{"name":"small","file":"TMP/prefix/share/hakmem/conf/default.ini","line":5},"chain":[{"box":"swift","verdict":"serves","path":"TMP/prefix/lib/hakmem/swift.so","priority":0,"by":"lane","header_bytes":0,"slot_bytes":112,"waste_bytes":12},{"box":"sample","verdict":"stands by","path":"TMP/prefix/lib/hakmem/sample.so","priority":10,"by":"call","header_bytes":0,"slot_bytes":128,"waste_bytes":28}],"last":"libc"}'
json 'explain --json: a large size' 0 \
    '.[1] | [.class, .chain[0].verdict, .chain[0].slot_bytes]' \
    '[null,"serves",null]'
try "$ctl" explain --json -c "$tmp/profiles.ini" 4k
json 'explain --json: no rule' 0 '.[0] | [.rule, .route, .chain, .last]' \
    '[null,null,[],"libc"]'

cat >"$tmp/learner.ini" <<'EOF'
[box sample]
[box swift]
[policy]
0- = sample
[learner]
mode = apply
[rule one]
classes = C3,C4
when = share > 10%
route = swift
[rule two]
classes = C4
route = swift
EOF
try "$ctl" explain -c "$tmp/learner.ini" 200
holds 'explain: what rules may do' 0 out \
    '^  learns rule one may move it to swift  (TMP/learner.ini:7)$'
holds 'explain: all of them' 0 out \
    '^  learns rule two may move it to swift  (TMP/learner.ini:11)$'
try "$ctl" explain --json -c "$tmp/learner.ini" 100 300
json 'explain --json: what rules may do' 0 '[.[].learner]' \
    '[[{"rule":"one","route":"swift","file":"TMP/learner.ini","line":7}],[]]'
try env HAKMEM_LEARNER_MODE=off "$ctl" explain -c "$tmp/learner.ini" 100
grep learns "$tmp/out" >"$tmp/why"
judge 'explain: not when it is off'

cat >"$tmp/sampled.ini" <<'EOF'
[core]
sample = swift
sample_every = 70
[box swift]
[box sample]
[policy]
1- = sample
EOF
try "$ctl" explain -c "$tmp/sampled.ini" 200
holds 'explain: who is asked first now and then' 0 out \
    '^  sample one in 70 goes to box swift first  (TMP/sampled.ini:2)$'
try "$ctl" explain --json -c "$tmp/sampled.ini" 100
json 'explain --json: the sampling box' 0 '[.[].sample]' \
    '[{"every":70,"box":"swift"}]'

cat >"$tmp/gone.ini" <<'EOF'
[box gone]
[box sample]
[route r]
box = gone
fallback = sample
[policy]
0- = r
EOF
try "$ctl" explain -c "$tmp/gone.ini" 64
holds 'explain: a box that is left out' 1 out '^  boxes  gone left out$'
holds 'explain: the next one serves then' 1 out '^         sample serves: '
holds 'explain: why it is left out' 1 err \
    '^TMP/gone.ini:1: error: box gone: TMP/.*/gone.so cannot be opened'
try "$ctl" explain 64q
says 'explain of no size' 2 err <<'EOF'
hakctl: explain: "64q" is not a size (64, 4k, 4KiB, 1M)
EOF
try "$ctl" explain 64,,4k
says 'explain of a comma too many' 2 err <<'EOF'
hakctl: explain: "" is not a size (64, 4k, 4KiB, 1M)
EOF
try "$ctl" explain 0x8000000000000000
says 'explain of too large a size' 2 err <<'EOF'
hakctl: explain: "0x8000000000000000" is more than any malloc gives
EOF
try "$ctl" explain
says 'explain of nothing' 2 err <<'EOF'
hakctl: explain: no size given, as in hakctl explain 64,4k
EOF
try "$ctl" explain -c no.ini 64
says 'explain with no INI' 2 err <<'EOF'
no.ini: error: cannot open: No such file or directory
hakctl: no.ini has errors, so libc would serve all sizes; hakctl lint shows them
EOF

finish
