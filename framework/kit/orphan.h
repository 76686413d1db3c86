/* SPDX-License-Identifier: MIT
 * orphan.h - kit layer 6: how heaps open, park and close, and how the heaps of
 * ended threads are adopted.
 *
 * hak_heap_close makes a heap an orphan. A thread that frees into one of its
 * pages, or that runs out of pages, adopts an orphan: all its pages change
 * owner. A page with PENDING set stays with the orphan until the next adoption.
 * Heaps and page structs are type-stable: they are reused and never given back.
 */
#ifndef HAK_KIT_ORPHAN_H
#define HAK_KIT_ORPHAN_H

#include "heap.h"

/* ---- orphans ---- */

static inline struct hak_heap *hak_heaps_pop(struct hak_heaps *all,
                                             struct hak_heap **list)
{
    if (__atomic_load_n(list, __ATOMIC_RELAXED) == NULL)
        return NULL;
    hak_lock_take(&all->lock);
    struct hak_heap *heap = *list;
    if (heap != NULL)
        __atomic_store_n(list, heap->next, __ATOMIC_RELAXED);
    hak_lock_drop(&all->lock);
    return heap;
}

static inline void hak_heaps_push(struct hak_heaps *all, struct hak_heap **list,
                                  struct hak_heap *heap)
{
    hak_lock_take(&all->lock);
    heap->next = *list;
    __atomic_store_n(list, heap, __ATOMIC_RELAXED);
    hak_lock_drop(&all->lock);
}

/*
 * Move one page of an orphan to heap `to`. Returns false: PENDING is set, so
 * the page stays. While NOTIFY and PENDING are clear no thread reads
 * page->heap, so it may change. A remote free that comes meanwhile is found
 * when hak_heap_collect_page sets NOTIFY again.
 */
static inline bool hak_heap_move_page(struct hak_heap *to,
                                      struct hak_page *page)
{
    if (!hak_page_hush(page))
        return false;
    struct hak_bin *bin = &to->bin[page->class_number];
    if (hak_link_in_list(&page->link))
        hak_link_remove(&page->link);
    __atomic_store_n(&page->heap, to, __ATOMIC_RELAXED);
    hak_heap_own(to, page);
    hak_count(&to->adopted, 1);
    bool has_free = hak_page_out(page) < page->capacity;
    page->state = has_free ? HAK_PAGE_AVAIL : HAK_PAGE_FULL;
    if (has_free) {
        hak_heap_avail(to, page);
    } else {
        page->span.trigger = page->span.nfree + 1;
        hak_link_after(&bin->full, &page->link);
    }
    hak_heap_collect_page(to, page); /* sets NOTIFY */
    return true;
}

static inline void hak_heap_move_list(struct hak_heap *to,
                                      struct hak_link *head, bool *left)
{
    struct hak_link *at = head->next;
    while (at != head) {
        struct hak_link *next = at->next;
        if (!hak_heap_move_page(to, hak_item(at, struct hak_page, link)))
            *left = true;
        at = next;
    }
}

/* Take over an orphan that this thread has taken off the list. */
static inline void hak_heap_adopt(struct hak_heap *heap,
                                  struct hak_heap *orphan)
{
    struct hak_heaps *all = heap->all;
    bool left = false;
    hak_heap_collect(orphan);
    for (uint32_t c = 0; c < all->nclasses; c++) {
        hak_heap_move_list(heap, &orphan->bin[c].avail, &left);
        hak_heap_move_list(heap, &orphan->bin[c].full, &left);
    }
    while (orphan->spare != NULL) {
        struct hak_page *page = orphan->spare;
        orphan->spare = page->pending_next;
        page->pending_next = heap->spare;
        heap->spare = page;
    }
    if (!left) /* no page with PENDING leads to this heap any more */
        __atomic_store_n(&orphan->orphan, 0, __ATOMIC_RELAXED);
    hak_heaps_push(all, left ? &all->orphans : &all->spares, orphan);
}

static inline bool hak_heap_adopt_any(struct hak_heap *heap)
{
    struct hak_heap *orphan = hak_heaps_pop(heap->all, &heap->all->orphans);
    if (orphan != NULL)
        hak_heap_adopt(heap, orphan);
    return orphan != NULL;
}

