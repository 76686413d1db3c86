/* SPDX-License-Identifier: MIT
 * attach.c - a thread's first slow path, and its end.
 *
 * A thread attaches at its first slow path: it gets a struct hak_thread. When
 * the thread ends, a destructor of thread-specific data parks the structure,
 * with its lanes and heaps as they are. The next thread that attaches takes it
 * over, so a short-lived thread costs a list operation. A structure that stays
 * parked for long is reaped: reap.c.
 */
#include <core/thread/lists.h>

#include <base/meta.h>
#include <base/os.h>
#include <core/state/build.h>
#include <core/route/lanes.h>
#include <core/thread/mailbox.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>

static void park_heaps(struct hak_thread *t)
{
    struct hak_op_scope scope;
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = t->heap_box[i];
        if (t->heap[i] == NULL || b->ops.heap_park == NULL)
            continue;
        hak_op_begins(&scope, b, HAK_OP_heap_park, 0);
        b->ops.heap_park(&b->box, t->heap[i]);
        hak_op_ends(&scope);
    }
}

/* Park t in the last round of destructors, without waiting for the kernel to
 * say that the thread is gone. */
static void park_ended(struct hak_thread *t)
{
    park_heaps(t);
    hak_self = &hak_ended;
    hak_lock_take(&hak_lists.lock);
    struct hak_thread **at = &hak_lists.ending;
    while (*at != NULL && *at != t)
        at = &(*at)->next_parked;
    if (*at == t) /* it may be missing: a child of fork drops the list */
        hak_lists_take_ending(at);
    pthread_mutex_unlock(&t->alive);
    hak_lists_park(t);
    hak_lock_drop(&hak_lists.lock);
}

/* One round less under ThreadSanitizer, which drops its record of a thread when
 * the last round begins. */
#ifdef __SANITIZE_THREAD__
enum { ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS - 1 };
#else
enum { ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS };
#endif

/*
 * The destructor of hak_lists.key. Destructors of other libraries may still
 * allocate, so the structure is kept through all rounds of destructors. A
 * thread that attached in a late round does not reach ROUNDS. It is parked when
 * hak_lists_park_gone finds that it is gone.
 */
static void on_thread_exit(void *self)
{
    struct hak_thread *t = self;
    hak_mailbox_post(t);
    if (t->rounds++ == 0)
        hak_lists_begin_ending(t);
    if (t->rounds < ROUNDS)
        pthread_setspecific(hak_lists.key, t);
    else
        park_ended(t);
}

int hak_thread_start(void)
{
    hak_core.fences = hak_routes_may_change() && !hak_os_barrier_start();
    hak_lists.ending_end = &hak_lists.ending;
    pthread_mutexattr_init(&hak_lists.robust);
    pthread_mutexattr_setrobust(&hak_lists.robust, PTHREAD_MUTEX_ROBUST);
    return -pthread_key_create(&hak_lists.key, on_thread_exit);
}

bool hak_thread_is_started(void)
{
    return hak_lists.ending_end != NULL;
}

static struct hak_thread *unpark(void)
{
    hak_lock_take(&hak_lists.lock);
    if (hak_lists.parked == NULL)
        hak_lists_park_gone(HAK_LOOKS);
    if (hak_lists.parked == NULL)
        hak_lists_park_some_lost();
    struct hak_thread *t = hak_lists_take_parked(&hak_lists.parked);
    if (t != NULL)
        hak_lists_hold_alive(t);
    hak_lock_drop(&hak_lists.lock);
    return t;
}

static struct hak_thread *new_structure(void)
{
    struct hak_thread *t = hak_meta(sizeof *t);
    if (t == NULL)
        return NULL;
    hak_lanes_clear(t);
    hak_lock_take(&hak_lists.lock);
    t->tag = HAK_TAG_NONE;
    if (hak_lists.ntags < HAK_TAG_NONE - 1) {
        t->tag = (uint16_t)(hak_lists.ntags + 1); /* tag 0 means unknown */
        __atomic_store_n(&hak_lists.ntags, t->tag, __ATOMIC_RELAXED);
        hak_thread_by_tag[t->tag] = t;
    }
    hak_lists_hold_alive(t);
    t->next = hak_threads;
    __atomic_store_n(&hak_threads, t, __ATOMIC_RELEASE);
    hak_lock_drop(&hak_lists.lock);
    return t;
}

struct hak_thread *hak_thread_attach(void)
{
    if (hak_is_forking())
        return NULL;
    if (hak_is_attached(hak_self))
        return hak_self; /* hak_is_forking() has set it: the fork is over */
    bool late = hak_self == &hak_ended;
    struct hak_thread *t = unpark();
    if (t == NULL)
        t = new_structure();
    if (t == NULL)
        return NULL;
    hak_mailbox_open(t);
    t->rounds = 0;
    t->error = &errno;
    hak_self = t; /* before setspecific, which allocates if the key is high */
    if (late || pthread_setspecific(hak_lists.key, t) != 0)
        hak_lists_begin_ending(t); /* its destructor will not run */
    return t;
}

void hak_thread_close_heap(struct hak_thread *t, uint32_t index)
{
    struct hak_loaded *b = t->heap_box[index];
    if (b->ops.heap_close != NULL) {
        struct hak_op_scope scope;
        hak_op_begins(&scope, b, HAK_OP_heap_close, 0);
        b->ops.heap_close(&b->box, t->heap[index]);
        hak_op_ends(&scope);
    }
    __atomic_store_n(&t->heap[index], NULL, __ATOMIC_RELEASE);
}

/*
 * A box that is closed gives its index to another one when no thread has a heap
 * in it. A thread that is late in an operation of the old box (shrink, trim, a
 * free that adopts pages) may open one nevertheless. So each heap is taken only
 * for the box that it is of: the old box gets none while the new box has one,
 * and the old box's is closed before the new box opens one.
 */
void *hak_thread_heap(struct hak_thread *t, struct hak_loaded *b, bool open)
{
    uint32_t i = b->box.index;
    void *heap = t->heap[i];
    if (unlikely(heap != NULL && t->heap_box[i] != b)) {
        if (!open || hak_state_of(b) == HAK_BOX_CLOSED)
            return NULL;
        hak_thread_close_heap(t, i);
        heap = NULL;
    }
    if (heap == NULL && open && b->ops.heap_open != NULL) {
        struct hak_op_scope scope;
        hak_op_begins(&scope, b, HAK_OP_heap_open, 0);
        heap = b->ops.heap_open(&b->box, t);
        hak_op_ends(&scope);
        t->heap_box[i] = b;
        __atomic_store_n(&t->heap[i], heap, __ATOMIC_RELEASE);
    }
    return heap;
}

void hak_thread_leave_closed(struct hak_thread *t)
{
    int kept = errno;
    for (uint32_t i = 0; i < hak_nboxes(); i++)
        if (t->heap[i] != NULL &&
            hak_state_of(t->heap_box[i]) == HAK_BOX_CLOSED)
            hak_thread_close_heap(t, i);
    errno = kept;
}
