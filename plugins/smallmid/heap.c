/* SPDX-License-Identifier: MIT
 * heap.c - a thread's lists: refill, overflow, open and close.
 *
 * A list's count changes under the pool's lock whenever slots cross between
 * the two, so that a fork, which takes all locks, copies a state in which no
 * slot is in both or in neither.
 */
#include "smallmid.h"

bool list_refill(struct list *list)
{
    struct pool *pool = list->pool;
    hak_lock_take(&pool->lock);
    uint32_t n = pool_take(pool, list->slot, pool->batch);
    hak_count(&list->count, n);
    hak_lock_drop(&pool->lock);
    return n != 0;
}

/* The first n, which have been in the list longest. */
static void give_first(struct list *list, uint32_t n)
{
    struct pool *pool = list->pool;
    hak_lock_take(&pool->lock);
    pool_give(pool, list->slot, n);
    hak_count(&list->count, -(uint64_t)n);
    memmove(list->slot, list->slot + n, list->count * sizeof(void *));
    hak_lock_drop(&pool->lock);
}

void list_overflow(struct list *list)
{
    give_first(list, list->pool->batch);
}

void *pool_take_one(struct pool *pool)
{
    void *p = NULL;
    hak_lock_take(&pool->lock);
    uint32_t n = pool_take(pool, &p, 1);
    hak_lock_drop(&pool->lock);
    return n != 0 ? p : NULL;
}

void pool_give_one(struct pool *pool, void *p)
{
    hak_lock_take(&pool->lock);
    pool_give(pool, &p, 1);
    hak_lock_drop(&pool->lock);
}

/* ---- heaps ------------------------------------------------------------- */

static struct heap *make(struct smallmid *sm)
{
    struct hak_box *box = sm->box;
    size_t bytes = sizeof(struct heap) + sm->nclasses * sizeof(struct list);
    struct heap *heap = box->host->meta(box, bytes);
    if (heap == NULL)
        return NULL;
    heap->nclasses = sm->nclasses;
    for (uint32_t c = 0; c < sm->nclasses; c++) {
        heap->list[c].capacity = sm->pool[c].capacity;
        heap->list[c].pool = &sm->pool[c];
    }
    hak_lock_take(&sm->heaps_lock);
    heap->all_next = sm->all_heaps;
    /* release: stats and walk go along the chain without the lock */
    __atomic_store_n(&sm->all_heaps, heap, __ATOMIC_RELEASE);
    hak_lock_drop(&sm->heaps_lock);
    return heap;
}

struct heap *heap_open(struct smallmid *sm)
{
    hak_lock_take(&sm->heaps_lock);
    struct heap *heap = sm->spare_heaps;
    if (heap != NULL)
        sm->spare_heaps = heap->next;
    hak_lock_drop(&sm->heaps_lock);
    return heap != NULL ? heap : make(sm);
}

void heap_flush(struct heap *heap)
{
    for (uint32_t c = 0; c < heap->nclasses; c++)
        if (heap->list[c].count != 0)
            give_first(&heap->list[c], (uint32_t)heap->list[c].count);
}

void heap_close(struct smallmid *sm, struct heap *heap)
{
    heap_flush(heap);
    hak_lock_take(&sm->heaps_lock);
    heap->next = sm->spare_heaps;
    sm->spare_heaps = heap;
    hak_lock_drop(&sm->heaps_lock);
}
