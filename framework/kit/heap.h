/* SPDX-License-Identifier: MIT
 * heap.h - kit layer 5: the pages of one thread, by class, and their states.
 *
 *     bin of a class:  current page, available, full and kept pages
 *
 * Only the current page may be in a lane.
 *
 * A heap keeps a page that becomes empty, carved as it is, for the next need of
 * its class. It keeps up to keep_bytes. Pages that it has not needed for half a
 * purge delay are retired. Kept pages are guarded by a lock of the heap, so
 * that any thread can retire them (hak_heap_shed).
 *
 * Locks, in the order in which one may be taken under another:
 *
 *     hak_heaps.absent       guards work on pages of other threads (absent.h)
 *     hak_heaps.common_lock  guards the common heap, which has no thread
 *                            (common.h)
 *     hak_heaps.lock         guards the lists of orphans and of spare heaps
 *     hak_heap.shelf         guards the kept pages
 *     *hak_heaps.box_lock    guards the memory from which the box makes pages
 *
 * A fork takes all of them but the shelves (hak_heaps_fork). All other members
 * belong to the owner thread or are atomic.
 */
#ifndef HAK_KIT_HEAP_H
#define HAK_KIT_HEAP_H

#include "bits.h"
#include "idle.h"
#include "page.h"

struct hak_bin {
    struct hak_page *current;
    struct hak_link avail, full;
    uint32_t lent_bytes;   /* bytes got from common pages: common.h */
    uint32_t kept_bytes;   /* carved bytes of kept pages; as in the heap */
    struct hak_page *kept; /* linked by pending_next; guarded by shelf */
    uint32_t nkept, low;   /* low: the least nkept since the last look */
};

struct hak_heap {
    struct hak_thread *thread; /* NULL: orphan or spare */
    struct hak_heaps *all;
    struct hak_heap *next; /* in the list of orphans or of spare heaps */
    struct hak_heap *all_next;
    struct hak_page *spare; /* page structs without memory */
    void *own; /* the box's part, of hak_heaps.own_bytes; or NULL */
    uint64_t retired, adopted;
    uint64_t aged_ms; /* when kept pages were last looked at; atomic */
    uint32_t age_calls, ages;
    struct hak_lock shelf;
    uint64_t kept_bytes;  /* carved bytes of kept pages; written under shelf,
                             read atomically */
    bool sheds;           /* do not keep pages that become empty; owner only */
    struct hak_span lent; /* common.h */
    /* Written by other threads, so on a cache line of its own. */
    _Alignas(64) struct hak_page *pending;
    uint32_t orphan;
    struct hak_bin bin[];
};

/* How a box gets memory for pages. Constant. */
struct hak_heaps_ops {
    /* page_get - make a page of the class: call hak_heap_page, take memory,
     * call hak_page_init, enter the page into the box's own table, and last
     * call hak_heap_enter. Returns NULL: no memory. */
    struct hak_page *(*page_get)(struct hak_heap *heap, uint32_t class_number);
    /* page_put - give an empty page back: unregister the span, give the memory
     * back, call hak_heap_spare. The page may have belonged to another heap. */
    void (*page_put)(struct hak_heap *heap, struct hak_page *page);
    /* tick - called now and then by the heap's thread, or NULL. It may retire
     * pages, even current ones. */
    void (*tick)(struct hak_heap *heap);
    /* own_init - set up the box's part of a new heap, which is zero; or NULL.
     * Called once for each heap: the part stays as it is when the heap serves
     * another thread. */
    void (*own_init)(void *own);
    /* own_close - give back the slots and pages that the box's part holds; or
     * NULL. Called when a heap closes, before its pages are given back. */
    void (*own_close)(struct hak_heap *heap);
    /* own_mark - set the bits of those slots of the page that count as out but
     * wait in the box's parts of heaps; or NULL. */
    void (*own_mark)(const struct hak_page *page, uint64_t *is_free);
};

/*
 * What is known of a size class beside what its pages say (visit.h). Atomic.
 * in_use_bytes  slots of the pages that heaps have, kept ones included
 * past_allocs   slots that page structs handed out before they served another
 *               class. As many came back: a page changes its class when it is
 *               empty.
 * told_allocs, told_frees  the largest figures that were told, so that they
 *               never seem to decrease
 */
struct hak_class_figures {
    uint64_t in_use_bytes, past_allocs;
    uint64_t told_allocs, told_frees;
};

