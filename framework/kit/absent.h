/* SPDX-License-Identifier: MIT
 * absent.h - kit layer 9: heaps whose threads take no slow path for long
 * (absent owners).
 *
 * A thread that sleeps for hours does not collect the remote frees of its
 * pages. Any other thread may purge the memory of such slots (idle.h), without
 * the owner's help:
 *
 *     1. It takes the page's remote list. From here on it holds these slots as
 *        if they had not been freed yet.
 *     2. It purges the memory of the groups of which it holds every slot.
 *     3. It gives all slots back in one exchange, as a remote free does: those
 *        of purged groups through remote_asleep, the others linked.
 *
 * The owner sees step 3 only, and finds the groups asleep. The pages that the
 * owner's heap keeps are guarded by a lock, so another thread can retire them.
 * Slots on the owner's local lists and its current pages stay.
 *
 * Locks: hak_heaps.absent is held by the thread that does this. So only one
 * thread does it at a time, and none while a fork copies the process. Lock
 * order: absent, common_lock, hak_heaps.lock.
 */
#ifndef HAK_KIT_ABSENT_H
#define HAK_KIT_ABSENT_H

#include "common.h"

enum {
    HAK_ABSENT_PAGES = 2048, /* most pages in one look, about 0.1 ms */
    HAK_ABSENT_ORPHANS = 64, /* most orphans in one look */
    HAK_ABSENT_DELAYS = 2,   /* a thread is absent if it has taken no slow path
                                for this many purge delays */
};

/* Step 1: take the remote list. Returns false: there is none, or the owner is
 * taking it (HELD). */
