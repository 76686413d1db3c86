/* SPDX-License-Identifier: MIT
 * lost.h - kit layer 10: pages of a thread that a fork left behind.
 *
 * The child of a fork has the memory of the parent's other threads as it was
 * when they were halted, between any two of their stores. So the lists of their
 * heaps are not to be trusted. But each page says enough of itself: a slot is
 * free when it is on one of the page's own lists or sleeps, and each link there
 * has the mark of the page. A page of which all that is whole is taken over by
 * another heap. What is not whole stays as it is, for good.
 *
 * A slot that was just being taken off a list, or put on one, counts as live:
 * it is lost to the child.
 */
#ifndef HAK_KIT_LOST_H
#define HAK_KIT_LOST_H

#include "absent.h"
#include "visit.h"

/* The slots of a list of the page, each marked and on no list before; their
 * bits in is_free are set. False: it is no such list. */
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

/* The slots of groups that sleep, likewise. */
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

/* All of it, by the core and the box? Else its thread was about to give it
 * back. */
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

/* Is the page set up, registered, and is each of its lists whole? Then *nlocal
 * is the length of its own. */
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

/* The page is whole, nobody has a notice of it in hand: `to` has it now. */
static inline void hak_lost_move(struct hak_heap *to, struct hak_page *page,
                                 uint32_t nlocal)
{
    struct hak_span *span = &page->span;
    uint32_t out = page->carved - nlocal - hak_page_nasleep(page);
    span->nfree = span->nalloc - out;
    page->link =
        (struct hak_link){NULL, NULL}; /* its neighbours may be halves */
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
 * ops->heap_lost. The pages that are whole go to a heap that is opened for them
 * without a thread, and closed then as an ended thread's. Cost: a look at each
 * page of the box, a load for each free slot of the heap's.
 */
static inline void hak_heap_lost(struct hak_box *box, void *heap,
                                 struct hak_thread *thread)
{
    struct hak_heap *lost = heap, *to;
    uint32_t nlocal;
    if (lost->thread != thread) /* closed in the parent, or somebody's again */
        return;
    hak_count_shared(&lost->all->nopen, -1);
    (void)hak_lock_try(&lost->shelf); /* nobody looks at its lists any more */
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
