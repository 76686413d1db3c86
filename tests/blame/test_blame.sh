#!/bin/sh
# test_blame.sh - [core] blame: a crash in a box is named, and everything else
# stays as it is: exit status, core dump, the program's own handlers. TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset HAKMEM_CONF HAKMEM_PROFILE LD_PRELOAD HAKMEM_CORE_BLAME
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
top=$PWD
said=$tmp/said
# shellcheck source=tests/lib/result.sh
. tests/lib/result.sh

"${CC:-gcc}" -O1 -fno-builtin -o "$tmp/victim" tests/blame/victim.c -lpthread ||
    exit 1
ini() { # NAME: an INI with what comes on stdin in [core]
    {
        echo '[core]'
        cat
        printf '[box mine]\npath = %s/build/tests/boxes/faulty.so\n' "$top"
        printf '[policy]\n0- = mine\n'
    } >"$tmp/$1.ini"
}
echo 'blame = yes' | ini on
echo 'blame = no' | ini off
ini default </dev/null

# INI [VARIABLE=VALUE...] OPERATION [HANDLER]: leaves out, said and status. The
# victim has a shell of its own, which says how it ended.
victim() {
    conf=$tmp/$1.ini
    shift
    HAKMEM_CONF=$conf run env LD_PRELOAD="$top/build/libhakmem.so" "$@"
}
run() {
    "$@" >"$tmp/out" 2>"$said"
    status=$?
}

# What of the last victim is not as wanted, added to said. Fails if anything is.
ended() { # STATUS
    [ "$status" = "$1" ] || ! echo "status $status, not $1" >>"$said"
}
line() { # PATTERN: one line of hakmem, and it matches
    [ "$(grep -c '^hakmem: ' "$said")" = 1 ] && grep -q -e "$1" "$said"
}
silent() {
    ! grep -q '^hakmem: ' "$said"
}

# ---- each operation, each signal ---------------------------------------------