static inline bool hak_page_claim_remote(struct hak_page *page,
                                         struct hak_list *list)
{
    uint64_t asleep = 0;
    uint64_t old = __atomic_load_n(&page->remote, __ATOMIC_ACQUIRE);
    do {
        if ((old & HAK_REMOTE_HELD) || hak_remote_head(old) == NULL)
            return false;
        asleep = old & HAK_REMOTE_ASLEEP ? page->remote_asleep : 0;
    } while (!__atomic_compare_exchange_n(
        &page->remote, &old, old & (HAK_REMOTE_NOTIFY | HAK_REMOTE_PENDING),
        true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    *list =
        (struct hak_list){hak_remote_head(old), hak_remote_length(old), asleep};
    return true;
}

/* Step 3: give the list back. last: the last slot of list.head, or NULL.
 * Returns the former remote word. */
static inline uint64_t hak_page_give_remote(struct hak_page *page,
                                            struct hak_list list, char *last)
{
    uint64_t old = __atomic_load_n(&page->remote, __ATOMIC_RELAXED), word;
    __atomic_store_n(&page->remote_asleep, list.asleep, __ATOMIC_RELAXED);
    do {
        const void *head = hak_remote_head(old);
        if (last != NULL) {
            hak_slot_link(last, page->span.key, head);
            head = list.head;
        }
        word = (old & ~(HAK_REMOTE_ONE - 1)) + list.count * HAK_REMOTE_ONE;
        word |= (uint64_t)(uintptr_t)head | hak_remote_told(old);
        word |= list.asleep != 0 ? HAK_REMOTE_ASLEEP : 0;
    } while (!__atomic_compare_exchange_n(&page->remote, &old, word, true,
                                          __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return old;
}

/*
 * Steps 1 to 3: put remote-freed slots of the page to sleep. Any thread may
 * call it. Guarded by hak_heaps.absent. Returns the bytes purged, and adds the
 * calls of the host to *ncalls.
 */
static inline size_t hak_page_sleep_remote(struct hak_page *page,
                                           uint32_t *ncalls)
{
    struct hak_list list;
    char *last;
    if (!hak_page_claim_remote(page, &list))
        return 0;
    uint64_t none = 0;
    uint64_t map = hak_page_free_groups(page, list.head, &none);
    list.head = hak_page_unlist(page, list.head, map, &last);
    size_t bytes = hak_page_purge(page, map, list.asleep | none, ncalls);
    list.asleep |= map;
    uint64_t old = hak_page_give_remote(page, list, last);
    if ((old & (HAK_REMOTE_NOTIFY | HAK_REMOTE_PENDING)) == HAK_REMOTE_NOTIFY)
        hak_heap_notify(page);
    return bytes;
}

/* Has the heap's thread taken no slow path for HAK_ABSENT_DELAYS purge delays?
 */
static inline bool hak_heap_is_absent(const struct hak_heap *heap,
                                      uint64_t now_ms, uint64_t delay_ms)
{
    uint64_t seen = __atomic_load_n(&heap->aged_ms, __ATOMIC_RELAXED);
    return now_ms - seen >= HAK_ABSENT_DELAYS * delay_ms;
}

/* Have slots come back since the last look? The owner clears seen_remote when
 * it takes the list. */
static inline bool hak_page_is_news(struct hak_page *page)
{
    uint64_t word = __atomic_load_n(&page->remote, __ATOMIC_RELAXED);
    uint32_t now = hak_remote_length(word);
    uint32_t seen =
        __atomic_exchange_n(&page->seen_remote, now, __ATOMIC_RELAXED);
    return seen != now && hak_remote_head(word) != NULL;
}

/* Put remote-freed slots of absent threads' pages to sleep, from where the last
 * look ended. Guarded by hak_heaps.absent. */
static inline void hak_heaps_look_absent(struct hak_heaps *all, uint64_t now_ms,
                                         uint64_t delay_ms)
{
    uint32_t ncalls = 0;
    struct hak_page *page = all->absent_at;
    for (int i = 0; i < HAK_ABSENT_PAGES && ncalls < HAK_HEAP_PURGES; i++) {
        if (page == NULL)
            page = __atomic_load_n(&all->all_pages, __ATOMIC_ACQUIRE);
        const struct hak_heap *heap =
            __atomic_load_n(&page->heap, __ATOMIC_RELAXED);
        if (heap != NULL && hak_heap_is_absent(heap, now_ms, delay_ms) &&
            hak_page_is_news(page))
            hak_page_sleep_remote(page, &ncalls);
        page = page->all_next;
        if (page == NULL)
            break; /* the next look starts with the first page */
    }
    all->absent_at = page;
}

/* Retire the pages that heaps of absent threads keep. Returns false: no thread
 * is absent. Guarded by hak_heaps.absent. */
static inline bool hak_heaps_shed_absent(struct hak_heap *mine, uint64_t now_ms,
                                         uint64_t delay_ms)
{
    bool any = false;
    struct hak_heap *heap =
        __atomic_load_n(&mine->all->all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next)
        if (heap != mine && hak_heap_is_absent(heap, now_ms, delay_ms)) {
            hak_heap_shed(heap, mine);
            any = true;
        }
    return any;
}

/* Put heaps back into the list of orphans. */
static inline void hak_heaps_push_all(struct hak_heaps *all,
                                      struct hak_heap *heap)
{
    while (heap != NULL) {
        struct hak_heap *next = heap->next;
        hak_heaps_push(all, &all->orphans, heap);
        heap = next;
    }
}

/*
 * Purge free memory in idle pages of orphans. A thread that has taken an orphan
 * off the list may do with it what its thread could do. Guarded by
 * hak_heaps.absent.
 */
static inline void hak_heaps_look_orphans(struct hak_heaps *all,
                                          uint64_t now_ms, uint64_t delay_ms)
{
    int looks = 0;
    struct hak_heap *orphans = hak_heaps_pop_all(all);
    for (struct hak_heap *heap = orphans;
         heap != NULL && looks < HAK_ABSENT_ORPHANS; heap = heap->next) {
        if (now_ms - heap->aged_ms < delay_ms)
            continue;
        __atomic_store_n(&heap->aged_ms, now_ms, __ATOMIC_RELAXED);
        hak_heap_collect(heap);
        hak_heap_look(heap, false);
        looks++;
    }
    hak_heaps_push_all(all, orphans);
}

/*
 * ops->shrink: retire kept pages of any heaps, want_bytes or more if there are
 * as many. Each call starts with the heap after the last one. It does not wait
 * for the lock. Returns the bytes.
 */
static inline size_t hak_heaps_shrink(struct hak_heaps *all, size_t want_bytes)
{
    struct hak_heap *mine = all->box->host->heap(all->box, false);
    size_t bytes = 0;
    if (mine == NULL || !hak_lock_try(&all->absent))
        return 0;
    struct hak_heap *first = all->shed_at, *heap = first;
    do {
        if (heap == NULL)
            heap = __atomic_load_n(&all->all_heaps, __ATOMIC_ACQUIRE);
        bytes += hak_heap_shed(heap, mine);
        heap = heap->all_next;
    } while (heap != first && bytes < want_bytes);
    all->shed_at = heap;
    hak_lock_drop(&all->absent);
    return bytes;
}

/* Look at absent heaps and orphans, once in a purge delay. The first thread
 * that comes does it; mine is its heap. */
static inline void hak_heaps_age_absent(struct hak_heap *mine, uint64_t now_ms,
                                        uint64_t delay_ms)
{
    struct hak_heaps *all = mine->all;
    uint64_t due = __atomic_load_n(&all->absent_due_ms, __ATOMIC_RELAXED);
    if (!hak_has_come(due, now_ms, delay_ms) || !hak_lock_try(&all->absent))
        return;
    __atomic_store_n(&all->absent_due_ms, now_ms + delay_ms, __ATOMIC_RELAXED);
    if (__atomic_load_n(&all->all_pages, __ATOMIC_RELAXED) != NULL &&
        hak_heaps_shed_absent(mine, now_ms, delay_ms))
        hak_heaps_look_absent(all, now_ms, delay_ms);
    if (__atomic_load_n(&all->orphans, __ATOMIC_RELAXED) != NULL)
        hak_heaps_look_orphans(all, now_ms, delay_ms);
    hak_lock_drop(&all->absent);
}

/* The calling thread's heap, for a trim. It is opened if the box has any pages,
 * since the thread may have to take pages over. Else NULL. */
static inline struct hak_heap *hak_heaps_trimmer(const struct hak_heaps *all)
{
    return __atomic_load_n(&all->all_pages, __ATOMIC_RELAXED) != NULL
               ? all->box->host->heap(all->box, true)
               : NULL;
}

/* ops->age. The calling thread gets a heap if the box has pages. */
static inline void hak_heaps_age(struct hak_heaps *all)
{
    struct hak_heap *mine = hak_heaps_trimmer(all);
    if (mine == NULL)
        return;
    hak_heap_collect(mine);
    hak_heap_age_now(mine);
}

/* Trim everything but the heap `mine` itself: common pages, kept pages of all
 * heaps, remote-freed slots of all pages. Returns the bytes purged in place. */
static inline size_t hak_heaps_trim_others(struct hak_heap *mine)
{
    struct hak_heaps *all = mine->all;
    uint32_t ncalls = 0;
    size_t bytes = hak_heaps_trim_common(all);
    hak_lock_take(&all->absent);
    struct hak_heap *heap = __atomic_load_n(&all->all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next)
        hak_heap_shed(heap, mine);
    struct hak_page *page = __atomic_load_n(&all->all_pages, __ATOMIC_ACQUIRE);
    for (; page != NULL; page = page->all_next)
        bytes += hak_page_sleep_remote(page, &ncalls);
    hak_lock_drop(&all->absent);
    return bytes;
}

/*
 * ops->trim for pages. Called by the heap's thread. Purges the free memory of
 * this heap and of orphans, and calls hak_heaps_trim_others. Empty pages go to
 * page_put. current: purge the free memory of current pages too, which leaves
 * the heap's lanes empty. Returns the bytes purged in place.
 */
static inline size_t hak_heap_trim(struct hak_heap *heap, bool current)
{
    hak_heap_collect(heap);
    hak_heap_adopt_all(heap);
    if (current)
        hak_heap_close_bins(heap, true);
    return hak_heap_look(heap, true) + hak_heaps_trim_others(heap);
}

#endif
