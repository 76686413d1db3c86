/* SPDX-License-Identifier: MIT
 * thread.c - attached threads: their lanes, heaps and counters.
 *
 * A thread attaches at its first slow path. A destructor of thread-specific
 * data parks its structure with its lanes and heaps as they are, and the next
 * thread that attaches takes it over, so threads that come and go cost a list
 * operation. What stays parked for long is reaped: its heaps are closed, their
 * pages become orphans that the boxes hand to other heaps.
 *
 * hak_nobody stands for a thread that has not attached. Its lanes never have a
 * free slot and nothing is ever stored to it, so malloc needs no test for it.
 */
#include "core.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

enum {
    LOOKS = 16,       /* at threads that may be gone, at a time */
    REAP_DELAYS = 10, /* parked for so many purge delays: reaped */
    REAP_LEAST_MS = 500,
};

struct hak_span hak_no_span;
struct hak_thread hak_nobody = {.lane = {[0 ... HAK_LANES] = &hak_no_span},
                                .abroad = 1,
                                .tag = HAK_TAG_NONE};
struct hak_thread hak_ended = {.lane = {[0 ... HAK_LANES] = &hak_no_span},
                               .abroad = 1,
                               .tag = HAK_TAG_NONE};
HAK_SPARSE struct hak_thread *hak_thread_by_tag[HAK_TAG_NONE];
__thread struct hak_thread *hak_self
    __attribute__((tls_model("initial-exec"))) = &hak_nobody;

static struct {
    struct hak_lock lock;
    struct hak_thread *all;
    struct hak_thread *parked;
    /* looked at in turn: their threads may still run for a moment */
    struct hak_thread *ending, **ending_end;
    /* in a fork's child: the parent's threads, whose heaps wait to be searched
     * for spans that are free */
    struct hak_thread *left;
    struct hak_thread *look; /* the next of all to look at */
    pthread_key_t key;
    pthread_mutexattr_t robust;
    uint32_t ntags;
} threads;

void hak_thread_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&threads.lock, phase);
}

struct hak_thread *hak_thread_first(void)
{
    return __atomic_load_n(&threads.all, __ATOMIC_ACQUIRE);
}

size_t hak_thread_count(void)
{
    return __atomic_load_n(&threads.ntags, __ATOMIC_RELAXED);
}

/* ---- lanes --------------------------------------------------------------- */

static void set_lane(struct hak_thread *t, uint32_t index,
                     struct hak_span *span)
{
    __atomic_store_n(&t->lane[index], span, __ATOMIC_RELAXED);
}

/*
 * A span may be in several lanes, when its slots serve more than one index:
 * lane_first and lane_last bound them (the latter exclusive, 0 = none).
 */
void hak_thread_set_lane(struct hak_thread *t, uint32_t index,
                         struct hak_span *span)
{
    if (hak_lane(t, index) == span)
        return;
    set_lane(t, index, span);
    if (span->lane_last == 0 || index < span->lane_first)
        span->lane_first = (uint16_t)index;
    if (index >= span->lane_last)
        span->lane_last = (uint16_t)(index + 1);
}

void hak_thread_drop_lanes(struct hak_thread *t, struct hak_span *span)
{
    if (hak_samples())
        hak_sample_drop(t, span);
    for (uint32_t i = span->lane_first; i < span->lane_last; i++)
        if (hak_lane(t, i) == span)
            set_lane(t, i, &hak_no_span);
    span->lane_first = span->lane_last = 0;
}

void hak_thread_resync(struct hak_thread *t)
{
    for (uint32_t i = 0; i < HAK_LANES; i++) {
        const struct hak_loaded *first = hak_chain_of(i)->box[0];
        const struct hak_span *span = hak_lane(t, i);
        if (span != &hak_no_span && (first == NULL || span->box != &first->box))
            set_lane(t, i, &hak_no_span);
    }
}

/*
 * A thread whose working set fits its lanes might never take a slow path, so
 * its lanes are emptied from here. One that is just setting a lane may undo
 * that; it sees the new epoch on its next slow path.
 */
static size_t slot_of_lane(uint32_t index)
{
    struct hak_loaded *b = hak_chain_of(index)->box[0];
    bool tells = b != NULL && HAK_BOX_HAS(b, slot_size);
    return tells ? hak_box_slot_size(b, hak_lane_bytes(index)) : 0;
}

