/* SPDX-License-Identifier: MIT
 * fork.c - fork handlers: the child finds every lock free and every list whole.
 *
 * Our handlers are registered before all others (atfork.c). So our prepare runs
 * after all other prepare handlers, and our locks are free again before the
 * other parent and child handlers run. In between, the forking thread holds all
 * locks and its hak_self is hak_forker. A signal handler that runs then
 * allocates from libc, and its frees wait until the fork is over.
 *
 * Lock order: forks, changes, report, kept, libc's list of streams, locks of
 * foreign libraries, boxes by index, modules, threads, mailboxes, policy, seal,
 * space, metadata. Reports and slow paths take them in the same order.
 *
 *   changes, report    Their holders call foreign libraries: a load opens one,
 *                      tries it and reads its figures. So these locks come
 *                      before those of the libraries.
 *   kept               A foreign library that is being loaded registers its
 *                      fork handlers, with the lock of changes held.
 *   list of streams    fork() takes this lock after our prepare. A thread that
 *                      holds it may wait for a stream, whose holder may be in
 *                      malloc and wait for one of our locks. So we take it
 *                      first. In a process of one thread libc does not take it,
 *                      and nor do we.
 *   foreign libraries  Their fork handlers are kept here and run by ours. If
 *                      libc ran them, a prepare handler that comes after one of
 *                      them could allocate while it holds its locks.
 *
 * A signal handler may fork at any point:
 *
 * - While its thread is in a fork. hak_lock_fork counts the nesting, and
 *   level[] has what each of these forks did. The child of the inner fork has
 *   nothing to do with the outer ones: it frees the locks of all of them, and
 *   their ends find nothing to do.
 * - While its thread is in a call of the core that holds a lock. After the
 *   handler returns, both processes go on with this call, so the lock stays
 *   taken. Until the call is over the thread stays hak_forker, since the data
 *   that the lock guards may be half changed.
 *
 * The child has only the forking thread. Other threads may have been halted
 * between two steps on a list, so their structures are never used again. Their
 * live blocks stay. Their slots that are surely free become usable in the child
 * later (hak_thread_reap, ops->heap_lost).
 */
#include <start/start.h>

#include <base/meta.h>
#include <base/os.h>
#include <base/random.h>
#include <base/seal.h>
#include <core/box/caches.h>
#include <core/box/modules.h>
#include <core/malloc/slow.h>
#include <core/memory/libc.h>
#include <core/memory/space.h>
#include <core/route/policy.h>
#include <core/state/op_calls.h>
#include <core/thread/mailbox.h>
#include <core/thread/thread.h>
#include <report/report.h>
#include <start/change.h>

#include <errno.h>
#include <pthread.h>
#include <sys/single_threaded.h>

/* libc's recursive lock of the list of streams. */
#define WEAK __attribute__((weak, visibility("default")))
void _IO_list_lock(void) WEAK;
void _IO_list_unlock(void) WEAK;
void _IO_list_resetlock(void) WEAK;

/* Held by the forking thread. hak_lock_again(&forks) is how many other forks
 * the present one is nested in. */
static struct hak_lock forks;

/* What one fork did, by its nesting. Guarded by forks. */
static struct level {
    bool streams;     /* it took the list of streams */
    bool interrupted; /* the signal handler that forked has interrupted a call
                         of the core that holds a lock */
} level[1 << (64 - HAK_LOCK_AGAIN_SHIFT)];

static __thread struct {
    struct hak_thread *self; /* hak_self when the thread is in no fork */
    bool interrupted;        /* level.interrupted of its last fork */
} of_thread __attribute__((tls_model("initial-exec")));

/* ---- handlers of foreign libraries ----------------------------------------
 */

enum { KEPT_MOST = 16 };
static struct hak_lock keeping; /* guards kept and nkept */
static struct hak_fork_handlers kept[KEPT_MOST];
static uint32_t nkept;
static void prepare(void);

bool hak_fork_keep(const struct hak_fork_handlers *handlers)
{
    bool boxes_open =
        (hak_core.mode == HAK_MODE_BOOT && hak_thread_is_started()) ||
        hak_change_is_loading();
    if (handlers->prepare == prepare ||
        (!boxes_open && (!hak_is_attached(hak_self) || hak_self->abroad == 0)))
        return false;
    hak_lock_take(&keeping);
    bool fits = nkept < KEPT_MOST;
    if (fits)
        kept[nkept++] = *handlers;
    hak_lock_drop(&keeping);
    return fits;
}

/* Run the kept handlers in libc's order: prepare last registered first, the
 * others in order. */
static void run_kept(enum hak_fork_phase phase)
{
    for (uint32_t i = 0; i < nkept; i++) {
        const struct hak_fork_handlers *h =
            &kept[phase == HAK_FORK_PREPARE ? nkept - 1 - i : i];
        hak_fork_handler *run = phase == HAK_FORK_PREPARE  ? h->prepare
                                : phase == HAK_FORK_PARENT ? h->parent
                                                           : h->child;
        if (run != NULL)
            run();
    }
}

/* ---- locks --------------------------------------------------------------- */

static bool take_streams(void)
{
    if (_IO_list_lock == NULL || _IO_list_unlock == NULL ||
        _IO_list_resetlock == NULL || __libc_single_threaded)
        return false;
    _IO_list_lock();
    return true;
}

