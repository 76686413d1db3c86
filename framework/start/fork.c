/* SPDX-License-Identifier: MIT
 * fork.c - the child of a fork finds every lock free and every list whole.
 *
 * Our handlers are the first that are registered (atfork.c),
 * so prepare runs when all others have, and the locks are free again before
 * others' parent and child handlers run. Between prepare and the end the
 * forking thread holds all locks and is hak_forker: what a signal handler
 * allocates then comes from libc, what it frees waits until the fork is over.
 *
 * Lock order: forks, libc's list of streams, those of foreign libraries,
 * report, boxes by index, modules, threads, mailboxes, policy, seal, space,
 * metadata: the order in which reports and slow paths take them. The list of
 * streams: fork takes it after our prepare, and who holds it may wait for a
 * stream whose holder is in malloc. libc does without it in a process of one
 * thread, and so does prepare. Foreign libraries: what they register for forks
 * is kept here, since others' handlers may allocate before theirs run.
 *
 * A signal handler may fork anywhere:
 *
 * - inside of a fork of its thread. hak_lock_fork counts, `level` has what each
 *   of them did. The child of the inner one has nothing more to do with the
 *   outer ones: it frees their locks, and their ends find nothing to do.
 * - inside of a call of ours that holds a lock. Both processes go on with the
 *   call when the handler returns, so the lock stays with it. Until it is over
 *   the thread stays hak_forker: what the lock guards may be half changed.
 *
 * The child has the forking thread alone. The others may have been halted
 * between two steps of a list, so their structures are never used again. Their
 * live blocks stay; what of their free slots can be told to be so comes to the
 * child later (hak_thread_reap, ops->heap_lost).
 */
#include <start/start.h>

#include <base/meta.h>
#include <base/os.h>
#include <base/random.h>
#include <base/seal.h>
#include <core/box/modules.h>
#include <core/malloc/slow.h>
#include <core/memory/libc.h>
#include <core/memory/space.h>
#include <core/route/policy.h>
#include <core/state/build.h>
#include <core/thread/mailbox.h>
#include <core/thread/thread.h>
#include <report/report.h>

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>

/* libc's, recursive: of the list of streams. */
#define WEAK __attribute__((weak, visibility("default")))
void _IO_list_lock(void) WEAK;
void _IO_list_unlock(void) WEAK;
void _IO_list_resetlock(void) WEAK;

/* Held by the thread that forks; hak_lock_again says inside of how many. */
static struct hak_lock forks;

/* One fork, by how many it is inside of. */
static struct level {
    bool streams;     /* it took the list of streams */
    bool interrupted; /* a call of ours has a lock, below the signal handler */
} level[1 << (64 - HAK_LOCK_AGAIN_SHIFT)];

static __thread struct {
    struct hak_thread *self; /* hak_self without a fork */
    bool interrupted;        /* as the last of its forks found it */
} of_thread __attribute__((tls_model("initial-exec")));

/* ---- handlers of foreign libraries ----------------------------------------
 */

enum { KEPT_MOST = 16 };
static struct hak_fork_handlers kept[KEPT_MOST]; /* guarded by forks */
static uint32_t nkept;
static void prepare(void);

bool hak_fork_keep(const struct hak_fork_handlers *handlers)
{
    bool boxes_open = hak_core.mode == HAK_MODE_BOOT && hak_thread_is_started();
    if (handlers->prepare == prepare ||
        (!boxes_open && (!hak_is_attached(hak_self) || hak_self->abroad == 0)))
        return false;
    hak_lock_take(&forks);
    bool fits = nkept < KEPT_MOST;
    if (fits)
        kept[nkept++] = *handlers;
    hak_lock_drop(&forks);
    return fits;
}

/* As libc does: prepare the last one first, the others in order. */
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

/* In a child, for all the forks that it is inside of. */
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

/* PREPARE: does a call of ours hold one, below a signal handler? */
static bool all_locks(enum hak_fork_phase phase)
{
    errno = 0;
    hak_report_lock(phase);
    bool held = errno == EDEADLK;
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        struct hak_loaded *b = hak_boxes.all[i];
        errno = 0;
        if (b->ops.fork != NULL)
            b->ops.fork(&b->box, phase);
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

/* A signal handler's fork may come between any two of these steps. */
static void become_forker(void)
{
    if (hak_self != &hak_forker)
        of_thread.self = hak_self;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    hak_self = &hak_forker;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void come_back(void)
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
 * for_fork: else locks alone. The child of a fork in a signal handler, which
 * came in the middle of this, has let go of all: then it begins again.
 */
static void take_all(bool for_fork)
{
    for (;;) {
        hak_lock_fork(&forks, HAK_FORK_PREPARE);
        struct level *l = &level[hak_lock_again(&forks)];
        l->streams = for_fork && take_streams();
        become_forker();
        if (for_fork)
            run_kept(HAK_FORK_PREPARE);
        l->interrupted = all_locks(HAK_FORK_PREPARE);
        become_forker();
        if (likely(hak_lock_is_mine(&forks)))
            return;
        all_locks(HAK_FORK_PARENT);
        if (l->streams)
            _IO_list_resetlock();
    }
}

static void drop_all(enum hak_fork_phase phase, bool for_fork)
{
    uint32_t depth = hak_lock_again(&forks);
    all_locks(phase);
    if (for_fork)
        run_kept(phase);
    drop_streams(phase, depth);
    of_thread.interrupted = level[depth].interrupted;
    hak_lock_fork(&forks, phase);
    come_back();
}

/* Of libc alone there is nothing to lock. Not held: the child of a fork inside
 * of this one has let go of it. */
static void run(enum hak_fork_phase phase)
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
    run(HAK_FORK_PREPARE);
}

static void in_parent(void)
{
    run(HAK_FORK_PARENT);
}

static void in_child(void)
{
    if (hak_lock_is_mine(&forks)) {
        hak_thread_fork_child(of_thread.self);
        hak_random_forked();
        hak_modules_run();
    }
    run(HAK_FORK_CHILD);
}

/* Without libc's list of streams: malloc may be called by a stream's holder. */
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
