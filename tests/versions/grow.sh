#!/bin/sh
# grow.sh BOX.H N - box.h as a minor version N later might have it: N members
# more wherever one may come. On stdout.
set -eu
awk -v n="$2" '
function members(kind,   i) {
    for (i = 1; i <= n; i++)
        print "    " kind " later_" i ";"
}
/^#define HAK_ABI_MINOR / { $3 += n }
/^struct hak_(param|box|box_stats|retire|host|span) \{/ { at_end = 1 }
/^struct hak_box_ops \{/ { at_end = 2 }
/new members come here/ { members("uint64_t") }
/^};/ && at_end == 1 { members("uint64_t") }
/^};/ && at_end == 2 {
    for (i = 1; i <= n; i++)
        print "    void (*later_" i ")(void);"
}
/^};/ { at_end = 0 }
{ print }
' "$1"