static inline struct hak_heap *hak_heaps_pop_all(struct hak_heaps *all)
{
    hak_lock_take(&all->lock);
    struct hak_heap *orphans = all->orphans;
    __atomic_store_n(&all->orphans, NULL, __ATOMIC_RELAXED);
    hak_lock_drop(&all->lock);
    return orphans;
}

/* Adopt every orphan that there is now. An orphan that has to go back to the
 * list, for a page with PENDING, is not adopted again. */
static inline void hak_heap_adopt_all(struct hak_heap *heap)
{
    struct hak_heap *orphan = hak_heaps_pop_all(heap->all);
    while (orphan != NULL) {
        struct hak_heap *next = orphan->next;
        hak_heap_adopt(heap, orphan);
        orphan = next;
    }
}

/*
 * Put the page on its heap's pending list. The seq_cst push and the seq_cst
 * load of `orphan` pair with hak_heap_close, which stores `orphan` and then
 * loads `pending`: either hak_heap_close sees the page, or this thread sees an
 * orphan and adopts it.
 */
static inline void hak_heap_notify(struct hak_page *page)
{
    struct hak_heap *heap = __atomic_load_n(&page->heap, __ATOMIC_RELAXED);
    struct hak_heaps *all = heap->all;
    page->pending_next = __atomic_load_n(&heap->pending, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&heap->pending, &page->pending_next,
                                        page, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED))
        ;
    if (likely(__atomic_load_n(&heap->orphan, __ATOMIC_SEQ_CST) == 0))
        return;
    struct hak_heap *mine = all->box->host->heap(all->box, false);
    if (mine != NULL)
        hak_heap_adopt_any(mine);
}

/* ---- open and close ---- */

/* Make the figures of the classes, unless there are some. False: no memory. */
static inline bool hak_heaps_make_figures(struct hak_heaps *all)
{
    struct hak_class_figures *none = NULL;
    if (__atomic_load_n(&all->figures, __ATOMIC_ACQUIRE) != NULL)
        return true;
    struct hak_class_figures *figures =
        all->box->host->meta(all->box, all->nclasses * sizeof *figures);
    if (figures == NULL)
        return false;
    __atomic_compare_exchange_n(&all->figures, &none, figures, false,
                                __ATOMIC_RELEASE, __ATOMIC_RELAXED);
    return true;
}

