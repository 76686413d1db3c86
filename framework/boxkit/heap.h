/* SPDX-License-Identifier: MIT
 * heap.h - kit layer 5: one thread's pages, by class; refill, drain, orphans.
 *
 *     bin of a class:  current page, available, full and kept pages
 *
 * Lanes take slots from the current page. A refill gives it what it has: its
 * remote list, else slots that sleep, else freshly carved ones; else the page
 * is full and the next one is made current: an available one, one of an
 * orphaned heap, or a fresh one from the box. Only the current page may be in a
 * lane.
 *
 * Ended threads: hak_heap_close makes a heap an orphan. Who frees into one of
 * its pages, or runs out of pages, adopts the whole heap: its pages change
 * owner. Pages whose PENDING flag is in flight stay with the orphan until the
 * next adoption. Heaps and page structs are type-stable: they are reused,
 * never given back.
 *
 * A page that becomes empty is *kept* as it is, cut to slots, for the next need
 * of its class: up to keep_bytes in a heap. What a heap has not needed for half
 * a purge delay goes back. Kept pages are under a lock of the heap's, so that
 * any thread can have them go back (hak_heap_shed).
 *
 * Locks: hak_heap.shelf guards what the heap keeps. hak_heaps.lock guards the
 * lists of orphans and of spare heaps only, common_lock a heap that has no
 * thread (common.h), absent what is done in pages of others (absent.h).
 * Everything else belongs to the owner thread or is atomic.
 */
#ifndef HAK_KIT_HEAP_H
#define HAK_KIT_HEAP_H

#include "bits.h"
#include "idle.h"
#include "page.h"

struct hak_bin {
    struct hak_page *current;
    struct hak_link avail, full;
    uint64_t lent_bytes;   /* had from common pages: common.h */
    struct hak_page *kept; /* linked by pending_next; under hak_heap.shelf */
    uint32_t nkept, low;   /* low: the least nkept since the last look */
};

struct hak_heap {
    struct hak_thread *thread; /* NULL: orphan or spare */
    struct hak_heaps *all;
    struct hak_heap *next; /* orphans or spare heaps */
    struct hak_heap *all_next;
    struct hak_page *spare; /* page structs without memory */
    void *own;              /* the box's */
    uint64_t retired, adopted;
    uint64_t aged_ms; /* when kept pages were last looked at; atomic */
    uint32_t age_calls, ages;
    struct hak_lock shelf;
    uint64_t kept_bytes;  /* cut to slots in kept pages; under shelf, atomic */
    bool sheds;           /* what becomes empty goes back at once; owner only */
    struct hak_span lent; /* common.h */
    /* written by other threads */
    _Alignas(64) struct hak_page *pending;
    uint32_t orphan;
    struct hak_bin bin[];
};

/*
 * How a box gets memory for pages; a constant.
 *
 * page_get: memory for a page of the class: calls hak_heap_page, then
 * hak_page_init and registers the span. NULL = no memory.
 * page_put: the page is empty; unregister, give the memory back, then
 * hak_heap_spare. It may have been another heap's.
 */
struct hak_heaps_ops {
    struct hak_page *(*page_get)(struct hak_heap *heap, uint32_t class_number);
    void (*page_put)(struct hak_heap *heap, struct hak_page *page);
    /* tick: NULL, or called now and then, by the heap's thread. Pages may go,
     * current ones too. */
    void (*tick)(struct hak_heap *heap);
};

/* One box's heaps. */
struct hak_heaps {
    struct hak_box *box;
    uint32_t nclasses;
    uint32_t carve_bytes;  /* carved at a time, at least one slot */
    uint32_t full_divisor; /* a full page is looked at again when
                              1 + capacity / full_divisor slots came back */
    size_t keep_bytes;     /* of kept pages in a heap; atomic */
    uint32_t common_bytes; /* of each class a young heap has from common pages;
                              0: none */
    const struct hak_heaps_ops *ops;
    struct hak_page *all_pages; /* push only, for statistics */
    struct hak_heap *all_heaps; /* push only */
    uint64_t in_use_bytes, peak_bytes;
    uint64_t shed_bytes; /* by hak_heap_shed, ever; atomic */
    struct hak_lock lock;
    struct hak_heap *orphans, *spares;
    struct hak_lock common_lock;
    struct hak_heap *common; /* NULL until it is needed */
    uint64_t nopen;          /* heaps with a thread; atomic */
    struct hak_lock absent;
    struct hak_page *absent_at; /* the next one that absent.h looks at */
    struct hak_heap *shed_at;   /* the next one that it has shed */
    uint64_t absent_due_ms;     /* atomic */
};

