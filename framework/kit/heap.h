/* SPDX-License-Identifier: MIT
 * heap.h - kit layer 5: one thread's pages, by class, and what becomes of them.
 *
 *     bin of a class:  current page, available, full and kept pages
 *
 * Only the current page may be in a lane.
 *
 * A page that becomes empty is *kept* as it is, cut to slots, for the next need
 * of its class: up to keep_bytes in a heap. What a heap has not needed for half
 * a purge delay goes back. Kept pages are under a lock of the heap's, so that
 * any thread can have them go back (hak_heap_shed).
 *
 * Locks, in the order in which one may be taken under another:
 *
 *     hak_heaps.absent       what is done in pages of others (absent.h)
 *     hak_heaps.common_lock  the heap that has no thread (common.h)
 *     hak_heaps.lock         the lists of orphans and of spare heaps, only
 *     hak_heap.shelf         what the heap keeps
 *     *hak_heaps.box_lock    where the box's pages come from
 *
 * Fork takes all but the shelves (hak_heaps_fork). Everything else belongs to
 * the owner thread or is atomic.
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
    void *own;              /* the box's part, hak_heaps.own_bytes, or NULL */
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
 * hak_page_init, enters the page into the box's own table, and last calls
 * hak_heap_enter. NULL = no memory.
 * page_put: the page is empty; unregister, give the memory back, then
 * hak_heap_spare. It may have been another heap's.
 */
struct hak_heaps_ops {
    struct hak_page *(*page_get)(struct hak_heap *heap, uint32_t class_number);
    void (*page_put)(struct hak_heap *heap, struct hak_page *page);
    /* tick: NULL, or called now and then, by the heap's thread. Pages may go,
     * current ones too. */
    void (*tick)(struct hak_heap *heap);
    /* own_init: NULL, or makes the box's part of a new heap, which is zero.
     * Once: the part stays as it is when the heap serves another thread. */
    void (*own_init)(void *own);
    /* own_close: NULL, or called when a heap closes, before its pages go. What
     * the box's part holds of slots and pages goes back. */
    void (*own_close)(struct hak_heap *heap);
    /* own_mark: NULL, or sets the bits of those slots of the page that count as
     * out of it and wait in the box's parts of heaps. */
    void (*own_mark)(const struct hak_page *page, uint64_t *is_free);
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
    uint32_t own_bytes;    /* of the box's part of a heap; 0: none */
    struct hak_lock *box_lock; /* the box's own, or NULL */
    const struct hak_heaps_ops *ops;
    struct hak_page *all_pages; /* push only, for statistics */
    struct hak_heap *all_heaps; /* push only */
    uint64_t in_use_bytes, peak_bytes;
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

/* common.h and absent.h: who includes this file includes lost.h, and so those.
 */
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

/*
 * The page, which has memory and is initialised, is the heap's from here on,
 * and the directory names its span. The owner and the slot size come before
 * span_set, which copies a hint of both into the directory's entry: with a
 * wrong hint the first free of the page goes the slow way.
 * size_bytes  of the memory that the page was made of
 */
static inline void hak_heap_enter(struct hak_heap *heap, struct hak_page *page,
                                  size_t size_bytes)
{
    struct hak_box *box = heap->all->box;
    __atomic_store_n(&page->heap, heap, __ATOMIC_RELAXED);
    hak_heap_own(heap, page);
    int error = box->host->span_set(box, &page->span, hak_page_memory(page),
                                    size_bytes);
    HAK_ALWAYS(error == 0); /* the memory came from the host */
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
    if (page->span.nalloc != page->taken_nalloc) /* not told when it was kept */
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
        hak_page_tell_retired(page);
        hak_page_begin(page); /* what it serves next is told of by itself */
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
 * All that `from` keeps goes back, by any thread, whose heap is `to`. Under
 * hak_heaps.absent, so that no fork copies a shelf which another thread than
 * its owner has locked. (In a child, that of a thread of the parent's may be
 * locked for ever. Hence nobody waits for it.) Returns the bytes.
 */
static inline size_t hak_heap_shed(struct hak_heap *from, struct hak_heap *to)
{
    if (!hak_lock_try(&from->shelf))
        return 0;
    size_t bytes = hak_counted(&from->kept_bytes);
    struct hak_page *list = hak_heap_unshelve(from, true);
    hak_lock_drop(&from->shelf);
    hak_heap_retire_list(to, list);
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
 * ops->triggered: a full page has room again, or an available one is empty, or
 * it is time to look at the clock: a thread may live for long on what its
 * current pages have, without a refill.
 */
static inline void hak_heap_triggered(struct hak_span *span)
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

#endif