/* Those that stay as they were when there is no memory do no harm. */
void hak_thread_group_lanes(void)
{
    if (!hak_seal_open())
        return;
    for (uint32_t first = 0, last; first < HAK_LANES; first = last + 1) {
        size_t slot_bytes = slot_of_lane(first);
        last = first;
        while (slot_bytes != 0 && last + 1 < HAK_LANES &&
               hak_chain_of(last + 1) == hak_chain_of(first) &&
               slot_of_lane(last + 1) == slot_bytes)
            last++;
        for (uint32_t i = first; i <= last; i++)
            hak_core.group[i] =
                (struct hak_lane_group){(uint8_t)first, (uint8_t)last};
    }
    hak_seal_close();
}

void hak_thread_reroute(uint32_t first, uint32_t last)
{
    hak_os_barrier();
    hak_thread_group_lanes();
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        for (uint32_t i = first; i <= last && i < HAK_LANES; i++)
            set_lane(t, i, &hak_no_span);
}

bool hak_thread_is_routing(void)
{
    const struct hak_thread *t = hak_thread_first();
    while (t != NULL && __atomic_load_n(&t->routing, __ATOMIC_ACQUIRE) == 0)
        t = t->next;
    return t != NULL;
}

void *hak_thread_heap(struct hak_thread *t, struct hak_loaded *b, bool open)
{
    void **heap = &t->heap[b->box.index];
    if (*heap == NULL && open && b->ops.heap_open != NULL)
        *heap = b->ops.heap_open(&b->box, t);
    return *heap;
}

/* ---- attach and detach ---- */

/* lock held; hak_thread_reap looks at both lists without it */
static void set_next(struct hak_thread **at, struct hak_thread *t)
{
    __atomic_store_n(at, t, __ATOMIC_RELAXED);
}

/* lock held */
static void put_parked(struct hak_thread *t)
{
    t->parked = true;
    t->next_parked = threads.parked;
    set_next(&threads.parked, t);
}

/* lock held; at: a place of the list. NULL: its end */
static struct hak_thread *take_parked(struct hak_thread **at)
{
    struct hak_thread *t = *at;
    if (t != NULL) {
        set_next(at, t->next_parked);
        t->parked = false;
    }
    return t;
}

/* lock held */
static void park(struct hak_thread *t)
{
    t->parked_at_ms = hak_os_now_ms();
    put_parked(t);
}

/* lock held */
static void put_ending(struct hak_thread *t)
{
    t->is_ending = true;
    t->next_parked = NULL;
    set_next(threads.ending_end, t);
    threads.ending_end = &t->next_parked;
}

/* lock held; at: a place of the list, not its end */
static struct hak_thread *take_ending(struct hak_thread **at)
{
    struct hak_thread *t = *at;
    t->is_ending = false;
    set_next(at, t->next_parked);
    if (*at == NULL)
        threads.ending_end = at;
    return t;
}

/*
 * lock held; t is the calling thread's from now on. When that is gone the
 * kernel says so: it marks each robust mutex that a thread still holds, before
 * the thread is joined. To hold one costs no system call. (Made anew: in a
 * fork's child it may be left from the parent. Where set_robust_list is refused
 * it is a plain one, and nobody is ever gone.)
 */
static void hold_alive(struct hak_thread *t)
{
    t->alive = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_init(&t->alive, &threads.robust);
    pthread_mutex_lock(&t->alive);
}

/* Look more often from here on whether the calling thread, whose t is, is gone.
 */
static void begin_ending(struct hak_thread *t)
{
    hak_lock_take(&threads.lock);
    put_ending(t);
    hak_lock_drop(&threads.lock);
}

/* lock held */
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

static void park_heaps(struct hak_thread *t)
{
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        struct hak_loaded *b = hak_boxes.all[i];
        if (t->heap[i] != NULL && b->ops.heap_park != NULL)
            b->ops.heap_park(&b->box, t->heap[i]);
    }
}

/* The last round of destructors: no need to wait for the kernel. */
static void end(struct hak_thread *t)
{
    park_heaps(t);
    hak_self = &hak_ended;
    hak_lock_take(&threads.lock);
    struct hak_thread **at = &threads.ending;
    while (*at != NULL && *at != t)
        at = &(*at)->next_parked;
    if (*at == t) /* else: a fork's child has dropped the list */
        take_ending(at);
    pthread_mutex_unlock(&t->alive);
    park(t);
    hak_lock_drop(&threads.lock);
}

/* ThreadSanitizer has its own record of a thread until the last round begins.
 */
#ifdef __SANITIZE_THREAD__
enum { ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS - 1 };
#else
enum { ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS };
#endif

/*
 * Others' destructors may still allocate, so the structure is kept through
 * all rounds of them. A thread whose first request came in a late round never
 * sees our last: it is found to be gone.
 */