static inline struct hak_heap *hak_heap_make(struct hak_heaps *all)
{
    struct hak_box *box = all->box;
    struct hak_heap *heap;
    if (!hak_heaps_make_figures(all))
        return NULL;
    size_t bytes =
        hak_round_up(sizeof *heap + all->nclasses * sizeof heap->bin[0],
                     _Alignof(struct hak_heap));
    heap = box->host->meta(box, bytes + all->own_bytes);
    if (heap == NULL)
        return NULL;
    heap->all = all;
    if (all->own_bytes != 0)
        heap->own = (char *)heap + bytes;
    if (all->ops->own_init != NULL)
        all->ops->own_init(heap->own);
    for (uint32_t c = 0; c < all->nclasses; c++) {
        hak_link_init(&heap->bin[c].avail);
        hak_link_init(&heap->bin[c].full);
    }
    heap->all_next = __atomic_load_n(&all->all_heaps, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&all->all_heaps, &heap->all_next, heap,
                                        true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
    return heap;
}

static inline struct hak_heap *hak_heap_open(struct hak_heaps *all,
                                             struct hak_thread *thread)
{
    struct hak_heap *heap = hak_heaps_pop(all, &all->spares);
    if (heap == NULL)
        heap = hak_heap_make(all);
    if (heap == NULL)
        return NULL;
    heap->thread = thread;
    heap->lent.box = all->box;
    heap->lent.owner = thread;
    heap->lent.trigger = HAK_TRIGGER_NEVER;
    if (thread != NULL)
        hak_count_shared(&all->nopen, 1);
    return heap;
}

/* Make the current page of a bin an available one. */
static inline void hak_bin_close(struct hak_heap *heap, struct hak_bin *bin)
{
    struct hak_page *page = bin->current;
    if (page == NULL)
        return;
    heap->all->box->host->lane_drop(&page->span);
    bin->current = NULL;
    page->state = HAK_PAGE_AVAIL;
    hak_heap_avail(heap, page);
    /* If a notice is in flight, hak_heap_collect does this later. */
    if (hak_page_hush(page))
        hak_heap_collect_page(heap, page); /* sets NOTIFY, retires if empty */
}

static inline bool hak_bin_is_idle(const struct hak_bin *bin)
{
    return bin->current != NULL && hak_page_out(bin->current) == 0;
}

/* Make current pages available ones, so that they are in no lane: those of all
 * bins, or only the empty ones. */
static inline void hak_heap_close_bins(struct hak_heap *heap, bool all)
{
    for (uint32_t c = 0; c < heap->all->nclasses; c++)
        if (all || hak_bin_is_idle(&heap->bin[c]))
            hak_bin_close(heap, &heap->bin[c]);
}

static inline void hak_bin_disown(struct hak_link *head)
{
    for (struct hak_link *at = head->next; at != head; at = at->next)
        hak_heap_disown(hak_item(at, struct hak_page, link));
}

static inline bool hak_heap_is_empty(const struct hak_heap *heap)
{
    for (uint32_t c = 0; c < heap->all->nclasses; c++)
        if (!hak_link_empty(&heap->bin[c].avail) ||
            !hak_link_empty(&heap->bin[c].full))
            return false;
    return true;
}

/* ops->heap_close. */
static inline void hak_heap_close(struct hak_box *box, void *heap_of_thread)
{
    struct hak_heap *heap = heap_of_thread;
    struct hak_heaps *all = heap->all;
    (void)box;
    if (all->ops->own_close != NULL)
        all->ops->own_close(heap);
    if (heap->thread != NULL)
        hak_count_shared(&all->nopen, -1);
    all->box->host->lane_drop(&heap->lent);
    heap->lent.owner = NULL;
    heap->thread = NULL; /* from here on empty pages are not kept */
    hak_heap_collect(heap);
    hak_heap_retire_kept(heap, true);
    hak_heap_close_bins(heap, true);
    for (uint32_t c = 0; c < all->nclasses; c++) {
        hak_bin_disown(&heap->bin[c].avail);
        hak_bin_disown(&heap->bin[c].full);
    }
    __atomic_store_n(&heap->orphan, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&heap->pending, __ATOMIC_SEQ_CST) != NULL)
        hak_heap_collect(heap);
    if (hak_heap_is_empty(heap)) {
        __atomic_store_n(&heap->orphan, 0, __ATOMIC_RELAXED);
        hak_heaps_push(all, &all->spares, heap);
    } else {
        hak_heaps_push(all, &all->orphans, heap);
    }
}

/* Bytes of the heap's pages that have no live slot: kept pages and empty
 * current ones. What the box keeps itself is not counted. */
static inline uint64_t hak_heap_idle_bytes(const struct hak_heap *heap)
{
    uint64_t bytes = hak_counted(&heap->kept_bytes);
    for (uint32_t c = 0; c < heap->all->nclasses; c++)
        if (hak_bin_is_idle(&heap->bin[c]))
            bytes += hak_page_used_bytes(heap->bin[c].current);
    return bytes;
}

/*
 * ops->heap_park. If the heap's idle memory is at most its share of
 * PARKED_BYTES, nothing is given back, and the next thread starts without
 * having to make pages. This is the case while there are few threads. Else all
 * idle memory is given back, and the heap counts as young again (common.h).
 */
static inline void hak_heap_park(struct hak_box *box, void *heap_of_thread)
{
    enum { PARKED_BYTES = 8 << 20 };
    struct hak_heap *heap = heap_of_thread;
    struct hak_heaps *all = heap->all;
    (void)box;
    hak_heap_collect(heap);
    if (hak_heap_idle_bytes(heap) <= PARKED_BYTES / hak_counted(&all->nopen))
        return;
    heap->sheds = true;
    for (uint32_t c = 0; c < all->nclasses; c++)
        heap->bin[c].lent_bytes = 0;
    hak_heap_close_bins(heap, false);
    hak_heap_retire_kept(heap, true);
    heap->sheds = false;
}

#endif
