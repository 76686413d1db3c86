/* SPDX-License-Identifier: MIT
 * common.h - kit layer 8: pages that young heaps share (the common heap).
 *
 * The first slot of a class in a heap costs an OS page, whatever the slot's
 * size. With thousands of threads that use little memory each, this is most of
 * the program's memory. So while many heaps are open, the first slots of each
 * class come from the common heap, which has no thread:
 *
 *     refill of a young bin -> lock, one slot of a common page -> heap->lent
 *     malloc                -> takes the slot from the span heap->lent
 *     free                  -> a remote free, since a common page has no owner
 *
 * A bin that has got common_bytes in this way gets pages of its own, since each
 * such slot costs its malloc a lock and its free an atomic exchange.
 *
 * heap->lent is a span that no granule names. It has at most one slot, between
 * a refill and the malloc that asked for it.
 *
 * Locks: hak_heaps.common_lock guards the common heap and its pages; its holder
 * acts as their owner. Lock order: absent, common_lock, hak_heaps.lock.
 */
#ifndef HAK_KIT_COMMON_H
#define HAK_KIT_COMMON_H

#include "refill.h"

/* One OS page. A heap that uses more of a class than this does not save memory
 * by common pages. */
enum { HAK_COMMON_BYTES = 4096 };

/* Put slot p of the common page `from` on the heap's lent span. Only one slot
 * at a time: more would count as live before malloc took them. */
static inline void hak_heap_lend_slot(struct hak_heap *heap,
                                      const struct hak_span *from, void *p)
{
    struct hak_span *lent = &heap->lent;
    if (lent->slot_bytes != from->slot_bytes) /* it is in other lanes */
        heap->all->box->host->lane_drop(lent);
    lent->key = from->key;
    lent->inverse = from->inverse;
    lent->start = from->start;
    lent->slot_bytes = from->slot_bytes;
    hak_slot_link(p, lent->key, NULL);
    lent->local = p;
}

/* The common heap, or NULL. ops->heap_open makes it, since it needs the box's
 * own part of a heap too. Guarded by common_lock. */
static inline struct hak_heap *hak_heaps_common(struct hak_heaps *all)
{
    if (all->common == NULL)
        all->common = all->box->ops->heap_open(all->box, NULL);
    return all->common;
}

/* The heap's lent span, with one slot of the class from a common page; or
 * NULL. */
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

/* Give back all free memory of the common heap. Returns the bytes purged. */
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

/* Age the common heap, as a thread's slow paths age its heap. It does not wait
 * for the lock. */
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