static void ending(void *self)
{
    struct hak_thread *t = self;
    hak_parcel_post(t);
    if (t->rounds++ == 0)
        begin_ending(t);
    if (t->rounds < ROUNDS)
        pthread_setspecific(threads.key, t);
    else
        end(t);
}

int hak_thread_start(void)
{
    hak_core.fences = hak_routes_may_change() && !hak_os_barrier_start();
    threads.ending_end = &threads.ending;
    pthread_mutexattr_init(&threads.robust);
    pthread_mutexattr_setrobust(&threads.robust, PTHREAD_MUTEX_ROBUST);
    return -pthread_key_create(&threads.key, ending);
}

bool hak_thread_is_started(void)
{
    return threads.ending_end != NULL;
}

/* lock held. Some threads end without a destructor of ours: by exit(2), or when
 * their first request comes after it. */
static void park_lost(struct hak_thread *t)
{
    if (!t->parked && !t->is_ending && is_gone(t))
        park(t);
}

static void park_some_lost(void)
{
    for (int i = 0; i < LOOKS; i++) {
        struct hak_thread *t =
            threads.look != NULL ? threads.look : threads.all;
        if (t == NULL)
            return;
        park_lost(t);
        threads.look = t->next;
    }
}

/*
 * lock held: park the ended threads among the next few of the ending ones.
 * Those that are still there wait for their next turn: some may stay in their
 * destructors for good.
 */
static void park_gone(uint32_t looks)
{
    struct hak_thread *first = NULL;
    for (uint32_t i = 0; i < looks; i++) {
        if (threads.ending == NULL || threads.ending == first)
            return;
        struct hak_thread *t = take_ending(&threads.ending);
        if (is_gone(t)) {
            park(t);
            continue;
        }
        put_ending(t);
        first = first != NULL ? first : t;
    }
}

static void park_all_gone(void)
{
    hak_lock_take(&threads.lock);
    park_gone(UINT32_MAX);
    for (struct hak_thread *t = threads.all; t != NULL; t = t->next)
        park_lost(t);
    hak_lock_drop(&threads.lock);
}

static struct hak_thread *unpark(void)
{
    hak_lock_take(&threads.lock);
    if (threads.parked == NULL)
        park_gone(LOOKS);
    if (threads.parked == NULL)
        park_some_lost();
    struct hak_thread *t = take_parked(&threads.parked);
    if (t != NULL)
        hold_alive(t);
    hak_lock_drop(&threads.lock);
    return t;
}

/* lock held: of the ending ones keep the forking thread alone. */
static void forget_ending(const struct hak_thread *forking)
{
    struct hak_thread *kept = NULL;
    while (threads.ending != NULL) {
        struct hak_thread *t = take_ending(&threads.ending);
        if (t == forking)
            kept = t;
        else if (is_gone(t))
            park(t);
    }
    if (kept != NULL)
        put_ending(kept);
}

/* lock held. It waits as long as one that has parked. */
static void leave_behind(struct hak_thread *t, uint64_t now_ms)
{
    t->left_behind = true;
    t->parked_at_ms = now_ms;
    t->next_parked = threads.left;
    set_next(&threads.left, t);
}

/*
 * Threads that were running or ending in the parent: halted anywhere, so their
 * structures are never used again. Nobody will read what comes for them. The
 * lock is held, perhaps by a call that a signal handler interrupted: its lists
 * stay as they are then. libc has forgotten what the forking thread held of
 * robust mutexes.
 */
void hak_thread_fork_child(struct hak_thread *forking)
{
    if (hak_is_attached(forking))
        hold_alive(forking);
    if (hak_lock_is_whole(&threads.lock))
        forget_ending(forking);
    uint64_t now_ms = hak_os_now_ms();
    for (struct hak_thread *t = threads.all; t != NULL; t = t->next) {
        if (t == forking || t->parked)
            continue;
        hak_parcel_abandon(t);
        if (!t->left_behind && hak_lock_is_whole(&threads.lock))
            leave_behind(t, now_ms);
    }
}

static struct hak_thread *fresh(void)
{
    struct hak_thread *t = hak_meta(sizeof *t);
    if (t == NULL)
        return NULL;
    for (uint32_t i = 0; i <= HAK_LANES; i++)
        set_lane(t, i, &hak_no_span);
    hak_lock_take(&threads.lock);
    t->tag = HAK_TAG_NONE;
    if (threads.ntags < HAK_TAG_NONE - 1) {
        t->tag = (uint16_t)(threads.ntags + 1); /* 0: nobody's */
        __atomic_store_n(&threads.ntags, t->tag, __ATOMIC_RELAXED);
        hak_thread_by_tag[t->tag] = t;
    }
    hold_alive(t);
    t->next = threads.all;
    __atomic_store_n(&threads.all, t, __ATOMIC_RELEASE);
    hak_lock_drop(&threads.lock);
    return t;
}

