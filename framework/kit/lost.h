/* SPDX-License-Identifier: MIT
 * lost.h - kit layer 10: in the child of a fork, pages of threads that only the
 * parent has.
 *
 * The fork may have halted the parent's other threads between any two of their
 * stores. So the child cannot trust the lists of their heaps. But a page can be
 * checked by itself: its free slots are on its own lists or asleep, and each
 * slot on a list must have the page's mark. A page that passes all checks is
 * whole, and another heap takes it over. Other pages stay as they are for good.
 *
 * A slot that was just being taken off a list, or put on one, counts as live,
 * so it is lost to the child.
 */
#ifndef HAK_KIT_LOST_H
#define HAK_KIT_LOST_H

#include "absent.h"
#include "visit.h"

/* Check a list of the page and set the bits of its slots in is_free; *n gets
 * its length. Returns false: a slot has no mark, or is not of the page, or its
 * bit is set already. */
static inline bool hak_lost_list(const struct hak_page *page, const void *list,
                                 uint64_t *is_free, uint32_t *n)
{
    size_t bytes = (size_t)page->carved * page->span.slot_bytes;
    for (*n = 0; list != NULL; ++*n) {
        size_t at = (size_t)((const char *)list - page->start);
        if (at >= bytes || !hak_span_has_slot_at(&page->span, list) ||
            !hak_slot_is_marked(list, page->span.key))
            return false;
        size_t i = at / page->span.slot_bytes;
        if (is_free[i >> 6] >> (i & 63) & 1)
            return false;
        is_free[i >> 6] |= 1ull << (i & 63);
        list = hak_slot_next(list, page->span.key);
    }
    return true;
}

/* Set the bits of the slots of sleeping groups. Returns false: the map has a
 * group that is not carved. */
static inline bool hak_lost_asleep(const struct hak_page *page, uint64_t map,
                                   uint64_t *is_free)
{
    for (; map != 0; map &= map - 1) {
        struct hak_group group =
            hak_page_group(page, (uint32_t)__builtin_ctzll(map));
        if (group.end > page->carved)
            return false;
        hak_bits_set(is_free, group.first, group.end - group.first);
    }
    return true;
}

/* Do the core and the box know the page at all its granules? If not, its thread
 * was taking it or giving it back. */
static inline bool hak_lost_is_registered(const struct hak_page *page)
{
    struct hak_box *box = page->span.box;
    size_t bytes = (size_t)page->capacity * page->span.slot_bytes;
    for (size_t at = 0; at < bytes; at += HAK_GRANULE_BYTES)
        if (box->host->span_of(page->start + at) != &page->span ||
            !box->ops->owns(box, page->start + at))
            return false;
    return true;
}

/* Is the page set up and registered, and is each of its lists whole? *nlocal
 * gets the length of span.local. */
static inline bool hak_lost_is_whole(const struct hak_page *page,
                                     uint32_t *nlocal)
{
    uint64_t is_free[HAK_PAGE_SLOTS_MAX / 64] = {0};
    uint64_t remote = __atomic_load_n(&page->remote, __ATOMIC_ACQUIRE);
    uint64_t asleep = hak_page_remote_asleep(page);
    uint32_t nremote;
    return page->state != HAK_PAGE_FREE && page->start != NULL &&
           page->span.slot_bytes != 0 && page->carved <= page->capacity &&
           page->capacity <= HAK_PAGE_SLOTS_MAX &&
           hak_lost_is_registered(page) && (page->asleep & asleep) == 0 &&
           hak_lost_asleep(page, page->asleep | asleep, is_free) &&
           hak_lost_list(page, page->span.local, is_free, nlocal) &&
           hak_lost_list(page, hak_remote_head(remote), is_free, &nremote) &&
           nremote + hak_page_nslots(page, asleep) == hak_remote_length(remote);
}

/* Move a whole page, for which no notice is in flight, to heap `to`. */
static inline void hak_lost_move(struct hak_heap *to, struct hak_page *page,
                                 uint32_t nlocal)
{
    struct hak_span *span = &page->span;
    uint32_t out = page->carved - nlocal - hak_page_nasleep(page);
    span->nfree = span->nalloc - out;
    page->link =
        (struct hak_link){NULL, NULL}; /* its old list cannot be trusted */
    __atomic_store_n(&page->heap, to, __ATOMIC_RELAXED);
    hak_heap_own(to, page);
    hak_count(&to->adopted, 1);
    if (out < page->capacity) {
        hak_heap_avail(to, page);
    } else {
        page->state = HAK_PAGE_FULL;
        span->trigger = span->nfree + 1;
        hak_link_after(&to->bin[page->class_number].full, &page->link);
    }
    __atomic_or_fetch(&page->remote, HAK_REMOTE_NOTIFY, __ATOMIC_RELEASE);
}

/*
 * ops->heap_lost. The whole pages move to a heap that is opened without a
 * thread and then closed, so that it becomes an orphan. Cost: a look at each
 * page of the box, and a load for each free slot of the lost heap.
 */
static inline void hak_heap_lost(struct hak_box *box, void *heap,
                                 struct hak_thread *thread)
{
    struct hak_heap *lost = heap, *to;
    uint32_t nlocal;
    if (lost->thread != thread) /* it was closed, and may have a new owner */
        return;
    hak_count_shared(&lost->all->nopen, -1);
    (void)hak_lock_try(&lost->shelf); /* for ever: its kept list is not whole */
    if ((to = box->ops->heap_open(box, NULL)) == NULL)
        return;
    struct hak_page *page =
        __atomic_load_n(&to->all->all_pages, __ATOMIC_ACQUIRE);
    for (; page != NULL; page = page->all_next)
        if (__atomic_load_n(&page->heap, __ATOMIC_RELAXED) == lost &&
            hak_lost_is_whole(page, &nlocal) && hak_page_hush(page))
            hak_lost_move(to, page, nlocal);
    box->ops->heap_close(box, to);
}

#endif