v=$tmp/victim
address='0x[0-9a-f]*'
for call in 'init()' 'alloc(400000)' 'zalloc(400000)' 'aligned_alloc(400000)' \
    'resize(1600000)' "free($address)" "owns($address)" \
    "usable_size($address)" 'refill([0-9]*)' 'triggered()' \
    "remote_free($address)" 'heap_open()' 'heap_park()' 'heap_close()' \
    'fork()' 'stats()' 'trim()' 'shrink([0-9]*)' 'age()'; do
    op=${call%%(*}
    route=directory
    [ "$op" = owns ] && route=owns
    victim on HAKMEM_BOX_MINE_OP="$op" HAKMEM_CORE_FREE_ROUTE=$route "$v" "$op"
    ended 139 && line "^hakmem: box mine: SIGSEGV in $call, address 0x0\$"
    result $? "a crash in $op names box and operation"
done

while read -r how name status_wanted rest; do
    victim on HAKMEM_BOX_MINE_OP=alloc HAKMEM_BOX_MINE_HOW="$how" "$v" alloc
    ended "$status_wanted" &&
        line "^hakmem: box mine: $name in alloc(400000)$rest\$"
    result $? "$name is named, and ends the program"
done <<'END'
segv SIGSEGV 139 , address 0x0
bus SIGBUS 135 , address 0x[0-9a-f]*
fpe SIGFPE 136 , address 0x[0-9a-f]*
ill SIGILL 132 , address 0x[0-9a-f]*
abort SIGABRT 134
END

victim on HAKMEM_BOX_MINE_OP=stats "$v" own
ended 139 && silent
result $? 'a crash of the program has no line'
victim on "$v" sent
ended 134 && silent
result $? 'nor has its abort'

# A box that finds a fault of the program says so and aborts: one line.
printf '[core]\nblame = yes\n[box large]\npath = %s\n[policy]\n0- = large\n' \
    "$top/build/boxes/large.so" >"$tmp/large.ini"
HAKMEM_CONF=$tmp/large.ini run env LD_PRELOAD="$top/build/libhakmem.so" \
    build/tests/misuse/double_free_large
ended 134 && line '^hakmem: box large: free('
result $? "a box's own message of a double free stays alone"

# ---- as without ---------------------------------------------------------------

# INI HOW: does the victim dump core? Where it can: a pipe as core_pattern needs
# no directory.
dumps() {
    (
        cd "$tmp" || exit 1
        HAKMEM_CONF=$tmp/$1.ini HAKMEM_BOX_MINE_OP=alloc \
            HAKMEM_BOX_MINE_HOW=$2 python3 - "$top" "$v" 2>/dev/null <<'END'
import os, resource, sys
most = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
pid = os.fork()
if pid == 0:
    os.environ["LD_PRELOAD"] = sys.argv[1] + "/build/libhakmem.so"
    os.execv(sys.argv[2], ["victim", "alloc"])
status = os.waitpid(pid, 0)[1]
print(os.WIFSIGNALED(status), os.WTERMSIG(status), os.WCOREDUMP(status))
END
    )
}
for how in segv abort; do
    dumps off $how >"$tmp/off"
    dumps on $how >"$tmp/on"
    cat "$tmp/off" "$tmp/on" >"$said"
    grep -q '^True' "$tmp/off" && cmp -s "$tmp/off" "$tmp/on"
    result $? "$how: signal and core dump are as without"
done

victim off HAKMEM_BOX_MINE_OP=alloc "$v" alloc
ended 139 && silent
result $? 'blame = no: nothing is said'
victim off "$v" - asked
[ "$(sort -u "$tmp/out")" = default ] && ended 0
result $? 'blame = no: no handler is installed'
victim default "$v" - asked
[ "$(sort -u "$tmp/out")" = default ] && ended 0
result $? 'no blame is the default'
victim on "$v" - asked
[ "$(sort -u "$tmp/out")" = handler ] && ended 0
result $? 'blame = yes: there are handlers'
(
    trap '' ABRT
    HAKMEM_CONF=$tmp/on.ini LD_PRELOAD=$top/build/libhakmem.so "$v" - asked
) >"$said"
[ "$(tail -n 1 "$said")" = ignored ]
result $? 'a signal that is ignored stays so'

victim on HAKMEM_BOX_MINE_OP=alloc "$v" alloc own
ended 3 && silent && grep -q '^own handler$' "$said"
result $? "the program's handler replaces ours"
for how in segv abort; do
    for handler in chain small; do
        victim on HAKMEM_BOX_MINE_OP=alloc HAKMEM_BOX_MINE_HOW=$how \
            timeout 60 "$v" alloc $handler
        [ "$status" -gt 128 ] && [ "$status" != 124 ] &&
            [ "$(grep -c '^own handler$' "$said")" = 1 ] &&
            line '^hakmem: box mine: SIG[A-Z]* in alloc(400000)'
        result $? "$how: one that calls the handler it found ($handler) ends"
    done
done
victim on HAKMEM_BOX_MINE_OP=alloc "$v" alloc back
ended 139 && line '^hakmem: box mine: SIGSEGV in alloc(400000), address 0x0$'
result $? 'a handler that was put back is as before'

# ---- who turns it on -----------------------------------------------------------

HAKMEM_BOX_MINE_OP=alloc run build/hakctl run -c "$tmp/default.ini" "$v" alloc
ended 139 && line '^hakmem: box mine: SIGSEGV in alloc(400000), address 0x0$'
result $? 'hakctl run turns it on'
HAKMEM_BOX_MINE_OP=alloc run build/hakctl run -c "$tmp/off.ini" "$v" alloc
ended 139 && silent
result $? 'but not where the INI says no'
HAKMEM_CORE_BLAME=no HAKMEM_BOX_MINE_OP=alloc \
    run build/hakctl run -c "$tmp/default.ini" "$v" alloc
ended 139 && silent
result $? 'nor where the environment says no'
echo 'verify = yes' | ini verify
victim verify HAKMEM_BOX_MINE_OP=alloc "$v" alloc
ended 139 && line '^hakmem: box mine: SIGSEGV in alloc(400000), address 0x0$'
result $? 'verify turns it on'
printf 'blame = yes\nno_such_key = 1\n' | ini broken
victim broken "$v" - asked
[ "$(sort -u "$tmp/out")" = default ] && ended 0
result $? 'a process that falls back to libc has no handler'
finish