struct hak_thread *hak_thread_attach(void)
{
    if (hak_is_forking())
        return NULL;
    if (hak_is_attached(hak_self))
        return hak_self; /* again, after a fork in a signal handler */
    bool late = hak_self == &hak_ended;
    struct hak_thread *t = unpark();
    if (t == NULL)
        t = fresh();
    if (t == NULL)
        return NULL;
    hak_parcel_open(t);
    t->rounds = 0;
    t->error = &errno;
    hak_self = t; /* from here on: setspecific allocates if the key is high */
    if (late || pthread_setspecific(threads.key, t) != 0)
        begin_ending(t); /* no destructor of ours will run */
    return t;
}

/* ---- reaping ---- */

/* Take one off the list of those left behind whose time has come. */
static struct hak_thread *next_left(uint64_t before_ms)
{
    hak_lock_take(&threads.lock);
    struct hak_thread *t = threads.left;
    if (t != NULL && t->parked_at_ms > before_ms)
        t = NULL;
    if (t != NULL)
        set_next(&threads.left, t->next_parked);
    hak_lock_drop(&threads.lock);
    return t;
}

/*
 * What a thread of the parent had free is for this process, once that has lived
 * for as long as parked ones wait: one that only calls exec pays nothing.
 * False: there is no more.
 */
static bool rescue_left(uint64_t before_ms)
{
    struct hak_thread *t = next_left(before_ms);
    if (t == NULL)
        return false;
    for (uint32_t i = 0; i <= HAK_LANES; i++)
        set_lane(t, i, &hak_no_span);
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        struct hak_loaded *b = hak_boxes.all[i];
        if (t->heap[i] != NULL && b->ops.heap_lost != NULL)
            b->ops.heap_lost(&b->box, t->heap[i], t);
        t->heap[i] = NULL;
    }
    return true;
}

static void close_heaps(struct hak_thread *t)
{
    hak_parcel_post(t);
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        struct hak_loaded *b = hak_boxes.all[i];
        if (t->heap[i] == NULL || b->ops.heap_close == NULL)
            continue; /* one that cannot be closed waits for the next thread */
        b->ops.heap_close(&b->box, t->heap[i]);
        t->heap[i] = NULL;
    }
    hak_parcel_close(t);
}

/* Take one thread off the parked list whose time has come. */
static struct hak_thread *next_to_reap(uint64_t before_ms)
{
    hak_lock_take(&threads.lock);
    park_gone(LOOKS);
    struct hak_thread **at = &threads.parked;
    while (*at != NULL && (*at)->parked_at_ms > before_ms)
        at = &(*at)->next_parked;
    struct hak_thread *t = take_parked(at);
    hak_lock_drop(&threads.lock);
    return t;
}

static bool has_work(void)
{
    return __atomic_load_n(&threads.parked, __ATOMIC_RELAXED) != NULL ||
           __atomic_load_n(&threads.ending, __ATOMIC_RELAXED) != NULL ||
           __atomic_load_n(&threads.left, __ATOMIC_RELAXED) != NULL;
}

void hak_thread_reap(uint64_t now_ms, bool all)
{
    uint64_t wait =
        hak_max(hak_space_purge_delay_ms() * REAP_DELAYS, REAP_LEAST_MS);
    if (!all && (now_ms < wait || !has_work()))
        return;
    struct hak_thread *reaped = NULL, *t;
    if (all)
        park_all_gone();
    if (__atomic_load_n(&threads.left, __ATOMIC_RELAXED) != NULL)
        while (rescue_left(all ? UINT64_MAX : now_ms - wait) && all)
            ;
    while ((t = next_to_reap(all ? UINT64_MAX : now_ms - wait)) != NULL) {
        close_heaps(t);
        t->parked_at_ms = UINT64_MAX; /* nothing more to reap in it */
        t->next_parked = reaped;
        reaped = t;
        if (all)
            continue;
        break; /* one a call: closing walks the heap's pages */
    }
    hak_lock_take(&threads.lock);
    while ((t = reaped) != NULL) {
        reaped = t->next_parked;
        put_parked(t);
    }
    hak_lock_drop(&threads.lock);
}
