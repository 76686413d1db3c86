/* SPDX-License-Identifier: MIT
 * fault.c - the SIGSEGV handler: reports faults in the pool and passes every
 * signal on to the program's handler.
 *
 * The handler is installed when the box starts. A handler that the program
 * installs later replaces it. A fault in the pool is then reported only if the
 * program's handler calls the one that it replaced. With signal_recheck each
 * sample checks whether the program has installed a handler. If so, that
 * handler is remembered and ours is installed in front of it again. The check
 * is a system call, for which a sandbox may kill the process.
 *
 * A program's handler that we pass a signal to may call the handler that it
 * replaced, which is ours. Then we see the same signal a second time, and pass
 * it to the handler that was installed before the box started. To recognise the
 * second time, the handler marks the signal's own frame, in `oldmask`: the
 * kernel writes that anew for each signal, and sigreturn does not read it. So
 * no thread-local variable is needed, and a longjmp leaves no stale mark.
 *
 * Signal dispositions belong to the process, so this file's state is static.
 */
#include "guard.h"

#include <errno.h>
#include <signal.h>
#include <ucontext.h>

#define SEEN 0x68616b6d656d0000ll /* a value that oldmask never has */

static struct guard *instances; /* push only */
/* Guards writes of found and now. Only ever tried, so the handler and a sample
 * never wait. */
static struct hak_lock lock;
/* Handlers of the program that ours replaced. found[now] gets the signals;
 * found[0] was installed before the box started. */
static struct sigaction found[3];
static uint32_t now;
static bool installed;

/* ---- passing a signal on as the kernel would deliver it ---- */

static void die_by_default(int number, const siginfo_t *info)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigaction(number, &normal, NULL);
    /* A faulting instruction faults again on return; a sent signal must be sent
     * again. */
    if (info->si_code <= 0)
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
        return; /* only a signal that was sent; the kernel ignores no fault */
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

/* ---- the handler ---- */

static void look(const siginfo_t *info, const ucontext_t *c)
{
    enum { ERROR_WRITE = 2 };
    const greg_t *regs = c->uc_mcontext.gregs;
    if (info->si_code <= 0)
        return; /* sent by a process: not a fault */
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

/* Remember the handler `there` and install ours in its place. The lock is held.
 */
static void install(const struct sigaction *there)
{
    struct sigaction ours = {.sa_sigaction = on_fault,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK};
    /* Not found[now], which a handler in another thread may be reading. */
    uint32_t to = !installed ? 0 : now == 1 ? 2 : 1;
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
        hak_lock_try(&lock)) { /* else another thread is installing it */
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
