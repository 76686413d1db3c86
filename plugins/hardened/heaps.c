/* SPDX-License-Identifier: MIT
 * heaps.c - arenas: sets of classes, so that threads which allocate at the same
 * time do not wait for each other's locks.
 *
 * A thread's heap only says which arena the thread uses: the one with the
 * fewest threads when the heap was opened. A freed slot returns to the arena
 * that it comes from, whichever thread frees it. The struct of a heap is never
 * given back; later threads take it over.
 */
#include "hardened.h"

enum { ARENAS_MOST_BY_CPUS = 8 };

/* ---- arenas and classes ---- */

static struct arena *make_arena(struct hardened *h)
{
    return hardened_metadata(h, sizeof(struct arena));
}

void heaps_init(struct hardened *h, uint32_t arenas)
{
    uint32_t cpus = h->box->host->ncpus();
    h->narenas =
        arenas != 0 ? arenas : (uint32_t)hak_min(cpus, ARENAS_MOST_BY_CPUS);
    struct arena *first = make_arena(h);
    if (first != NULL)
        first->nheaps = 1; /* counts this thread, whose heap is opened later */
    h->now->arena[0] = first;
    h->now->first_thread = hak_lock_self();
}

static struct class *make_class(struct hardened *h, uint32_t number)
{
    size_t nwait = 2 * (size_t)h->shape[number].nwait;
    struct class *c =
        hardened_metadata(h, sizeof *c + nwait * sizeof c->wait[0]);
    if (c == NULL)
        return NULL;
    c->number = (uint8_t)number;
    c->random = h->box->host->random() | 1;
    hak_link_init(&c->partial);
    hak_link_init(&c->empty);
    return c;
}

struct class *class_of(struct hardened *h, struct arena *arena, uint32_t number)
{
    struct class **at = &arena->class[number];
    struct class *c = __atomic_load_n(at, __ATOMIC_ACQUIRE);
    if (likely(c != NULL))
        return c;
    hak_lock_take(&arena->lock);
    c = *at;
    if (c == NULL && (c = make_class(h, number)) != NULL)
        __atomic_store_n(at, c, __ATOMIC_RELEASE);
    hak_lock_drop(&arena->lock);
    return c;
}

struct class *nth_class(const struct hardened *h, uint32_t *n)
{
    struct class *c = NULL;
    for (; c == NULL && *n < h->narenas * CLASSES; ++*n) {
        struct arena *arena =
            __atomic_load_n(&h->now->arena[*n / CLASSES], __ATOMIC_ACQUIRE);
        if (arena != NULL)
            c = __atomic_load_n(&arena->class[*n % CLASSES], __ATOMIC_ACQUIRE);
    }
    return c;
}

/* ---- heaps ---- */

/* The arena with the fewest heaps, made if one may still be made; the first
 * when there is no memory for more. heaps_lock is held. */
static struct arena *least_used(struct hardened *h)
{
    struct arena **all = h->now->arena, *least = all[0];
    HAK_ALWAYS(least != NULL); /* init made it */
    for (uint32_t i = 0; i < h->narenas; i++) {
        if (all[i] == NULL && least->nheaps != 0)
            __atomic_store_n(&all[i], make_arena(h), __ATOMIC_RELEASE);
        if (all[i] != NULL && all[i]->nheaps < least->nheaps)
            least = all[i];
    }
    return least;
}

void *heaps_open(struct hak_box *box, struct hak_thread *thread)
{
    struct hardened *h = hardened_of(box);
    struct hardened_now *now = h->now;
    (void)thread;
    hak_lock_take(&now->heaps_lock);
    struct heap *heap = now->spare_heaps;
    if (heap != NULL)
        now->spare_heaps = heap->next;
    else
        heap = hardened_metadata(h, sizeof *heap);
    if (heap != NULL && hak_lock_self() == now->first_thread) {
        now->first_thread = 0;
        heap->arena = now->arena[0]; /* heaps_init counted it there */
    } else if (heap != NULL) {
        heap->arena = least_used(h);
        heap->arena->nheaps++;
    }
    hak_lock_drop(&now->heaps_lock);
    return heap;
}

void heaps_close(struct hak_box *box, void *closed)
{
    struct hardened_now *now = hardened_of(box)->now;
    struct heap *heap = closed;
    hak_lock_take(&now->heaps_lock);
    heap->arena->nheaps--;
    heap->next = now->spare_heaps;
    now->spare_heaps = heap;
    hak_lock_drop(&now->heaps_lock);
}

void heaps_lost(struct hak_box *box, void *heap, struct hak_thread *thread)
{
    (void)thread;
    heaps_close(box, heap);
}

/* ---- fork ---- */

static void fork_arena(struct hardened *h, struct arena *arena,
                       enum hak_fork_phase phase)
{
    hak_lock_fork(&arena->lock, phase);
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct class *c = arena->class[i];
        if (c == NULL)
            continue;
        if (phase == HAK_FORK_CHILD && hak_lock_is_whole(&c->lock))
            slots_choose_anew(h, c);
        hak_lock_fork(&c->lock, phase);
    }
}

void heaps_fork(struct hardened *h, enum hak_fork_phase phase)
{
    hak_lock_fork(&h->now->heaps_lock, phase);
    for (uint32_t i = 0; i < h->narenas; i++)
        if (h->now->arena[i] != NULL)
            fork_arena(h, h->now->arena[i], phase);
}