/* One box's heaps. */
struct hak_heaps {
    struct hak_box *box;
    uint32_t nclasses;
    uint32_t carve_bytes;      /* to carve at a time; at least one slot */
    uint32_t full_divisor;     /* a full page becomes available when
                                  1 + capacity / full_divisor slots came back */
    size_t keep_bytes;         /* most bytes of kept pages in a heap; atomic */
    uint32_t common_bytes;     /* a young heap gets this much of each class from
                                  common pages; 0: none */
    uint32_t own_bytes;        /* size of the box's part of a heap; 0: none */
    struct hak_lock *box_lock; /* a lock of the box, or NULL */
    const struct hak_heaps_ops *ops;
    struct hak_page *all_pages; /* a list that only grows; atomic */
    struct hak_heap *all_heaps; /* likewise */
    uint64_t in_use_bytes, peak_bytes;
    struct hak_class_figures *figures; /* by class; made with the first heap */
    struct hak_lock lock;
    struct hak_heap *orphans, *spares;
    struct hak_lock common_lock;
    struct hak_heap *common; /* NULL until it is needed */
    uint64_t nopen;          /* heaps with a thread; atomic */
    struct hak_lock absent;
    struct hak_page *absent_at; /* next page that absent.h looks at; guarded by
                                   absent */
    struct hak_heap *shed_at;   /* next heap that hak_heaps_shrink sheds;
                                   guarded by absent */
    uint64_t absent_due_ms;     /* atomic */
};

/* Defined in common.h and absent.h, which are higher layers. A box must include
 * lost.h, and thereby both. */
static inline struct hak_span *hak_heap_lend(struct hak_heap *heap,
                                             uint32_t class_number);
static inline void hak_heaps_age_common(struct hak_heaps *all);
static inline void hak_heaps_age_absent(struct hak_heap *mine, uint64_t now_ms,
                                        uint64_t delay_ms);

/* ---- page structs -------------------------------------------------------- */

/* A page struct: a spare one of the heap or a new one. NULL: no memory. */
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
 * Set or clear the owner of a page. The owner frees inline, without reading the
 * slot. A page that is empty, or that has sleeping slots, which have no marks,
 * has no owner while it is available. So the box sees each free there, and
 * reports a wrong one at once.
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
 * Let the slots that the page hands out from now on count for its class. What
 * it did for another class stays counted there. A reader (visit.h) that comes
 * between these stores counts too little, never too much.
 */
static inline void hak_heap_count_class(struct hak_heaps *all,
                                        struct hak_page *page)
{
    if (likely(page->counted_class == page->class_number))
        return;
    uint64_t allocs = page->span.nalloc - page->counted_nalloc;
    __atomic_store_n(&page->counted_nalloc, page->span.nalloc,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&page->counted_nfree, page->span.nfree, __ATOMIC_RELAXED);
    hak_count_shared(&all->figures[page->counted_class].past_allocs,
                     (int64_t)allocs);
    __atomic_store_n(&page->counted_class, page->class_number,
                     __ATOMIC_RELEASE);
}

/* Count the slots of a page that a heap got, or gives back, as in use. Returns
 * the bytes that are in use in all. */
static inline uint64_t hak_heap_count_page(struct hak_heaps *all,
                                           const struct hak_page *page,
                                           bool got)
{
    int64_t bytes = (int64_t)page->capacity * page->span.slot_bytes;
    int64_t more = got ? bytes : -bytes;
    hak_count_shared(&all->figures[page->class_number].in_use_bytes, more);
    return hak_count_shared(&all->in_use_bytes, more);
}

/*
 * Give an initialised page to the heap and register its span.
 * size_bytes  of the memory that the page was made of
 * span.owner and slot_bytes must be set before span_set, which copies a hint of
 * both into the directory's entries. With a wrong hint the first free of the
 * page takes a slow path.
 */
static inline void hak_heap_enter(struct hak_heap *heap, struct hak_page *page,
                                  size_t size_bytes)
{
    struct hak_box *box = heap->all->box;
    hak_heap_count_class(heap->all, page);
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
 * Clear NOTIFY, so that no remote free puts the page on a pending list. Returns
 * false: the page is on one, or about to be (PENDING); nothing has changed.
 * Test and clear must be one atomic step: NOTIFY may be set even on a current
 * page, and a remote free may turn it into PENDING at any time.
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
    page->span.trigger = page->span.nalloc; /* when the page is empty */
    hak_link_after(&heap->bin[page->class_number].avail, &page->link);
}

/* Give back a page that is empty and in no list. It may have belonged to
 * another heap. */
