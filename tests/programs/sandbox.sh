#!/bin/sh
# sandbox.sh - a sandbox refuses system calls that hakmem makes beyond those
# of every program: all works without them.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need gcc perl

# refuse CALL PROGRAM...: CALL is EPERM from now on.
cat >"$work/refuse.c" <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
static const struct { const char *name; unsigned number; } calls[] = {
    {"membarrier", SYS_membarrier}, {"getrandom", SYS_getrandom},
    {"mremap", SYS_mremap},         {"madvise", SYS_madvise},
    {"gettid", SYS_gettid},         {"sysinfo", SYS_sysinfo},
    {"prlimit64", SYS_prlimit64},   {"memfd_create", SYS_memfd_create},
};
int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 2 && i < sizeof calls / sizeof calls[0]; i++) {
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {4, filter};
        if (strcmp(argv[1], calls[i].name) == 0 &&
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
            execvp(argv[2], argv + 2);
    }
    return 99;
}
C
gcc -o "$work/refuse" "$work/refuse.c" || exit 1
"$work/refuse" getrandom true || skip_all 'no seccomp'

# Each INI is a mode here.
modes='default hardened guard learner'
environment()
{
    echo "HAKMEM_CONF=$root/conf/$1.ini"
}

for call in membarrier getrandom mremap madvise gettid sysinfo prlimit64 \
    memfd_create; do
    same "without $call" "$work/refuse" "$call" perl "$here/work.pl" 3000
done
finish
