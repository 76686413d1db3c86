/* SPDX-License-Identifier: MIT
 * fault.c - SIGSEGV: ours are reported, all go on to the program's handler.
 *
 * The handler is installed when the box starts. A program that installs one
 * later takes its place and gets faults of ours without a report, unless it
 * calls the one that it found. With signal_recheck each sample looks whether
 * that has happened: the program's is then remembered, and ours goes in front
 * again. The look is a system call, for which a sandbox may kill.
 *
 * A program's handler may call the one that it found, which is ours: then the
 * signal has been here before, and goes to what we found at the very first.
 * The mark of that is in the signal's own frame (oldmask, which the kernel
 * fills anew for each signal and sigreturn does not read), so it needs no
 * thread-local variable and outlives no longjmp.
 *
 * State is the process's, as signal dispositions are; hence static.
 */
#include "guard.h"

#include <errno.h>
#include <signal.h>
#include <ucontext.h>

#define SEEN 0x68616b6d656d0000ll /* not what a kernel's oldmask is */

static struct guard *instances; /* push only */
static struct hak_lock lock;    /* tried only: of writing found, now */
static struct sigaction found[3];
static uint32_t now; /* found[now] is next; 0: of the very first */
static bool installed;

/* ---- what the kernel would have done ---- */

static void die_by_default(int number, const siginfo_t *info)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigaction(number, &normal, NULL);
    if (info->si_code <= 0) /* sent: it comes again when we return */
        raise(number);
}

static void set_mask(const struct sigaction *a, int number)
{
    sigset_t own;
    sigprocmask(SIG_BLOCK, &a->sa_mask, NULL);
    if ((a->sa_flags & SA_NODEFER) == 0)
        return;
    sigemptyset(&own);
    sigaddset(&own, number);
    sigprocmask(SIG_UNBLOCK, &own, NULL);
}

static void pass_on(struct sigaction *next, int number, siginfo_t *info,
                    void *context)
{
    struct sigaction a = *next;
    bool plain = (a.sa_flags & SA_SIGINFO) == 0;
    if (plain && a.sa_handler == SIG_IGN && info->si_code <= 0)
        return; /* a fault is not ignored by the kernel either */
    if (plain && (a.sa_handler == SIG_DFL || a.sa_handler == SIG_IGN)) {
        die_by_default(number, info);
        return;
    }
    if (a.sa_flags & (int)SA_RESETHAND)
        *next = (struct sigaction){.sa_handler = SIG_DFL};
    set_mask(&a, number);
    if (plain)
        a.sa_handler(number);
    else
        a.sa_sigaction(number, info, context);
}

/* ---- ours ---- */

static void look(const siginfo_t *info, const ucontext_t *c)
{
    enum { ERROR_WRITE = 2 };
    const greg_t *regs = c->uc_mcontext.gregs;
    if (info->si_code <= 0)
        return; /* sent by somebody */
    struct guard *guard = __atomic_load_n(&instances, __ATOMIC_ACQUIRE);
    for (; guard != NULL; guard = guard->next)
        if (pool_owns(&guard->pool, info->si_addr))
            report_fault(guard, (uintptr_t)info->si_addr,
                         regs[REG_ERR] & ERROR_WRITE ? "write" : "read",
                         (uintptr_t)regs[REG_RIP]);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    ucontext_t *c = context;
    int kept = errno;
    bool again = c->uc_mcontext.gregs[REG_OLDMASK] == SEEN;
    uint32_t at = again ? 0 : __atomic_load_n(&now, __ATOMIC_ACQUIRE);
    c->uc_mcontext.gregs[REG_OLDMASK] = SEEN;
    if (!again)
        look(info, c);
    errno = kept;
    pass_on(&found[at], number, info, context);
}

/* lock held */
static void install(const struct sigaction *there)
{
    struct sigaction ours = {.sa_sigaction = on_fault,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK};
    uint32_t to = !installed ? 0 : now == 1 ? 2 : 1; /* not what is in use */
    found[to] = *there;
    __atomic_store_n(&now, to, __ATOMIC_RELEASE);
    installed = true;
    sigaction(SIGSEGV, &ours, NULL);
}

void fault_recheck(void)
{
    struct sigaction there;
    int kept = errno;
    if (sigaction(SIGSEGV, NULL, &there) == 0 &&
        ((there.sa_flags & SA_SIGINFO) == 0 ||
         there.sa_sigaction != on_fault) &&
        hak_lock_try(&lock)) { /* else: another thread is about it */
        install(&there);
        hak_lock_drop(&lock);
    }
    errno = kept;
}

void fault_enter(struct guard *guard)
{
    guard->next = __atomic_load_n(&instances, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&instances, &guard->next, guard, true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
    fault_recheck();
}

void fault_fork_child(void)
{
    lock.word = 0;
}