/* Release the lock of the list of streams. In a child this ends all the forks
 * that it is nested in. */
static void drop_streams(enum hak_fork_phase phase, uint32_t depth)
{
    bool streams = level[depth].streams;
    if (phase == HAK_FORK_PARENT) {
        if (streams)
            _IO_list_unlock();
        return;
    }
    while (!streams && depth-- != 0)
        streams = level[depth].streams;
    if (streams)
        _IO_list_resetlock();
}

/* Take or release the locks that come before those of libc and of foreign
 * libraries. PREPARE returns true if a signal handler forks that has
 * interrupted a call which holds one of them. hak_lock_fork then sets errno to
 * EDEADLK. */
static bool outer_locks(enum hak_fork_phase phase)
{
    errno = 0;
    hak_change_lock(phase);
    hak_report_lock(phase);
    hak_lock_fork(&keeping, phase);
    return errno == EDEADLK;
}

/* The same for all other locks of the core, the boxes and the modules. */
static bool inner_locks(enum hak_fork_phase phase)
{
    struct hak_op_scope scope;
    errno = 0;
    hak_boxes_lock(phase);
    bool held = errno == EDEADLK;
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_at(i);
        errno = 0;
        if (b->ops.fork != NULL) {
            hak_op_begins(&scope, b, HAK_OP_fork, 0);
            b->ops.fork(&b->box, phase);
            hak_op_ends(&scope);
        }
        held |= errno == EDEADLK;
    }
    errno = 0;
    hak_modules_lock(phase);
    hak_thread_lock(phase);
    hak_mailbox_lock(phase);
    if (hak_routes_may_change())
        hak_policy_lock(phase);
    hak_seal_lock(phase);
    hak_space_lock(phase);
    hak_meta_lock(phase);
    return held || errno == EDEADLK;
}

/* ---- who the forking thread is ------------------------------------------- */

/* The order of these stores matters: a signal handler may fork between any two
 * of them. */
static void become_forker(void)
{
    if (hak_self != &hak_forker)
        of_thread.self = hak_self;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    hak_self = &hak_forker;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void stop_being_forker(void)
{
    if (hak_self != &hak_forker || hak_lock_is_mine(&forks) ||
        of_thread.interrupted)
        return;
    hak_self = of_thread.self;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    hak_free_deferred();
}

/* ---- handlers ------------------------------------------------------------ */

/*
 * Take all locks. for_fork: also the list of streams, and run the kept
 * handlers. A signal handler may fork in the middle of this. In the child of
 * that fork all locks are free, so take_all starts again there.
 */
static void take_all(bool for_fork)
{
    for (;;) {
        hak_lock_fork(&forks, HAK_FORK_PREPARE);
        struct level *l = &level[hak_lock_again(&forks)];
        bool interrupted = outer_locks(HAK_FORK_PREPARE);
        l->streams = for_fork && take_streams();
        become_forker();
        if (for_fork)
            run_kept(HAK_FORK_PREPARE);
        l->interrupted = inner_locks(HAK_FORK_PREPARE) || interrupted;
        become_forker();
        if (likely(hak_lock_is_mine(&forks)))
            return;
        inner_locks(HAK_FORK_PARENT);
        outer_locks(HAK_FORK_PARENT);
        if (l->streams)
            _IO_list_resetlock();
    }
}

static void drop_all(enum hak_fork_phase phase, bool for_fork)
{
    uint32_t depth = hak_lock_again(&forks);
    inner_locks(phase);
    if (for_fork)
        run_kept(phase);
    drop_streams(phase, depth);
    outer_locks(phase);
    of_thread.interrupted = level[depth].interrupted;
    hak_lock_fork(&forks, phase);
    stop_being_forker();
}

/* Run one phase of a fork. On libc alone there are no locks to take. If `forks`
 * is not held in a later phase, this is the child of a nested fork, which has
 * released all locks already. */
static void run_phase(enum hak_fork_phase phase)
{
    int error = errno;
    if (hak_core.mode == HAK_MODE_LIBC)
        run_kept(phase);
    else if (phase == HAK_FORK_PREPARE)
        take_all(true);
    else if (hak_lock_is_mine(&forks))
        drop_all(phase, true);
    errno = error;
}

static void prepare(void)
{
    hak_libc_set_up();
    run_phase(HAK_FORK_PREPARE);
}

static void in_parent(void)
{
    run_phase(HAK_FORK_PARENT);
}

static void in_child(void)
{
    if (hak_lock_is_mine(&forks)) {
        hak_thread_fork_child(of_thread.self);
        hak_random_forked();
        hak_modules_run();
    }
    run_phase(HAK_FORK_CHILD);
}

/* This does not take the list of streams, since the caller of malloc may hold
 * a stream. */
bool hak_fork_recover(void)
{
    if (hak_lock_is_mine(&forks))
        return false;
    int error = errno;
    take_all(false);
    drop_all(HAK_FORK_PARENT, false);
    errno = error;
    return hak_self != &hak_forker;
}

void hak_fork_register(void)
{
    static bool done;
    if (!__atomic_exchange_n(&done, true, __ATOMIC_RELAXED))
        pthread_atfork(prepare, in_parent, in_child);
}
