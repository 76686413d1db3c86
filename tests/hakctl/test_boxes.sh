#!/bin/sh
# test_boxes.sh - hakctl boxes: what box files say of themselves.
set -u
# shellcheck source=tests/hakctl/lib.sh
. tests/hakctl/lib.sh

try "$ctl" boxes sample
says 'boxes NAME' 0 out <<'EOF'
sample 2.1  TMP/prefix/lib/hakmem/sample.so
  says "no"
  sizes       16-1024
  served by   calls
  ABI         1.8
  operations  alloc free owns init usable_size slot_size
  number             int   default 5, -1 to 10, may change at run time
                     things that are kept
  limit              size  default 64k, 4k to 1M
                     bytes that are kept
  wait               ms    default 100, 0 to 1000
                     milliseconds between
  mode               enum  default small, one of fast|small
                     what is sought
  loud               bool  default yes
                     say it
  greeting           text  default good "day"
                     what is said
EOF
try "$ctl" boxes "$prefix/lib/hakmem/bare.so"
says 'boxes FILE.so, one that needs the header' 0 out <<'EOF'
bare 0.1  TMP/prefix/lib/hakmem/bare.so
  sizes       any
  served by   calls
  ABI         1.8
  operations  alloc free owns
  no usable_size: the core adds a header of 16 bytes to each request
EOF
try "$ctl" boxes swift
holds 'boxes of a box with lanes' 0 out '^  served by   lanes$'
try "$ctl" boxes
{
    grep -c '^[a-z]* [0-9.]*  TMP' "$tmp/out"
    grep -c '^$' "$tmp/out"
    wc -c <"$tmp/err"
} | tr -d ' ' >"$tmp/got"
printf '3\n2\n0\n' | diff - "$tmp/got" >"$tmp/why"
judge 'boxes shows all, a blank line between'
(cd "$prefix/lib/hakmem" && PATH=$prefix/bin:$PATH && hakctl boxes sample.so) \
    >"$tmp/out" 2>&1
status=$?
holds 'boxes FILE.so without a slash, hakctl by PATH' 0 out \
    '^sample 2.1  sample.so$'

try "$ctl" boxes --json
json 'boxes --json: the array' 0 '[.[] | .id]' '["bare","sample","swift"]'
json 'boxes --json: a box' 0 '.[1] | del(.parameters, .file)' \
    '{"id":"sample","version":"2.1","summary":"says \"no\"","abi":"1.8","kit":0,"min_bytes":16,"max_bytes":1024,"lanes":false,"header_bytes":0,"operations":["init","usable_size","slot_size"]}'
json 'boxes --json: numbers' 0 '.[1].parameters[0:3]' \
    '[{"name":"number","type":"int","mutable":true,"default":5,"min":-1,"max":10,"help":"things that are kept"},{"name":"limit","type":"size","mutable":false,"default":65536,"min":4096,"max":1048576,"help":"bytes that are kept"},{"name":"wait","type":"ms","mutable":false,"default":100,"min":0,"max":1000,"help":"milliseconds between"}]'
json 'boxes --json: words' 0 '[.[1].parameters[3:6][] | [.default, .choices]]' \
    '[["small","fast|small"],[true,null],["good \"day\"",null]]'
json 'boxes --json: a box with the header' 0 '.[0] | [.summary, .header_bytes]' \
    '[null,16]'

try "$ctl" boxes smaple
says 'boxes of an unknown NAME, one is near' 2 err <<'EOF'
hakctl: no box "smaple" in TMP/prefix/lib/hakmem; did you mean "sample"?
EOF
try "$ctl" boxes nothing-like-it
says 'boxes of an unknown NAME, none is near' 2 err <<'EOF'
hakctl: no box "nothing-like-it" in TMP/prefix/lib/hakmem; for a file elsewhere give its path
EOF
try "$ctl" boxes no/such.so
says 'boxes of no file' 2 err <<'EOF'
hakctl: no/such.so cannot be opened: No such file or directory
EOF
try "$ctl" boxes "$tmp/text.so"
says 'boxes of a text' 1 err <<'EOF'
hakctl: TMP/text.so is no shared object (no ELF header)
EOF
try "$ctl" boxes build/tests/boxes/no_entry.so
says 'boxes of another library' 1 err <<'EOF'
hakctl: build/tests/boxes/no_entry.so does not export hak_box_entry: is it a box? Put HAK_BOX_EXPORT before its entry, so that -fvisibility cannot hide it
EOF
try "$ctl" boxes build/tests/boxes/other_major.so
holds 'boxes of another ABI' 1 err 'is for box ABI 2, this core speaks 1; rebuild'
try "$ctl" boxes --json "$tmp/text.so" bare
json 'boxes --json: a file that is no box' 1 '[.[] | [.file, .id, .error]]' \
    "[[\"TMP/text.so\",null,\"is no shared object (no ELF header)\"],[\"TMP/prefix/lib/hakmem/bare.so\",\"bare\",null]]"
try "$ctl" boxes --json nothing-like-it
json 'boxes --json of nothing' 2 . '[]'

finish
