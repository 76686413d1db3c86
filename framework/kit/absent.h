/* SPDX-License-Identifier: MIT
 * absent.h - kit layer 9: heaps whose threads stay away.
 *
 * A thread that waits for hours comes to no slow path, so what others free in
 * its pages stays on the remote lists of these. Any other thread may put such
 * slots to sleep (idle.h), without a word from the owner:
 *
 *     1. It takes the page's remote list. From here on it holds those slots, as
 *        if they had not been freed yet.
 *     2. Groups of which it holds every slot lose their memory.
 *     3. It gives all of them back in one exchange, as a free by another thread
 *        does: those in groups through remote_asleep, the others linked.
 *
 * The owner sees step 3 alone, and finds the groups asleep. Empty pages that it
 * keeps are under a lock, and go back. What it has in lists of its own (local
 * slots, current pages) stays.
 *
 * Locks: hak_heaps.absent, held by who does this, so that it is one thread at a
 * time and none while a fork copies the process. It is taken before the other
 * two of hak_heaps.
 */
#ifndef HAK_KIT_ABSENT_H
#define HAK_KIT_ABSENT_H

#include "common.h"

enum {
    HAK_ABSENT_PAGES = 2048, /* looked at in one go, about 0.1 ms */
    HAK_ABSENT_ORPHANS = 64, /* heaps looked at in one go */
    HAK_ABSENT_DELAYS = 2,   /* purge delays without a slow path: absent */
};

/* Step 1. False: there is no list, or the owner is about to take it. */
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

/* Step 3; last: of the linked ones, or NULL. Returns the word before. */
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
 * Put what others freed in the page to sleep. Any thread, under
 * hak_heaps.absent. Returns the bytes that went; *ncalls grows by the calls of
 * the host.
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

/* Has the heap's thread not come to a slow path for a while? */
static inline bool hak_heap_is_absent(const struct hak_heap *heap,
                                      uint64_t now_ms, uint64_t delay_ms)
{
    uint64_t seen = __atomic_load_n(&heap->aged_ms, __ATOMIC_RELAXED);
    return now_ms - seen >= HAK_ABSENT_DELAYS * delay_ms;
}

/* Have slots come back since the last look? The owner forgets it when it takes
 * what came back. */
static inline bool hak_page_is_news(struct hak_page *page)
{
    uint64_t word = __atomic_load_n(&page->remote, __ATOMIC_RELAXED);
    uint32_t now = hak_remote_length(word);
    uint32_t seen =
        __atomic_exchange_n(&page->seen_remote, now, __ATOMIC_RELAXED);
    return seen != now && hak_remote_head(word) != NULL;
}

/* Under hak_heaps.absent: go on from where the last look ended. */
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
            break; /* from the first one on at the next look */
    }
    all->absent_at = page;
}

/* Under hak_heaps.absent: what heaps of absent threads keep goes back. False:
 * no thread is absent. */
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
 * Under hak_heaps.absent: what is free in pages of ended threads goes as in
 * those of running ones. Who takes orphans off their list may do with them as
 * their thread would.
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
 * ops->shrink: at least so many bytes of what heaps keep go back, if there are
 * as many. Each time it begins with the heap after the last one. Nobody waits
 * for it. Returns the bytes.
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

/* Once a purge delay, by the thread of a heap, whichever comes first. */
static inline void hak_heaps_age_absent(struct hak_heap *mine, uint64_t now_ms,
                                        uint64_t delay_ms)
{
    struct hak_heaps *all = mine->all;
    uint64_t due = __atomic_load_n(&all->absent_due_ms, __ATOMIC_RELAXED);
    if (now_ms < due || !hak_lock_try(&all->absent))
        return;
    __atomic_store_n(&all->absent_due_ms, now_ms + delay_ms, __ATOMIC_RELAXED);
    if (__atomic_load_n(&all->all_pages, __ATOMIC_RELAXED) != NULL &&
        hak_heaps_shed_absent(mine, now_ms, delay_ms))
        hak_heaps_look_absent(all, now_ms, delay_ms);
    if (__atomic_load_n(&all->orphans, __ATOMIC_RELAXED) != NULL)
        hak_heaps_look_orphans(all, now_ms, delay_ms);
    hak_lock_drop(&all->absent);
}

/* The calling thread's heap, for a trim: where there are pages it may have to
 * take some over, so it gets one. */
static inline struct hak_heap *hak_heaps_trimmer(const struct hak_heaps *all)
{
    return __atomic_load_n(&all->all_pages, __ATOMIC_RELAXED) != NULL
               ? all->box->host->heap(all->box, true)
               : NULL;
}

/* ops->age. The calling thread gets a heap for it. */
static inline void hak_heaps_age(struct hak_heaps *all)
{
    struct hak_heap *mine = hak_heaps_trimmer(all);
    if (mine == NULL)
        return;
    hak_heap_collect(mine);
    hak_heap_age_now(mine);
}

/* All that is free in common pages, that heaps keep, and that others freed in
 * pages of any thread. Returns the bytes that were purged in place. */
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
 * ops->trim, as far as pages go, by the heap's thread: of its own heap, of
 * ended threads', and of others' what hak_heaps_trim_others says. Empty pages
 * go to page_put. current: what is free in current pages goes too, and the
 * heap's lanes are empty then. Returns the bytes that were purged in place.
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
