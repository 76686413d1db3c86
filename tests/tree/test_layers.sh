#!/bin/sh
# test_layers.sh - tools/layers.py finds what it is there for: an include that
# goes up, a circle between folders, a call of the program's malloc; and README
# draws the folders in the order that it checks.
set -u
cd "$(dirname "$0")/../.." || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
said=$tmp/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

# A small tree with nothing wrong, below $tmp/tree, its objects in $tmp/obj.
plant() {
    rm -rf "$tmp/tree" "$tmp/obj"
    mkdir -p "$tmp/tree/base" "$tmp/tree/core/state" "$tmp/tree/report" \
        "$tmp/obj/base" "$tmp/obj/core/state" "$tmp/obj/report"
    echo 'int hak_base(void);' >"$tmp/tree/base/base.h"
    echo 'int hak_report(void);' >"$tmp/tree/report/report.h"
    cat >"$tmp/tree/base/base.c" <<'C'
#include <base/base.h>
int hak_base(void) { return 1; }
C
    cat >"$tmp/tree/core/state/state.c" <<'C'
#include <base/base.h>
int hak_state(void) { return hak_base(); }
C
    cat >"$tmp/tree/report/report.c" <<'C'
#include <base/base.h>
#include <report/report.h>
int hak_report(void) { return hak_base(); }
C
}

compile() {
    (cd "$tmp/tree" && find . -name '*.c') | while read -r file; do
        "${CC:-gcc}" -w -I "$tmp/tree" -c "$tmp/tree/$file" \
            -o "$tmp/obj/${file%.c}.o" || exit 1
    done
}

look() {
    compile
    tools/layers.py --root "$tmp/tree" --objects "$tmp/obj" >"$tmp/said" 2>&1
}

plant
look
result $? 'a tree with nothing wrong'

plant
echo '#include <report/report.h>' >>"$tmp/tree/base/base.c"
! look && grep -q 'base/base.c includes report/report.h' "$tmp/said"
result $? 'an include that goes up'

plant
mkdir -p "$tmp/tree/modules/own" "$tmp/obj/modules/own"
echo '#include <report/report.h>' >"$tmp/tree/modules/own/own.c"
! look && grep -q 'modules/own/own.c includes report/report.h' "$tmp/said"
result $? "a module that includes the core's headers"

plant
cat >>"$tmp/tree/base/base.c" <<'C'
int hak_state(void);
int hak_up(void) { return hak_state(); }
C
! look && grep -q 'base/base.o needs hak_state of core/state/' "$tmp/said"
result $? 'a circle of two folders'

plant
cat >>"$tmp/tree/base/base.c" <<'C'
int hak_report(void);
int hak_up(void) { return hak_report(); }
C
sed -i 's/hak_base()/hak_state()/' "$tmp/tree/report/report.c"
! look && grep -q 'base/base.o needs hak_report of report/' "$tmp/said"
result $? 'a circle of three'

plant
echo 'void free(void *); void hak_m(void *p) { free(p); }' >>"$tmp/tree/report/report.c"
! look && grep -q 'report/report.o calls free' "$tmp/said"
result $? "a call of the program's free"

# The list in README: two blanks, the folder, and what it is.
python3 -c 'import sys; sys.path.insert(0, "tools")
import layers; print("\n".join(layers.ORDER))' >"$tmp/order"
sed -n '/^framework\/$/,/^```/p' README.md |
    sed -n -e 's,include/hakmem/,include/,' -e 's,^  \([a-z/]*\)/  *[^ ].*,\1,p' \
        >"$tmp/readme"
diff "$tmp/order" "$tmp/readme" >"$tmp/said"
result $? 'README draws the folders in this order'

finish
