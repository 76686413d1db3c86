/* SPDX-License-Identifier: MIT
 * refill.h - kit layer 7: free slots for a lane, and calls without lanes.
 *
 * A refill takes the first of these that there is:
 *
 *     from the current page   its remote list, a sleeping group, slots that it
 *                             carves
 *     a new current page      an available page, a page of an orphan, a kept
 *                             page, a new page from the box
 *
 * A heap that has no page of the class may get a slot of a common page instead
 * (common.h).
 */
#ifndef HAK_KIT_REFILL_H
#define HAK_KIT_REFILL_H

#include "orphan.h"

/* ---- refill ---- */

/*
 * How many slots to carve next; 0: all are carved. The slots end at the end of
 * an OS page, as far as whole slots can. So a new heap touches one OS page for
 * each class, and not two.
 */
static inline uint32_t hak_heap_ncarve(const struct hak_heap *heap,
                                       const struct hak_page *page)
{
    size_t slot = page->span.slot_bytes;
    size_t os_page = heap->all->box->host->os_page_bytes;
    uintptr_t from = (uintptr_t)page->start + page->carved * slot;
    uintptr_t end = hak_round_down(from + heap->all->carve_bytes, os_page);
    uint32_t n = end > from + slot ? (uint32_t)((end - from) / slot) : 1;
    return (uint32_t)hak_min(n, page->capacity - page->carved);
}

/* Put free slots on span.local of the current page. Returns false: the page is
 * full. */
static inline bool hak_heap_restock(struct hak_heap *heap,
                                    struct hak_page *page)
{
    if (page->span.local != NULL)
        return true;
    uint64_t word = __atomic_load_n(&page->remote, __ATOMIC_RELAXED);
    if (hak_remote_length(word) != 0) {
        hak_page_return(page,
                        hak_page_take_remote(page, HAK_REMOTE_PENDING, 0));
        page->span.trigger = page->span.nfree + HAK_HEAP_LOOK_FREES;
        if (likely(page->span.local != NULL))
            return true;
    }
    if (hak_page_wake(page))
        return true;
    uint32_t n = hak_heap_ncarve(heap, page);
    if (n != 0)
        hak_page_carve(page, n);
    return n != 0;
}

/* A page of the class that may have free slots and is in no list; NULL: no
 * memory. */
static inline struct hak_page *hak_heap_next_page(struct hak_heap *heap,
                                                  uint32_t class_number)
{
    struct hak_heaps *all = heap->all;
    struct hak_bin *bin = &heap->bin[class_number];
    if (hak_link_empty(&bin->avail))
        hak_heap_adopt_any(heap); /* costs a load if there is no orphan */
    if (!hak_link_empty(&bin->avail)) {
        struct hak_page *page =
            hak_item(bin->avail.next, struct hak_page, link);
        hak_link_remove(&page->link);
        return page;
    }
    struct hak_page *page = hak_heap_take_kept(heap, bin);
    if (page != NULL)
        return page;
    page = all->ops->page_get(heap, class_number);
    if (page != NULL)
        hak_count_peak(&all->peak_bytes, hak_heap_count_page(all, page, true));
    return page;
}

/* Are so many heaps open that their memory matters more than the time that a
 * new thread needs to start? */
static inline bool hak_heaps_are_many(const struct hak_heaps *all)
{
    enum { MANY_HEAPS = 16 };
    return hak_counted(&all->nopen) > MANY_HEAPS;
}

/* Is the heap to get a slot of a common page? So it is if it has no page of the
 * class, has not yet got common_bytes of it, and many heaps are open. */
static inline bool hak_heap_is_young(const struct hak_heap *heap,
                                     const struct hak_bin *bin)
{
    const struct hak_heaps *all = heap->all;
    return bin->lent_bytes < all->common_bytes && heap->thread != NULL &&
           hak_link_empty(&bin->avail) && hak_link_empty(&bin->full) &&
           __atomic_load_n(&bin->kept, __ATOMIC_RELAXED) == NULL &&
           hak_heaps_are_many(all);
}

/* ops->refill, after the box has found the class. */
static inline struct hak_span *hak_heap_refill(struct hak_heap *heap,
                                               uint32_t class_number)
{
    struct hak_bin *bin = &heap->bin[class_number];
    hak_heap_collect(heap);
    hak_heap_age(heap);
    if (unlikely(bin->current == NULL) && hak_heap_is_young(heap, bin)) {
        struct hak_span *lent = hak_heap_lend(heap, class_number);
        if (lent != NULL)
            return lent;
    }
    for (;;) {
        struct hak_page *page = bin->current;
        if (page != NULL) {
            if (hak_heap_restock(heap, page))
                return &page->span;
            if (!hak_heap_set_full(heap, page))
                continue;
            bin->current = NULL;
        }
        page = hak_heap_next_page(heap, class_number);
        if (page == NULL)
            return NULL;
        hak_heap_set_current(heap, page);
    }
}

/* ---- calls without lanes ---- */

static inline void *hak_heap_alloc(struct hak_heap *heap, uint32_t class_number)
{
    struct hak_page *page = heap->bin[class_number].current;
    struct hak_span *span = page == NULL ? NULL : &page->span;
    if (span == NULL || span->local == NULL)
        span = hak_heap_refill(heap, class_number);
    if (span == NULL)
        return NULL;
    return hak_span_pop(span);
}

static inline void hak_heap_free_local(struct hak_page *page, void *p)
{
    hak_page_expect_live(page, p);
    if (unlikely(hak_page_out(page) == 0))
        hak_page_miscounted(page);
    if (hak_span_push(&page->span, p))
        hak_heap_triggered(&page->span);
}

static inline void hak_heap_free_remote(struct hak_page *page, void *p)
{
    hak_page_expect_live(page, p);
    uint64_t old = hak_page_push_remote(page, p);
    /* With PENDING set too, the page is on the pending list already, or about
     * to be. It must not be put there twice. */
    if ((old & (HAK_REMOTE_NOTIFY | HAK_REMOTE_PENDING)) == HAK_REMOTE_NOTIFY)
        hak_heap_notify(page);
}

/* ops->free. heap: the calling thread's, or NULL. */
static inline void hak_heap_free(struct hak_heap *heap, struct hak_page *page,
                                 void *p)
{
    if (heap != NULL && __atomic_load_n(&page->heap, __ATOMIC_RELAXED) == heap)
        hak_heap_free_local(page, p);
    else
        hak_heap_free_remote(page, p);
}

/* ops->remote_free. A span without an owner may belong to the calling thread's
 * heap. */
static inline void hak_heap_remote_free(struct hak_span *span, void *p)
{
    struct hak_page *page = hak_container_of(span, struct hak_page, span);
    struct hak_box *box = span->box;
    struct hak_heap *mine = NULL;
    if (__atomic_load_n(&span->owner, __ATOMIC_RELAXED) == NULL)
        mine = box->host->heap(box, false);
    hak_heap_free(mine, page, p);
}

#endif