static inline void hak_heap_retire(struct hak_heap *heap, struct hak_page *page)
{
    HAK_ASSERT(hak_page_out(page) == 0);
    hak_page_expect_empty(page);
    hak_heap_count_page(heap->all, page, false);
    hak_count(&heap->retired, 1);
    if (page->span.nalloc != page->taken_nalloc) /* else told when kept */
        hak_page_tell_retired(page);
    heap->all->ops->page_put(heap, page);
}

/* ---- kept pages ---- */

/* Count kept bytes. Guarded by heap->shelf. */
static inline void hak_heap_count_kept(struct hak_heap *heap,
                                       struct hak_bin *bin, int64_t bytes)
{
    __atomic_store_n(&bin->kept_bytes, bin->kept_bytes + (uint32_t)bytes,
                     __ATOMIC_RELAXED);
    hak_count(&heap->kept_bytes, (uint64_t)bytes);
}

/* Keep an empty page. Returns false: there is no room for it. A heap without a
 * thread keeps no pages. */
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
        hak_page_begin(page); /* its next use gets a record of its own */
        page->state = HAK_PAGE_KEPT;
        page->pending_next = bin->kept;
        __atomic_store_n(&bin->kept, page, __ATOMIC_RELAXED);
        bin->nkept++;
        hak_heap_count_kept(heap, bin, (int64_t)bytes);
    }
    hak_lock_drop(&heap->shelf);
    return room;
}

/* Take the page that was kept last, or NULL. Guarded by heap->shelf. */
static inline struct hak_page *hak_bin_pop_kept(struct hak_heap *heap,
                                                struct hak_bin *bin)
{
    struct hak_page *page = bin->kept;
    if (page == NULL)
        return NULL;
    __atomic_store_n(&bin->kept, page->pending_next, __ATOMIC_RELAXED);
    bin->nkept--;
    bin->low = bin->nkept < bin->low ? bin->nkept : bin->low;
    hak_heap_count_kept(heap, bin, -(int64_t)hak_page_used_bytes(page));
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
 * Keep or retire an available page that became empty. If a notice of it is in
 * flight (PENDING), the page stays where it is: hak_heap_collect will come back
 * to it.
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

/* Take pages off the shelf: those that were not needed since the last look, or
 * all. Returns them linked by pending_next. Guarded by heap->shelf. */
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

/* Retire kept pages: all, or those that were not needed since the last look.
 * Called by the heap's thread. */
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
 * Retire all pages that heap `from` keeps. Any thread may call it; `to` is its
 * heap. Returns the bytes.
 * Guarded by hak_heaps.absent, so that no fork copies a shelf that another
 * thread than its owner has locked. It must not wait for the shelf: in the
 * child of a fork, the shelf of a thread that is gone may be locked for ever.
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
    /* Frees into a current page between calls of hak_heap_age. It costs 1 % of
     * bench/pair with 64 B. */
    HAK_HEAP_LOOK_FREES = 256,
    HAK_HEAP_AGE_CALLS = 8, /* calls of hak_heap_age for a look at the clock */
    HAK_HEAP_PURGES = 256,  /* most calls of the host in one look at pages */
};

/*
 * Look at the pages that are not full, and put free groups of idle ones to
 * sleep. now: of all these pages, idle or not. Returns the bytes purged.
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
 * Age the heap. Kept pages are retired when they were not needed for half a
 * purge delay to one purge delay. Free memory in idle pages is purged after one
 * to two purge delays.
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
 * Make the current page a full one, so that remote frees notify the heap (they
 * do already if NOTIFY is still set from before). Returns false: slots came
 * back meanwhile, so the page is not full.
 */
static inline bool hak_heap_set_full(struct hak_heap *heap,
                                     struct hak_page *page)
{
    uint64_t word = __atomic_load_n(&page->remote, __ATOMIC_RELAXED);
    do {
        if (hak_remote_length(word) != 0)
            return false;
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

/* Make the page the current one. NOTIFY may stay set: a needless notice costs
 * less than an atomic instruction here. */
static inline void hak_heap_set_current(struct hak_heap *heap,
                                        struct hak_page *page)
{
    page->state = HAK_PAGE_CURRENT;
    page->span.trigger = page->span.nfree + HAK_HEAP_LOOK_FREES;
    hak_heap_own(heap, page);
    heap->bin[page->class_number].current = page;
}

/*
 * ops->triggered. A full page has room again, or an available one is empty. For
 * a current page the trigger is a timer, since a thread may live on its current
 * pages for long without a refill: look at the clock.
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

/* Take back the remote frees of a page that is off the pending list. */
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
