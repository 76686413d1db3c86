/* SPDX-License-Identifier: MIT
 * heap.c - a thread's lists: made, opened, flushed, closed.
 */
#include "smallmid.h"

static void init_list(struct list *list, struct hak_box *box, struct pool *pool)
{
    uint32_t slot_bytes = pool->slot_bytes;
    list->pool = pool;
    list->span.box = box;
    list->span.key = pool->key;
    /* The list has slots of several slabs, which start at multiples of
     * SLAB_BYTES. One rule for all: slots start at multiples of the largest
     * power of two that divides their size. */
    hak_span_slots(&list->span, NULL, slot_bytes & -slot_bytes);
    list->span.slot_bytes = slot_bytes;
    hak_link_init(&list->open);
    hak_link_init(&list->full);
}

static struct heap *make(struct smallmid *sm)
{
    struct hak_box *box = sm->box;
    size_t bytes = sizeof(struct heap) + sm->nclasses * sizeof(struct list);
    struct heap *heap = box->host->meta(box, bytes);
    if (heap == NULL)
        return NULL;
    heap->nclasses = sm->nclasses;
    for (uint32_t c = 0; c < sm->nclasses; c++)
        init_list(&heap->list[c], box, &sm->pool[c]);
    hak_lock_take(&sm->heaps_lock);
    heap->all_next = sm->all_heaps;
    /* release: stats and walk go along the chain without the lock */
    __atomic_store_n(&sm->all_heaps, heap, __ATOMIC_RELEASE);
    hak_lock_drop(&sm->heaps_lock);
    return heap;
}

struct heap *heap_open(struct smallmid *sm, struct hak_thread *thread)
{
    hak_lock_take(&sm->heaps_lock);
    struct heap *heap = sm->spare_heaps;
    if (heap != NULL)
        sm->spare_heaps = heap->next;
    hak_lock_drop(&sm->heaps_lock);
    if (heap == NULL)
        heap = make(sm);
    for (uint32_t c = 0; heap != NULL && c < heap->nclasses; c++)
        __atomic_store_n(&heap->list[c].span.owner, thread, __ATOMIC_RELAXED);
    return heap;
}

void heap_flush(struct heap *heap)
{
    for (uint32_t c = 0; c < heap->nclasses; c++)
        list_flush(&heap->list[c]);
}

void heap_close(struct smallmid *sm, struct heap *heap)
{
    for (uint32_t c = 0; c < heap->nclasses; c++) {
        struct list *list = &heap->list[c];
        sm->box->host->lane_drop(&list->span);
        __atomic_store_n(&list->span.owner, NULL, __ATOMIC_RELAXED);
        list_leave(list);
    }
    hak_lock_take(&sm->heaps_lock);
    heap->next = sm->spare_heaps;
    sm->spare_heaps = heap;
    hak_lock_drop(&sm->heaps_lock);
}
