/* SPDX-License-Identifier: MIT
 * reap.c - closes the heaps of threads that ended long ago.
 *
 * Their pages become orphans, and boxes let heaps of other threads adopt them.
 */
#include <core/thread/lists.h>

#include <base/os.h>
#include <core/memory/space.h>
#include <core/route/lanes.h>
#include <core/thread/mailbox.h>

enum {
    REAP_DELAYS = 10,    /* purge delays that a thread stays parked for ... */
    REAP_LEAST_MS = 500, /* ... and the least time, before it is reaped */
};

/* Remove a thread of the parent from hak_lists.left that has waited since
 * before_ms. NULL: there is none. */
static struct hak_thread *next_left(uint64_t before_ms)
{
    hak_lock_take(&hak_lists.lock);
    struct hak_thread *t = hak_lists.left;
    if (t != NULL && t->parked_at_ms > before_ms)
        t = NULL;
    if (t != NULL)
        hak_lists_set_next(&hak_lists.left, t->next_parked);
    hak_lock_drop(&hak_lists.lock);
    return t;
}

/*
 * In a child of fork: let boxes recover the free memory of one thread of the
 * parent (ops->heap_lost). It waits as long as a parked thread, so a child that
 * soon calls exec does no work for it.
 * Returns false: no thread has waited for long enough.
 */
static bool rescue_left(uint64_t before_ms)
{
    struct hak_thread *t = next_left(before_ms);
    if (t == NULL)
        return false;
    struct hak_op_scope scope;
    hak_lanes_clear(t);
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = t->heap_box[i];
        if (t->heap[i] != NULL && b->ops.heap_lost != NULL) {
            hak_op_begins(&scope, b, HAK_OP_heap_lost, 0);
            b->ops.heap_lost(&b->box, t->heap[i], t);
            hak_op_ends(&scope);
        }
        __atomic_store_n(&t->heap[i], NULL, __ATOMIC_RELEASE);
    }
    return true;
}

/* Without heap_close, a heap waits for the next thread, unless its box is
 * closed. */
static void close_heaps(struct hak_thread *t)
{
    hak_mailbox_post(t);
    for (uint32_t i = 0; i < hak_nboxes(); i++)
        if (t->heap[i] != NULL &&
            (t->heap_box[i]->ops.heap_close != NULL ||
             hak_state_of(t->heap_box[i]) == HAK_BOX_CLOSED))
            hak_thread_close_heap(t, i);
    hak_mailbox_close(t);
}

/* Remove a thread from the parked ones that was parked at before_ms or earlier.
 * NULL: there is none. */
static struct hak_thread *next_to_reap(uint64_t before_ms)
{
    hak_lock_take(&hak_lists.lock);
    hak_lists_park_gone(HAK_LOOKS);
    struct hak_thread **at = &hak_lists.parked;
    while (*at != NULL && (*at)->parked_at_ms > before_ms)
        at = &(*at)->next_parked;
    struct hak_thread *t = hak_lists_take_parked(at);
    hak_lock_drop(&hak_lists.lock);
    return t;
}

static bool has_work(void)
{
    return __atomic_load_n(&hak_lists.parked, __ATOMIC_RELAXED) != NULL ||
           __atomic_load_n(&hak_lists.ending, __ATOMIC_RELAXED) != NULL ||
           __atomic_load_n(&hak_lists.left, __ATOMIC_RELAXED) != NULL;
}

void hak_thread_reap(uint64_t now_ms, bool all)
{
    uint64_t wait =
        hak_max(hak_space_purge_delay_ms() * REAP_DELAYS, REAP_LEAST_MS);
    if (!all && (now_ms < wait || !has_work()))
        return;
    struct hak_thread *reaped = NULL, *t;
    if (all)
        hak_lists_park_all_gone();
    if (__atomic_load_n(&hak_lists.left, __ATOMIC_RELAXED) != NULL)
        while (rescue_left(all ? UINT64_MAX : now_ms - wait) && all)
            ;
    while ((t = next_to_reap(all ? UINT64_MAX : now_ms - wait)) != NULL) {
        close_heaps(t);
        t->parked_at_ms = UINT64_MAX; /* never reaped again while parked */
        t->next_parked = reaped;
        reaped = t;
        if (all)
            continue;
        break; /* one thread in each call: heap_close visits all its pages */
    }
    hak_lock_take(&hak_lists.lock);
    while ((t = reaped) != NULL) {
        reaped = t->next_parked;
        hak_lists_put_parked(t);
    }
    hak_lock_drop(&hak_lists.lock);
}