/* common.h and absent.h: who includes this file includes those. */
static inline struct hak_span *hak_heap_lend(struct hak_heap *heap,
                                             uint32_t class_number);
static inline void hak_heaps_age_common(struct hak_heaps *all);
static inline void hak_heaps_age_absent(struct hak_heap *mine, uint64_t now_ms,
                                        uint64_t delay_ms);

/* ---- page structs -------------------------------------------------------- */

static inline struct hak_page *hak_heap_page(struct hak_heap *heap)
{
    struct hak_heaps *all = heap->all;
    struct hak_page *page = heap->spare;
    if (page != NULL) {
        heap->spare = page->pending_next;
        return page;
    }
    page = all->box->host->meta(all->box, sizeof *page);
    if (page == NULL)
        return NULL;
    page->span.box = all->box;
    page->span.key = hak_link_key(all->box);
    page->all_next = __atomic_load_n(&all->all_pages, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&all->all_pages, &page->all_next, page,
                                        true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
    return page;
}

/*
 * Who owns a page frees into it inline, without a look at the slot. Nobody owns
 * an available page that is empty, or in which slots sleep, which have no
 * marks: the box sees each free there, and a wrong one is told at once.
 */
static inline void hak_heap_own(struct hak_heap *heap, struct hak_page *page)
{
    __atomic_store_n(&page->span.owner, heap->thread, __ATOMIC_RELAXED);
}

static inline void hak_heap_disown(struct hak_page *page)
{
    __atomic_store_n(&page->span.owner, NULL, __ATOMIC_RELAXED);
}

static inline void hak_heap_spare(struct hak_heap *heap, struct hak_page *page)
{
    page->state = HAK_PAGE_FREE;
    hak_heap_disown(page);
    page->pending_next = heap->spare;
    heap->spare = page;
}

/*
 * Clear NOTIFY, so that no notice of the page begins. False: one is in flight,
 * nothing changed. Test and clear are one step: NOTIFY may be set even on a
 * current page, and a remote free turns it into PENDING at any moment.
 */
static inline bool hak_page_hush(struct hak_page *page)
{
    uint64_t word = __atomic_load_n(&page->remote, __ATOMIC_RELAXED);
    do {
        if (word & HAK_REMOTE_PENDING)
            return false;
    } while (!__atomic_compare_exchange_n(&page->remote, &word,
                                          word & ~HAK_REMOTE_NOTIFY, true,
                                          __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    return true;
}

/* ---- states of a page ---- */

static inline void hak_heap_avail(struct hak_heap *heap, struct hak_page *page)
{
    page->state = HAK_PAGE_AVAIL;
    if (page->asleep != 0)
        hak_heap_disown(page);
    page->span.trigger = page->span.nalloc; /* when nothing is out */
    hak_link_after(&heap->bin[page->class_number].avail, &page->link);
}

/* The page is in no list and nothing of it is out: give it back. It may have
 * been another heap's. */
static inline void hak_heap_retire(struct hak_heap *heap, struct hak_page *page)
{
    HAK_ASSERT(hak_page_out(page) == 0);
    hak_page_expect_empty(page);
    __atomic_sub_fetch(&heap->all->in_use_bytes,
                       (uint64_t)page->capacity * page->span.slot_bytes,
                       __ATOMIC_RELAXED);
    hak_count(&heap->retired, 1);
    hak_page_tell_retired(page);
    heap->all->ops->page_put(heap, page);
}

/* ---- kept pages ---- */

/* False: there is no room for it. A heap without a thread keeps none. */
static inline bool hak_heap_keep(struct hak_heap *heap, struct hak_page *page)
{
    struct hak_bin *bin = &heap->bin[page->class_number];
    size_t bytes = hak_page_used_bytes(page);
    size_t most = __atomic_load_n(&heap->all->keep_bytes, __ATOMIC_RELAXED);
    if (heap->thread == NULL || heap->sheds || bytes > most)
        return false;
    hak_lock_take(&heap->shelf);
    bool room = heap->kept_bytes + bytes <= most;
    if (room) {
        page->state = HAK_PAGE_KEPT;
        page->pending_next = bin->kept;
        __atomic_store_n(&bin->kept, page, __ATOMIC_RELAXED);
        bin->nkept++;
        hak_count(&heap->kept_bytes, bytes);
    }
    hak_lock_drop(&heap->shelf);
    return room;
}

/* shelf held: the last one that was kept, or NULL. */
static inline struct hak_page *hak_bin_pop_kept(struct hak_heap *heap,
                                                struct hak_bin *bin)
{
    struct hak_page *page = bin->kept;
    if (page == NULL)
        return NULL;
    __atomic_store_n(&bin->kept, page->pending_next, __ATOMIC_RELAXED);
    bin->nkept--;
    bin->low = bin->nkept < bin->low ? bin->nkept : bin->low;
    hak_count(&heap->kept_bytes, -(uint64_t)hak_page_used_bytes(page));
    return page;
}

static inline struct hak_page *hak_heap_take_kept(struct hak_heap *heap,
                                                  struct hak_bin *bin)
{
    if (__atomic_load_n(&bin->kept, __ATOMIC_RELAXED) == NULL)
        return NULL;
    hak_lock_take(&heap->shelf);
    struct hak_page *page = hak_bin_pop_kept(heap, bin);
    hak_lock_drop(&heap->shelf);
    return page;
}

/*
 * An available page, which is linked, became empty. With a notice in flight it
 * stays where it is: hak_heap_collect comes back to it.
 */
static inline void hak_heap_empty(struct hak_heap *heap, struct hak_page *page)
{
    uint64_t word = __atomic_load_n(&page->remote, __ATOMIC_ACQUIRE);
    if (word & HAK_REMOTE_PENDING)
        return;
    hak_heap_disown(page);
    hak_link_remove(&page->link);
    if (!hak_heap_keep(heap, page))
        hak_heap_retire(heap, page);
}

/* shelf held: pages that were not needed since the last look, or all, leave it;
 * linked by pending_next. */
static inline struct hak_page *hak_heap_unshelve(struct hak_heap *heap,
                                                 bool all)
{
    struct hak_page *list = NULL;
    for (uint32_t c = 0; c < heap->all->nclasses; c++) {
        struct hak_bin *bin = &heap->bin[c];
        uint32_t least = all ? 0 : bin->nkept - bin->low;
        while (bin->kept != NULL && bin->nkept > least) {
            struct hak_page *page = hak_bin_pop_kept(heap, bin);
            page->pending_next = list;
            list = page;
        }
        bin->low = bin->nkept;
    }
    return list;
}

static inline void hak_heap_retire_list(struct hak_heap *heap,
                                        struct hak_page *list)
{
    while (list != NULL) {
        struct hak_page *page = list;
        list = page->pending_next;
        hak_heap_retire(heap, page);
    }
}

/* By its thread: all that the heap keeps, or what it did not need of late. */
static inline void hak_heap_retire_kept(struct hak_heap *heap, bool all)
{
    if (hak_counted(&heap->kept_bytes) == 0)
        return;
    hak_lock_take(&heap->shelf);
    struct hak_page *list = hak_heap_unshelve(heap, all);
    hak_lock_drop(&heap->shelf);
    hak_heap_retire_list(heap, list);
}

/*
 * All that `from` keeps goes back, by any thread, whose heap is `to`; where
 * they differ, under hak_heaps.absent, so that no fork copies a shelf that is
 * locked. (One may be: of a thread of the parent's. Nobody waits for it.)
 * Returns the bytes.
 */
static inline size_t hak_heap_shed(struct hak_heap *from, struct hak_heap *to)
{
    if (from == to)
        hak_lock_take(&from->shelf);
    else if (!hak_lock_try(&from->shelf))
        return 0;
    size_t bytes = hak_counted(&from->kept_bytes);
    struct hak_page *list = hak_heap_unshelve(from, true);
    hak_lock_drop(&from->shelf);
    hak_heap_retire_list(to, list);
    hak_count_shared(&from->all->shed_bytes, (int64_t)bytes);
    return bytes;
}

enum {
    HAK_HEAP_LOOK_FREES = 256, /* of a current page; bench/pair of 64 B: 1 % */
    HAK_HEAP_AGE_CALLS = 8,    /* of hak_heap_age, between looks at the clock */
    HAK_HEAP_PURGES = 256,     /* calls of the host in one look at pages */
};

/*
 * Look at the pages that are not full; those that are idle lose what is free
 * in them. now: idle or not. Returns the bytes that went.
 */
static inline size_t hak_heap_look(struct hak_heap *heap, bool now)
{
    uint32_t ncalls = 0;
    size_t bytes = 0;
    for (uint32_t c = 0; c < heap->all->nclasses; c++) {
        struct hak_bin *bin = &heap->bin[c];
        if (bin->current != NULL)
            bytes += hak_page_look(bin->current, now, &ncalls);
        for (struct hak_link *at = bin->avail.next; at != &bin->avail;
             at = at->next) {
            if (ncalls >= HAK_HEAP_PURGES && !now)
                return bytes; /* the rest at the next look */
            struct hak_page *page = hak_item(at, struct hak_page, link);
            bytes += hak_page_look(page, now, &ncalls);
            if (page->asleep != 0)
                hak_heap_disown(page);
        }
    }
    return bytes;
}

/*
 * Kept pages go when they were not needed for half a purge delay to a whole
 * one, what is free in pages that are idle after one to two.
 */
static inline void hak_heap_age_now(struct hak_heap *heap)
{
    const struct hak_host *host = heap->all->box->host;
    if (heap->all->ops->tick != NULL)
        heap->all->ops->tick(heap);
    uint64_t now = host->now_ms(), delay_ms = host->purge_delay_ms();
    if (now - heap->aged_ms < delay_ms / 2)
        return;
    __atomic_store_n(&heap->aged_ms, now, __ATOMIC_RELAXED);
    hak_heap_retire_kept(heap, false);
    if (++heap->ages % 2 == 0)
        return;
    hak_heap_look(heap, false);
    hak_heaps_age_common(heap->all);
    hak_heaps_age_absent(heap, now, delay_ms);
}

static inline void hak_heap_age(struct hak_heap *heap)
{
    if (unlikely(++heap->age_calls % HAK_HEAP_AGE_CALLS == 0))
        hak_heap_age_now(heap);
}

/*
 * The page leaves `current`: from now on remote frees must tell. With NOTIFY
 * still set from its last time as a full page, there is nothing to do.
 */
static inline bool hak_heap_set_full(struct hak_heap *heap,
                                     struct hak_page *page)
{
    uint64_t word = __atomic_load_n(&page->remote, __ATOMIC_RELAXED);
    do {
        if (hak_remote_length(word) != 0)
            return false; /* not full after all */
        if (word & HAK_REMOTE_NOTIFY)
            break;
    } while (!__atomic_compare_exchange_n(&page->remote, &word,
                                          word | HAK_REMOTE_NOTIFY, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    if (heap->thread != NULL)
        heap->all->box->host->lane_drop(&page->span);
    page->state = HAK_PAGE_FULL;
    page->span.trigger =
        page->span.nfree + 1 + page->capacity / heap->all->full_divisor;
    hak_link_after(&heap->bin[page->class_number].full, &page->link);
    return true;
}

/* NOTIFY may stay: a notice that nobody needs costs less than an atomic. */
static inline void hak_heap_set_current(struct hak_heap *heap,
                                        struct hak_page *page)
{
    page->state = HAK_PAGE_CURRENT;
    page->span.trigger = page->span.nfree + HAK_HEAP_LOOK_FREES;
    hak_heap_own(heap, page);
    heap->bin[page->class_number].current = page;
}

/*
 * ops->drained: a full page has room again, or an available one is empty, or
 * it is time to look at the clock: a thread may live for long on what its
 * current pages have, without a refill.
 */
static inline void hak_heap_drained(struct hak_span *span)
{
    struct hak_page *page = hak_container_of(span, struct hak_page, span);
    struct hak_heap *heap = page->heap;
    if (page->state == HAK_PAGE_CURRENT) {
        span->trigger = span->nfree + HAK_HEAP_LOOK_FREES;
        hak_heap_age(heap);
        return;
    }
    if (page->state == HAK_PAGE_FULL) {
        hak_link_remove(&page->link);
        hak_heap_avail(heap, page);
    }
    if (page->state == HAK_PAGE_AVAIL && hak_page_out(page) == 0)
        hak_heap_empty(heap, page);
}

/* ---- remote frees ---- */

/* A page that was on the pending list: take what came back. */
static inline void hak_heap_collect_page(struct hak_heap *heap,
                                         struct hak_page *page)
{
    uint64_t set = page->state == HAK_PAGE_CURRENT ? 0u : HAK_REMOTE_NOTIFY;
    hak_page_return(page, hak_page_take_remote(page, 0, set));
    if (page->state == HAK_PAGE_CURRENT)
        page->span.trigger = page->span.nfree + HAK_HEAP_LOOK_FREES;
    if (page->state == HAK_PAGE_FULL &&
        (hak_page_nlocal(page) != 0 || page->asleep != 0)) {
        hak_link_remove(&page->link);
        hak_heap_avail(heap, page);
    }
    if (page->state == HAK_PAGE_AVAIL && page->asleep != 0)
        hak_heap_disown(page);
    if (page->state == HAK_PAGE_AVAIL && hak_page_out(page) == 0)
        hak_heap_empty(heap, page);
}

static inline void hak_heap_collect(struct hak_heap *heap)
{
    if (likely(__atomic_load_n(&heap->pending, __ATOMIC_RELAXED) == NULL))
        return;
    struct hak_page *page =
        __atomic_exchange_n(&heap->pending, NULL, __ATOMIC_ACQUIRE);
    while (page != NULL) {
        struct hak_page *next = page->pending_next;
        HAK_ASSERT(page->heap == heap);
        hak_heap_collect_page(heap, page);
        page = next;
    }
}

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
 * Move one page of an orphan to `to`. With NOTIFY and PENDING clear nobody
 * reads page->heap, so it may change; a free that comes meanwhile is found
 * when NOTIFY is set again.
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

/* Take over an orphan that was popped from the list by this thread. */
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
    if (!left) /* with nothing of it in flight nobody can name it */
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

/* Every orphan there is now; one that comes back meanwhile waits. */
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
 * Tell the page's heap that frees wait. seq_cst on the push and on `orphan`
 * pairs with hak_heap_close: either it sees the page, or we see an orphan.
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

/* ---- refill ---- */

/*
 * How many slots to carve next, 0: all are. They end where a page of the system
 * does, as far as whole slots can: a new heap touches one of each class, and
 * not two.
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

/* Put free slots on the local list of the current page. False: it is full. */
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

/* The next page of a class that is not known to be full, or NULL. */
static inline struct hak_page *hak_heap_next_page(struct hak_heap *heap,
                                                  uint32_t class_number)
{
    struct hak_heaps *all = heap->all;
    struct hak_bin *bin = &heap->bin[class_number];
    if (hak_link_empty(&bin->avail))
        hak_heap_adopt_any(heap); /* a load when there is no orphan */
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
        hak_count_peak(
            &all->peak_bytes,
            hak_count_shared(&all->in_use_bytes,
                             (int64_t)page->capacity * page->span.slot_bytes));
    return page;
}

/* So many that memory counts for more than the time of a new thread's start. */
static inline bool hak_heaps_are_many(const struct hak_heaps *all)
{
    enum { MANY_HEAPS = 16 };
    return hak_counted(&all->nopen) > MANY_HEAPS;
}

/* Has the heap no page of the class, and so little need of one that common
 * pages do? With few heaps it has what it likes. */
static inline bool hak_heap_is_young(const struct hak_heap *heap,
                                     const struct hak_bin *bin)
{
    const struct hak_heaps *all = heap->all;
    return bin->lent_bytes < all->common_bytes && heap->thread != NULL &&
           hak_link_empty(&bin->avail) && hak_link_empty(&bin->full) &&
           __atomic_load_n(&bin->kept, __ATOMIC_RELAXED) == NULL &&
           hak_heaps_are_many(all);
}

/* ops->refill, once the box has found the class */
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
        hak_heap_drained(&page->span);
}

static inline void hak_heap_free_remote(struct hak_page *page, void *p)
{
    hak_page_expect_live(page, p);
    uint64_t old = hak_page_push_remote(page, p);
    /* PENDING with NOTIFY: the page became full while a notice is in flight;
     * a second one would put it on the list twice */
    if ((old & (HAK_REMOTE_NOTIFY | HAK_REMOTE_PENDING)) == HAK_REMOTE_NOTIFY)
        hak_heap_notify(page);
}

/* heap: the calling thread's, or NULL */
static inline void hak_heap_free(struct hak_heap *heap, struct hak_page *page,
                                 void *p)
{
    if (heap != NULL && __atomic_load_n(&page->heap, __ATOMIC_RELAXED) == heap)
        hak_heap_free_local(page, p);
    else
        hak_heap_free_remote(page, p);
}

/* ops->remote_free. A span without an owner may be of the thread's own heap. */
static inline void hak_heap_remote_free(struct hak_span *span, void *p)
{
    struct hak_page *page = hak_container_of(span, struct hak_page, span);
    struct hak_box *box = span->box;
    struct hak_heap *mine = NULL;
    if (__atomic_load_n(&span->owner, __ATOMIC_RELAXED) == NULL)
        mine = box->host->heap(box, false);
    hak_heap_free(mine, page, p);
}

/* ---- open and close ---- */

static inline struct hak_heap *hak_heap_make(struct hak_heaps *all)
{
    struct hak_box *box = all->box;
    struct hak_heap *heap = box->host->meta(
        box, sizeof *heap + all->nclasses * sizeof heap->bin[0]);
    if (heap == NULL)
        return NULL;
    heap->all = all;
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

/* hak_heap_open, undone: the box has no memory for its own part. */
static inline void hak_heap_unopen(struct hak_heap *heap)
{
    if (heap->thread != NULL)
        hak_count_shared(&heap->all->nopen, -1);
    heap->thread = NULL;
    hak_heaps_push(heap->all, &heap->all->spares, heap);
}

/* The current page of a bin goes back among the others. */
static inline void hak_bin_close(struct hak_heap *heap, struct hak_bin *bin)
{
    struct hak_page *page = bin->current;
    if (page == NULL)
        return;
    heap->all->box->host->lane_drop(&page->span);
    bin->current = NULL;
    page->state = HAK_PAGE_AVAIL;
    hak_heap_avail(heap, page);
    /* A notice in flight still needs the page: hak_heap_collect, then. */
    if (hak_page_hush(page))
        hak_heap_collect_page(heap, page); /* sets NOTIFY, retires if empty */
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

/* ops->heap_close, after the box has given back what else the heap keeps */
static inline void hak_heap_close(struct hak_heap *heap)
{
    struct hak_heaps *all = heap->all;
    if (heap->thread != NULL)
        hak_count_shared(&all->nopen, -1);
    all->box->host->lane_drop(&heap->lent);
    heap->lent.owner = NULL;
    heap->thread = NULL; /* from here on empty pages are retired */
    hak_heap_collect(heap);
    hak_heap_retire_kept(heap, true);
    for (uint32_t c = 0; c < all->nclasses; c++)
        hak_bin_close(heap, &heap->bin[c]);
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

static inline bool hak_bin_is_idle(const struct hak_bin *bin)
{
    return bin->current != NULL && hak_page_out(bin->current) == 0;
}

/* Bytes that are in memory for nothing but the next need, but for the box's
 * own. */
static inline uint64_t hak_heap_idle_bytes(const struct hak_heap *heap)
{
    uint64_t bytes = hak_counted(&heap->kept_bytes);
    for (uint32_t c = 0; c < heap->all->nclasses; c++)
        if (hak_bin_is_idle(&heap->bin[c]))
            bytes += hak_page_used_bytes(heap->bin[c].current);
    return bytes;
}

/*
 * ops->heap_park. The next thread finds all as it was, as long as the idle
 * memory is no more than the heap's share of PARKED_BYTES: with few threads it
 * is, and a new one starts without a page to make. Else all of it goes back,
 * and the heap is young again.
 */
static inline void hak_heap_park(struct hak_heap *heap)
{
    enum { PARKED_BYTES = 8 << 20 };
    struct hak_heaps *all = heap->all;
    hak_heap_collect(heap);
    if (hak_heap_idle_bytes(heap) <= PARKED_BYTES / hak_counted(&all->nopen))
        return;
    heap->sheds = true;
    for (uint32_t c = 0; c < all->nclasses; c++) {
        struct hak_bin *bin = &heap->bin[c];
        bin->lent_bytes = 0;
        if (hak_bin_is_idle(bin))
            hak_bin_close(heap, bin);
    }
    hak_heap_shed(heap, heap);
    heap->sheds = false;
}

/* ---- statistics and walks ---- */

static inline uint64_t hak_heaps_kept(const struct hak_heaps *all)
{
    uint64_t bytes = 0;
    const struct hak_heap *heap =
        __atomic_load_n(&all->all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next)
        bytes += hak_counted(&heap->kept_bytes);
    return bytes;
}

static inline void hak_heaps_stats(const struct hak_heaps *all,
                                   struct hak_box_stats *out)
{
    const struct hak_page *page =
        __atomic_load_n(&all->all_pages, __ATOMIC_ACQUIRE);
    for (; page != NULL; page = page->all_next) {
        uint64_t frees = hak_page_frees(page); /* first: never the more */
        uint64_t allocs = __atomic_load_n(&page->span.nalloc, __ATOMIC_ACQUIRE);
        out->allocs += allocs;
        out->frees += frees;
        out->live_count += allocs - frees;
        out->live_bytes += (allocs - frees) * page->span.slot_bytes;
    }
    out->peak_bytes = hak_counted(&all->peak_bytes);
    const struct hak_heap *heap =
        __atomic_load_n(&all->all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next) {
        out->retired_pages += hak_counted(&heap->retired);
        out->adopted_pages += hak_counted(&heap->adopted);
    }
}

/* The largest number of slots that a page may hold if it is to be walked. */
enum { HAK_PAGE_SLOTS_MAX = 4096 };

static inline void hak_page_mark(const struct hak_page *page, const void *list,
                                 uint64_t *is_free)
{
    for (uint32_t n = 0; list != NULL && n < page->carved; n++) {
        size_t i =
            (size_t)((const char *)list - page->start) / page->span.slot_bytes;
        is_free[i >> 6] |= 1ull << (i & 63);
        list = hak_slot_next(list, page->span.key);
    }
}

/* ops->fork of a box does this for its heaps. */
static inline void hak_heaps_fork(struct hak_heaps *all,
                                  enum hak_fork_phase phase)
{
    hak_lock_fork(&all->absent, phase);
    hak_lock_fork(&all->common_lock, phase);
    hak_lock_fork(&all->lock, phase);
}

/* Its own lists, and what sleeps. */
static inline void hak_page_mark_free(const struct hak_page *page,
                                      uint64_t *is_free)
{
    hak_page_mark(page, page->span.local, is_free);
    hak_page_mark(page, hak_remote_head(page->remote), is_free);
    uint64_t map = page->asleep | hak_page_remote_asleep(page);
    for (; map != 0; map &= map - 1) {
        struct hak_group group =
            hak_page_group(page, (uint32_t)__builtin_ctzll(map));
        hak_bits_set(is_free, group.first, group.end - group.first);
    }
}

/* False: visit asked to stop. */
static inline bool hak_page_walk(const struct hak_page *page, hak_visit *visit,
                                 void *context)
{
    uint64_t is_free[HAK_PAGE_SLOTS_MAX / 64] = {0};
    hak_page_mark_free(page, is_free);
    for (uint32_t i = 0; i < page->carved; i++)
        if (!(is_free[i >> 6] >> (i & 63) & 1) &&
            !visit(context, page->start + (size_t)i * page->span.slot_bytes,
                   page->span.slot_bytes))
            return false;
    return true;
}

static inline void hak_heaps_walk(const struct hak_heaps *all, hak_visit *visit,
                                  void *context)
{
    const struct hak_page *page =
        __atomic_load_n(&all->all_pages, __ATOMIC_ACQUIRE);
    for (; page != NULL; page = page->all_next)
        if (page->state != HAK_PAGE_FREE &&
            !hak_page_walk(page, visit, context))
            return;
}

#endif
