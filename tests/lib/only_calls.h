/* SPDX-License-Identifier: MIT
 * only_calls.h - a sandbox that kills: each system call that is not listed ends
 * the process with SIGSYS, from now on and in its children.
 *
 *     static const int calls[] = {SYS_mmap, SYS_exit_group};
 *     if (!only_calls(calls, 2)) SKIP("no seccomp");
 */
#ifndef HAK_TESTS_ONLY_CALLS_H
#define HAK_TESTS_ONLY_CALLS_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { ONLY_CALLS_MOST = 60 };

/* False: the kernel has no seccomp; nothing has changed. */
static inline bool only_calls(const int *calls, size_t n)
{
    struct sock_filter code[2 * ONLY_CALLS_MOST + 2] = {BPF_STMT(
        BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, nr))};
    size_t at = 1;
    for (size_t i = 0; i < n && i < ONLY_CALLS_MOST; i++) {
        code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                  (unsigned)calls[i], 0, 1);
        code[at++] =
            (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[at++] =
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {(unsigned short)at, code};
    return n <= ONLY_CALLS_MOST &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

/* What an allocator may ask of the kernel once it has started. */
#define ALLOCATOR_CALLS                                       \
    SYS_mmap, SYS_munmap, SYS_mremap, SYS_madvise, SYS_futex, \
        SYS_clock_gettime, SYS_getrandom

#endif
