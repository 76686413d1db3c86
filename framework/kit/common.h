/* SPDX-License-Identifier: MIT
 * common.h - kit layer 8: pages that young heaps share.
 *
 * A heap's first slot of a class costs a page of the system, whatever its size.
 * That is nothing to a few threads, and most of the memory of a program that
 * has thousands of them with little each. So where many heaps are open, the
 * first slots of each class come from the *common heap*, which has no thread:
 *
 *     refill of a young bin -> lock, one slot of a common page -> heap->lent
 *     malloc                -> takes it from there, as from any span
 *     free                  -> a free by another thread: nobody owns the page
 *
 * A bin that has had HAK_COMMON_BYTES so gets pages of its own: each such slot
 * costs its malloc a lock and its free an exchange.
 *
 * heap->lent is a span that no granule names. It holds one slot at most, and
 * that only between a refill and the malloc that asked for it.
 *
 * Locks: hak_heaps.common_lock, for the common heap and its pages, as an owner
 * would have them. It is taken before hak_heaps.lock, and after absent.
 */
#ifndef HAK_KIT_COMMON_H
#define HAK_KIT_COMMON_H

#include "refill.h"

/* A page of the system: with more in use, one of its own costs no more. */
enum { HAK_COMMON_BYTES = 4096 };

/* The heap's lent span gets the slot p of the common page `from`. One at a
 * time: what malloc had not taken of more would count as live. */
static inline void hak_heap_lend_slot(struct hak_heap *heap,
                                      const struct hak_span *from, void *p)
{
    struct hak_span *lent = &heap->lent;
    if (lent->slot_bytes != from->slot_bytes) /* lanes of another class */
        heap->all->box->host->lane_drop(lent);
    lent->key = from->key;
    lent->inverse = from->inverse;
    lent->start = from->start;
    lent->slot_bytes = from->slot_bytes;
    hak_slot_link(p, lent->key, NULL);
    lent->local = p;
}

/* common_lock held: the common heap, or NULL. The box opens it as for a thread,
 * since its own part of a heap is needed, too. */
static inline struct hak_heap *hak_heaps_common(struct hak_heaps *all)
{
    if (all->common == NULL)
        all->common = all->box->ops->heap_open(all->box, NULL);
    return all->common;
}

/* A span with one slot of the class from a common page, or NULL. */
static inline struct hak_span *hak_heap_lend(struct hak_heap *heap,
                                             uint32_t class_number)
{
    struct hak_heaps *all = heap->all;
    void *p = NULL;
    hak_lock_take(&all->common_lock);
    struct hak_heap *common = hak_heaps_common(all);
    struct hak_span *from =
        common != NULL ? hak_heap_refill(common, class_number) : NULL;
    if (from != NULL)
        p = hak_span_pop(from);
    hak_lock_drop(&all->common_lock);
    if (p == NULL)
        return NULL;
    heap->bin[class_number].lent_bytes += from->slot_bytes;
    hak_heap_lend_slot(heap, from, p);
    return &heap->lent;
}

/* Give back what the common heap has free. Returns the bytes that went. */
static inline size_t hak_heaps_trim_common(struct hak_heaps *all)
{
    size_t bytes = 0;
    hak_lock_take(&all->common_lock);
    if (all->common != NULL) {
        hak_heap_collect(all->common);
        hak_heap_close_bins(all->common, true);
        bytes = hak_heap_look(all->common, true);
    }
    hak_lock_drop(&all->common_lock);
    return bytes;
}

/* As a thread's own slow paths do for its heap. Nobody waits for it. */
static inline void hak_heaps_age_common(struct hak_heaps *all)
{
    if (__atomic_load_n(&all->common, __ATOMIC_RELAXED) == NULL ||
        !hak_lock_try(&all->common_lock))
        return;
    hak_heap_collect(all->common);
    hak_heap_look(all->common, false);
    hak_lock_drop(&all->common_lock);
}

#endif
