/* SPDX-License-Identifier: MIT
 * refuse.h - a kernel that refuses memory: the nth call of those that map,
 * unmap, protect, purge or grow fails, whoever makes it.
 *
 *     if (!refuse_start()) SKIP("no seccomp");
 *     refuse(5, 1);          the fifth from now fails, once
 *     refuse(5, LONG_MAX);   it and all after it
 *     long made = refuse_stop();
 *     refusal.before = look;   is called before each call, where it is made
 *
 * A seccomp filter makes each call a SIGSYS, whose handler refuses it or makes
 * it by the one instruction that the filter lets pass. Nothing is different in
 * what is tested. The filter stays for the life of the process, its threads
 * and children; they may not exec, and threads need stacks of their own
 * (pthread_create with all signals blocked makes calls for others).
 */
#ifndef HAK_TESTS_PRELOAD_REFUSE_H
#define HAK_TESTS_PRELOAD_REFUSE_H

#include "common.h"

#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <ucontext.h>

#if defined(__x86_64__)

long refuse_gate(long number, long a, long b, long c, long d, long e, long f);
extern const char refuse_gate_return[];

__asm__(".text\n"
        ".globl refuse_gate, refuse_gate_return\n"
        "refuse_gate:\n"
        "    movq %rdi, %rax\n"
        "    movq %rsi, %rdi\n"
        "    movq %rdx, %rsi\n"
        "    movq %rcx, %rdx\n"
        "    movq %r8, %r10\n"
        "    movq %r9, %r8\n"
        "    movq 8(%rsp), %r9\n"
        "    syscall\n"
        "refuse_gate_return:\n"
        "    ret\n");

static struct {
    long from, until, made; /* calls, counted from 1 */
    long refused;
    void (*before)(long number); /* in the thread that makes it; or NULL */
} refusal;

/* What the call comes to when it is refused. */
static inline long refused_result(long number)
{
    if (number == SYS_brk) /* the break stays where it is */
        return refuse_gate(SYS_brk, 0, 0, 0, 0, 0, 0);
    return number == SYS_madvise ? -EAGAIN : -ENOMEM;
}

static inline void on_refusable(int signal_number, siginfo_t *info, void *state)
{
    greg_t *r = ((ucontext_t *)state)->uc_mcontext.gregs;
    long number = info->si_syscall;
    long n = __atomic_add_fetch(&refusal.made, 1, __ATOMIC_RELAXED);
    (void)signal_number;
    if (refusal.before != NULL)
        refusal.before(number);
    if (n >= __atomic_load_n(&refusal.from, __ATOMIC_RELAXED) &&
        n < __atomic_load_n(&refusal.until, __ATOMIC_RELAXED)) {
        __atomic_add_fetch(&refusal.refused, 1, __ATOMIC_RELAXED);
        r[REG_RAX] = refused_result(number);
    } else {
        r[REG_RAX] = refuse_gate(number, r[REG_RDI], r[REG_RSI], r[REG_RDX],
                                 r[REG_R10], r[REG_R8], r[REG_R9]);
    }
}

static inline bool refuse_start(void)
{
#define LOAD(field)                    \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, \
             (unsigned)offsetof(struct seccomp_data, field))
#define IS(value, yes, no) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), yes, no)
    uintptr_t pass = (uintptr_t)refuse_gate_return;
    struct sock_filter code[] = {
        LOAD(nr),
        IS(SYS_mmap, 6, 0),
        IS(SYS_munmap, 5, 0),
        IS(SYS_mprotect, 4, 0),
        IS(SYS_madvise, 3, 0),
        IS(SYS_mremap, 2, 0),
        IS(SYS_brk, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        LOAD(instruction_pointer),
        IS(pass, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 (unsigned)offsetof(struct seccomp_data, instruction_pointer) +
                     4),
        IS(pass >> 32, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
#undef LOAD
#undef IS
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    struct sigaction action = {.sa_sigaction = on_refusable,
                               .sa_flags = SA_SIGINFO | SA_NODEFER};
    return sigaction(SIGSYS, &action, NULL) == 0 &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

#else

static struct {
    long from, until, made, refused;
    void (*before)(long number);
} refusal;

static inline bool refuse_start(void)
{
    return false;
}

#endif

/* No file can be opened any more, as in a sandbox of Landlock. */
static inline bool refuse_opens(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

static inline void refuse(long nth, long times)
{
    refusal.made = refusal.refused = 0;
    refusal.until = times == LONG_MAX ? LONG_MAX : nth + times;
    refusal.from = nth;
}

/* All are granted again. Returns how many were refused. */
static inline long refuse_stop(void)
{
    refusal.from = LONG_MAX;
    return refusal.refused;
}

#endif
