/* SPDX-License-Identifier: MIT
 * lists.c - the lists of thread structures, and tests for threads that ended.
 */
#include <core/thread/lists.h>

#include <base/os.h>
#include <core/thread/mailbox.h>

#include <errno.h>
#include <pthread.h>

struct hak_thread_lists hak_lists;

void hak_thread_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&hak_lists.lock, phase);
}

size_t hak_thread_count(void)
{
    return __atomic_load_n(&hak_lists.ntags, __ATOMIC_RELAXED);
}

/* lock held. Atomic, because has_work of reap.c reads the heads without it. */
void hak_lists_set_next(struct hak_thread **at, struct hak_thread *t)
{
    __atomic_store_n(at, t, __ATOMIC_RELAXED);
}

/* lock held */
void hak_lists_put_parked(struct hak_thread *t)
{
    t->parked = true;
    t->next_parked = hak_lists.parked;
    hak_lists_set_next(&hak_lists.parked, t);
}

/* lock held */
struct hak_thread *hak_lists_take_parked(struct hak_thread **at)
{
    struct hak_thread *t = *at;
    if (t != NULL) {
        hak_lists_set_next(at, t->next_parked);
        t->parked = false;
    }
    return t;
}

/* Tell the modules that the thread of t has ended. */
__attribute__((cold, noinline)) static void tell_of_end(struct hak_thread *t)
{
    for (uint32_t i = 0; i < hak_modules.n; i++)
        if (hak_modules.entry[i]->thread_ended != NULL)
            hak_modules.entry[i]->thread_ended(&t->of_module[i]);
}

/* lock held */
void hak_lists_park(struct hak_thread *t)
{
    if (unlikely(hak_modules.nmourners != 0))
        tell_of_end(t);
    t->parked_at_ms = hak_os_now_ms();
    hak_lists_put_parked(t);
}

/* lock held */
static void put_ending(struct hak_thread *t)
{
    t->is_ending = true;
    t->next_parked = NULL;
    hak_lists_set_next(hak_lists.ending_end, t);
    hak_lists.ending_end = &t->next_parked;
}

/* lock held */
struct hak_thread *hak_lists_take_ending(struct hak_thread **at)
{
    struct hak_thread *t = *at;
    t->is_ending = false;
    hak_lists_set_next(at, t->next_parked);
    if (*at == NULL)
        hak_lists.ending_end = at;
    return t;
}

/*
 * lock held. t becomes the structure of the calling thread, which takes its
 * robust mutex. When a thread ends, the kernel marks each robust mutex that it
 * still holds, before the thread is joined. Holding one costs no system call.
 *
 * The mutex is initialised each time, because in a child of fork its state may
 * be the parent's. Where set_robust_list is refused, it is a plain mutex, and
 * no thread is ever found to be gone.
 */
void hak_lists_hold_alive(struct hak_thread *t)
{
    t->alive = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_init(&t->alive, &hak_lists.robust);
    pthread_mutex_lock(&t->alive);
}

void hak_lists_begin_ending(struct hak_thread *t)
{
    hak_lock_take(&hak_lists.lock);
    put_ending(t);
    hak_lock_drop(&hak_lists.lock);
}

/* lock held. Has the thread of t ended? If so, t->alive is usable again. */
static bool is_gone(struct hak_thread *t)
{
    int error = pthread_mutex_trylock(&t->alive);
    if (error != 0 && error != EOWNERDEAD)
        return false;
    if (error == EOWNERDEAD)
        pthread_mutex_consistent(&t->alive);
    pthread_mutex_unlock(&t->alive);
    return error == EOWNERDEAD;
}

/* lock held. Park t if its thread ended without a destructor. That happens when
 * the thread calls exit(2), or when its first request comes after the round in
 * which the destructor would run. */
static void park_lost(struct hak_thread *t)
{
    if (!t->parked && !t->is_ending && is_gone(t))
        hak_lists_park(t);
}

void hak_lists_park_some_lost(void)
{
    for (int i = 0; i < HAK_LOOKS; i++) {
        struct hak_thread *t =
            hak_lists.look != NULL ? hak_lists.look : hak_threads;
        if (t == NULL)
            return;
        park_lost(t);
        hak_lists.look = t->next;
    }
}

/*
 * lock held. Threads that still run go to the end of the queue, since some may
 * stay in their destructors for good. `first` is the first of these: when it
 * comes again, all have been tested.
 */
void hak_lists_park_gone(uint32_t looks)
{
    struct hak_thread *first = NULL;
    for (uint32_t i = 0; i < looks; i++) {
        if (hak_lists.ending == NULL || hak_lists.ending == first)
            return;
        struct hak_thread *t = hak_lists_take_ending(&hak_lists.ending);
        if (is_gone(t)) {
            hak_lists_park(t);
            continue;
        }
        put_ending(t);
        first = first != NULL ? first : t;
    }
}

void hak_lists_park_all_gone(void)
{
    hak_lock_take(&hak_lists.lock);
    hak_lists_park_gone(UINT32_MAX);
    for (struct hak_thread *t = hak_threads; t != NULL; t = t->next)
        park_lost(t);
    hak_lock_drop(&hak_lists.lock);
}

/* ---- in the child of a fork ---- */

/* lock held. Drop all ending threads but the forking one. */
static void forget_ending(const struct hak_thread *forking)
{
    struct hak_thread *kept = NULL;
    while (hak_lists.ending != NULL) {
        struct hak_thread *t = hak_lists_take_ending(&hak_lists.ending);
        if (t == forking)
            kept = t;
        else if (is_gone(t))
            hak_lists_park(t);
    }
    if (kept != NULL)
        put_ending(kept);
}

/* lock held. Add t to the list `left`, where it waits as long as a parked one.
 */
static void leave_behind(struct hak_thread *t, uint64_t now_ms)
{
    t->left_behind = true;
    t->parked_at_ms = now_ms;
    t->next_parked = hak_lists.left;
    hak_lists_set_next(&hak_lists.left, t);
}

/*
 * Threads that were running or ending in the parent may have been halted at any
 * point, so their structures are never used again, and their inboxes are
 * closed.
 *
 * The lock is held. If a signal handler forked, a call that it interrupted may
 * hold it instead; the lists may then be half changed and are left alone.
 *
 * The child's libc has an empty list of robust mutexes, so the forking thread
 * takes its own one again.
 */
void hak_thread_fork_child(struct hak_thread *forking)
{
    if (hak_is_attached(forking))
        hak_lists_hold_alive(forking);
    if (hak_lock_is_whole(&hak_lists.lock))
        forget_ending(forking);
    uint64_t now_ms = hak_os_now_ms();
    for (struct hak_thread *t = hak_threads; t != NULL; t = t->next) {
        if (t == forking || t->parked)
            continue;
        hak_mailbox_abandon(t);
        __atomic_store_n(&t->routing, 0, __ATOMIC_RELAXED); /* for drains */
        if (!t->left_behind && hak_lock_is_whole(&hak_lists.lock))
            leave_behind(t, now_ms);
    }
}
