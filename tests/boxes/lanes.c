/* SPDX-License-Identifier: MIT
 * lanes.c - the smallest box with lanes, spans and thread heaps.
 *
 * A page is a granule with slots of one size, a power of two, or one slot of
 * several granules up to 256 KiB. Its metadata is a struct page, which begins
 * with the span and is not in the granule. A larger request gets granules of
 * its own, and a struct page whose span is not registered. A table has an entry
 * for each granule of the window and leads from any address to its page.
 *
 * All slots of a page are cut at once. For each page, as its owner sees it:
 *
 *     span.nalloc - span.nfree = live slots + length of page->remote
 *     nslots = live slots + length of page->remote + length of span.local
 *
 * Lanes may take slots only from the first page of a heap's list. The other
 * pages have trigger = nalloc, so triggered() for one of them means that it is
 * empty.
 *
 * Lock order: `shared_locked` (the heap that alloc uses), then `locked`
 * (orphans, spare structs).
 */
#include <errno.h>

#include "hakmem/box.h"

enum { CLASSES = 15, LARGE = CLASSES, NO_CLASS, ADOPT_MOST = 4 };

struct page {
    struct hak_span span;  /* must be the first member */
    void *remote;          /* slots freed by other threads; atomic */
    uint32_t remote_count; /* of stats only; may lag behind remote; atomic */
    uint32_t cls;          /* 0..14, LARGE, or NO_CLASS: in spare_pages */
    char *base;
    size_t bytes;
    struct heap *heap;
    struct page *next;        /* in heap->pages[cls], orphans or spare_pages */
    struct page *made_before; /* list of all struct pages, from s->newest on */
};

struct heap {
    struct hak_thread *thread; /* NULL in `shared`, the heap that alloc uses */
    struct page *pages[CLASSES];
    struct heap *next; /* in spare_heaps */
};

struct lanes {
    bool shared_locked, locked;
    struct heap shared;
    struct page *orphans[CLASSES];
    struct page *spare_pages, *newest;
    struct heap *spare_heaps;
    uint64_t adopted, retired;
    struct page *at[]; /* the page of each granule of the window; atomic */
};

static void lock(bool *l)
{
    while (__atomic_test_and_set(l, __ATOMIC_ACQUIRE))
        __builtin_ia32_pause();
}

static void unlock(bool *l)
{
    __atomic_clear(l, __ATOMIC_RELEASE);
}

static struct page **entry_of(struct hak_box *box, const void *p)
{
    struct lanes *s = box->state;
    return &s->at[((uintptr_t)p - box->host->window_base) >> HAK_GRANULE_SHIFT];
}

/* The page of p, which must be a slot of this box. */
static struct page *page_at(struct hak_box *box, const void *p)
{
    return __atomic_load_n(entry_of(box, p), __ATOMIC_ACQUIRE);
}

/* The page of any address p, or NULL. */
static struct page *page_of(struct hak_box *box, const void *p)
{
    uintptr_t offset = (uintptr_t)p - box->host->window_base;
    if (!box->state || offset >= box->host->window_bytes)
        return NULL;
    return page_at(box, p);
}

static void enter(struct hak_box *box, char *base, size_t bytes,
                  struct page *page)
{
    for (size_t at = 0; at < bytes; at += HAK_GRANULE_BYTES)
        __atomic_store_n(entry_of(box, base + at), page, __ATOMIC_RELEASE);
}

/* ---- pages ------------------------------------------------------------- */

static void *next_slot(const struct page *page, const void *p)
{
    return (void *)(*(const uintptr_t *)p ^ page->span.key);
}

/* Make p a free slot that links to next. The link, xored with the key, is its
 * mark. */
static void link_slot(const struct page *page, void *p, void *next)
{
    *(uintptr_t *)p = (uintptr_t)next ^ page->span.key;
}

/* Get a struct page, a spare or a new one. It is never freed, because the core
 * may look at a span at any later time. */
static struct page *page_struct(struct hak_box *box)
{
    struct lanes *s = box->state;
    lock(&s->locked);
    struct page *page = s->spare_pages;
    if (page) {
        s->spare_pages = page->next;
    } else if ((page = box->host->meta(box, sizeof *page))) {
        page->span.box = box;
        page->span.key = box->host->random() | HAK_KEY_BITS;
        /* Every multiple of 16 counts as the start of a slot. */
        page->span.inverse = (uint64_t)1 << 60;
        page->cls = NO_CLASS;
        page->made_before = s->newest;
        __atomic_store_n(&s->newest, page, __ATOMIC_RELEASE);
    }
    unlock(&s->locked);
    return page;
}

static void page_spare(struct hak_box *box, struct page *page)
{
    struct lanes *s = box->state;
    lock(&s->locked);
    page->cls = NO_CLASS;
    page->next = s->spare_pages;
    s->spare_pages = page;
    unlock(&s->locked);
}

static struct page *page_map(struct hak_box *box, size_t bytes, uint32_t cls)
{
    struct page *page = page_struct(box);
    if (!page)
        return NULL;
    page->base = box->host->map(box, bytes, 0, 0);
    if (!page->base) {
        page_spare(box, page);
        return NULL;
    }
    page->bytes = bytes;
    page->span.slot_bytes = cls == LARGE ? 0 : 16u << cls;
    page->cls = cls;
    enter(box, page->base, bytes, page);
    return page;
}

/* Unmap a page that has no live slots and is in no list. Returns its bytes. */
static size_t page_release(struct hak_box *box, struct page *page)
{
    struct lanes *s = box->state;
    size_t bytes = page->bytes;
    __atomic_fetch_add(&s->retired, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&page->span.owner, NULL, __ATOMIC_RELAXED);
    enter(box, page->base, bytes, NULL);
    box->host->unmap(box, page->base, bytes);
    page_spare(box, page);
    return bytes;
}

/*
 * Move the slots that other threads freed to span.local. Call it as the owner
 * of the page, or, if it has none, with the lock that guards it or once it is
 * out of every list.
 */
static void collect(struct page *page)
{
    void *list = __atomic_exchange_n(&page->remote, NULL, __ATOMIC_ACQUIRE);
    uint32_t n = 0;
    for (void *p = list, *next; p; p = next, n++) {
        next = next_slot(page, p);
        link_slot(page, p, page->span.local);
        page->span.local = p;
    }
    page->span.nfree += n;
    __atomic_fetch_sub(&page->remote_count, n, __ATOMIC_RELAXED);
}

static bool page_empty(const struct page *page)
{
    return page->span.nalloc == page->span.nfree;
}

/* ---- heaps ------------------------------------------------------------- */

/* Take the page out of the lanes. From then on triggered() is called when the
 * page becomes empty. */
static void leave_lanes(struct hak_box *box, struct page *page)
{
    if (box->lanes)
        box->host->lane_drop(&page->span);
    page->span.trigger = page->span.nalloc;
}

/* Put the page at the front of its list in the heap. Lanes may take from it. */
static void heap_add(struct hak_box *box, struct heap *heap, struct page *page)
{
    struct page **first = &heap->pages[page->cls];
    if (*first)
        leave_lanes(box, *first);
    page->heap = heap;
    page->next = *first;
    *first = page;
    __atomic_store_n(&page->span.owner, heap->thread, __ATOMIC_RELAXED);
}

static struct page *page_fresh(struct hak_box *box, struct heap *heap,
                               uint32_t cls)
{
    uint32_t size = 16u << cls;
    size_t bytes = size > HAK_GRANULE_BYTES ? size : HAK_GRANULE_BYTES;
    struct page *page = page_map(box, bytes, cls);
    if (!page)
        return NULL;
    page->span.local = NULL;
    for (char *at = page->base + bytes; at > page->base;) {
        at -= size;
        link_slot(page, at, page->span.local);
        page->span.local = at;
    }
    if (box->host->span_set(box, &page->span, page->base, page->bytes) != 0) {
        page_release(box, page);
        return NULL;
    }
    heap_add(box, heap, page);
    return page;
}

/* Adopt orphans into the heap until one of them has a free slot, and return
 * that one. NULL: none of ADOPT_MOST orphans has. */
static struct page *page_adopt(struct hak_box *box, struct heap *heap,
                               uint32_t cls)
{
    struct lanes *s = box->state;
    for (int i = 0; i < ADOPT_MOST; i++) {
        lock(&s->locked);
        struct page *page = s->orphans[cls];
        if (page)
            s->orphans[cls] = page->next;
        unlock(&s->locked);
        if (!page)
            return NULL;
        __atomic_fetch_add(&s->adopted, 1, __ATOMIC_RELAXED);
        collect(page);
        heap_add(box, heap, page);
        if (page->span.local)
            return page;
    }
    return NULL;
}

static struct page *page_with_free(struct hak_box *box, struct heap *heap,
                                   uint32_t cls)
{
    struct page *page;
    for (struct page **at = &heap->pages[cls]; (page = *at); at = &page->next) {
        collect(page);
        if (!page->span.local)
            continue;
        if (page != heap->pages[cls]) {
            *at = page->next;
            heap_add(box, heap, page);
        }
        return page;
    }
    page = page_adopt(box, heap, cls);
    return page ? page : page_fresh(box, heap, cls);
}

static uint32_t class_of(size_t size_bytes)
{
    uint32_t cls = 0;
    while ((size_t)16 << cls < size_bytes)
        cls++;
    return cls;
}

/* Unmap the empty pages of a list and move the others to *kept. Returns the
 * bytes unmapped. */
static size_t sift(struct hak_box *box, struct page *page, struct page **kept)
{
    size_t bytes = 0;
    for (struct page *next; page; page = next) {
        next = page->next;
        collect(page);
        leave_lanes(box, page);
        if (page_empty(page)) {
            bytes += page_release(box, page);
        } else {
            page->next = *kept;
            *kept = page;
        }
    }
    return bytes;
}

/* ---- operations: thread heaps ------------------------------------------ */

static void *lanes_heap_open(struct hak_box *box, struct hak_thread *thread)
{
    struct lanes *s = box->state;
    lock(&s->locked);
    struct heap *heap = s->spare_heaps;
    if (heap)
        s->spare_heaps = heap->next;
    unlock(&s->locked);
    if (!heap)
        heap = box->host->meta(box, sizeof *heap);
    if (heap)
        heap->thread = thread;
    return heap;
}

static void lanes_heap_close(struct hak_box *box, void *h)
{
    struct lanes *s = box->state;
    struct heap *heap = h;
    for (uint32_t c = 0; c < CLASSES; c++) {
        struct page *left = NULL;
        sift(box, heap->pages[c], &left);
        heap->pages[c] = NULL;
        for (struct page *page = left, *next; page; page = next) {
            next = page->next;
            page->heap = NULL;
            __atomic_store_n(&page->span.owner, NULL, __ATOMIC_RELAXED);
            lock(&s->locked);
            page->next = s->orphans[c];
            s->orphans[c] = page;
            unlock(&s->locked);
        }
    }
    lock(&s->locked);
    heap->next = s->spare_heaps;
    s->spare_heaps = heap;
    unlock(&s->locked);
}

static struct hak_span *lanes_refill(struct hak_box *box, void *heap,
                                     size_t size_bytes)
{
    struct page *page = page_with_free(box, heap, class_of(size_bytes));
    if (!page)
        return NULL;
    /* leave_lanes() sets it when the page leaves the lanes. */
    page->span.trigger = HAK_TRIGGER_NEVER;
    return &page->span;
}

/* If all slots are free, unmap the page, except if lanes may take from it. */
static void lanes_triggered(struct hak_span *span)
{
    struct page *page = (struct page *)span;
    struct page **at = &page->heap->pages[page->cls];
    if (*at == page || !page_empty(page)) {
        span->trigger = HAK_TRIGGER_NEVER;
        return;
    }
    while (*at != page)
        at = &(*at)->next;
    *at = page->next;
    page_release(span->box, page);
}

static void lanes_remote_free(struct hak_span *span, void *p)
{
    struct page *page = (struct page *)span;
    void *head = __atomic_load_n(&page->remote, __ATOMIC_RELAXED);
    do
        link_slot(page, p, head);
    while (!__atomic_compare_exchange_n(&page->remote, &head, p, true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    __atomic_fetch_add(&page->remote_count, 1, __ATOMIC_RELAXED);
}

/* ---- operations: any thread -------------------------------------------- */

static size_t lanes_slot_size(struct hak_box *box, size_t size_bytes)
{
    (void)box;
    if (size_bytes > HAK_LANE_MAX_BYTES)
        return (size_bytes + HAK_GRANULE_BYTES - 1) & ~(HAK_GRANULE_BYTES - 1);
    return (size_t)16 << class_of(size_bytes);
}

static void *lanes_alloc(struct hak_box *box, size_t size_bytes)
{
    struct lanes *s = box->state;
    if (size_bytes > HAK_LANE_MAX_BYTES) {
        struct page *large =
            page_map(box, lanes_slot_size(box, size_bytes), LARGE);
        return large ? large->base : NULL;
    }
    lock(&s->shared_locked);
    struct page *page = page_with_free(box, &s->shared, class_of(size_bytes));
    void *p = page ? page->span.local : NULL;
    if (p) {
        page->span.local = next_slot(page, p);
        ((uintptr_t *)p)[1] = 0;
        page->span.nalloc++;
    }
    unlock(&s->shared_locked);
    return p;
}

static void lanes_free(struct hak_box *box, void *p)
{
    struct page *page = page_at(box, p);
    if (page->cls == LARGE)
        page_release(box, page);
    else
        lanes_remote_free(&page->span, p);
}

static bool lanes_owns(struct hak_box *box, const void *p)
{
    return page_of(box, p) != NULL;
}

static size_t lanes_usable_size(struct hak_box *box, const void *p)
{
    const struct page *page = page_at(box, p);
    return page->cls == LARGE ? page->bytes : page->span.slot_bytes;
}

static int lanes_init(struct hak_box *box)
{
    size_t granules = box->host->window_bytes >> HAK_GRANULE_SHIFT;
    box->state = box->host->meta(box, sizeof(struct lanes) +
                                          granules * sizeof(struct page *));
    if (box->state)
        return 0;
    box->host->log(box, HAK_LOG_ERROR, "no memory for the page table");
    return -ENOMEM;
}

static void lanes_fork(struct hak_box *box, enum hak_fork_phase phase)
{
    struct lanes *s = box->state;
    if (phase == HAK_FORK_PREPARE) {
        lock(&s->shared_locked);
        lock(&s->locked);
    } else {
        unlock(&s->locked);
        unlock(&s->shared_locked);
    }
}

static size_t trim_heap(struct hak_box *box, struct heap *heap)
{
    size_t bytes = 0;
    for (uint32_t c = 0; heap && c < CLASSES; c++) {
        struct page *kept = NULL;
        bytes += sift(box, heap->pages[c], &kept);
        heap->pages[c] = kept;
    }
    return bytes;
}

static size_t lanes_trim(struct hak_box *box)
{
    struct lanes *s = box->state;
    size_t bytes = trim_heap(box, box->host->heap(box, false));
    lock(&s->shared_locked);
    bytes += trim_heap(box, &s->shared);
    for (uint32_t c = 0; c < CLASSES; c++) {
        struct page *kept = NULL, *next;
        lock(&s->locked);
        struct page *orphans = s->orphans[c];
        s->orphans[c] = NULL;
        unlock(&s->locked);
        bytes += sift(box, orphans, &kept);
        lock(&s->locked);
        for (; kept; kept = next) {
            next = kept->next;
            kept->next = s->orphans[c];
            s->orphans[c] = kept;
        }
        unlock(&s->locked);
    }
    unlock(&s->shared_locked);
    return bytes;
}

/* ---- figures ----------------------------------------------------------- */

/* Set bit i of marks for each free slot i of a page, and clear the others. */
static void mark_free(struct page *page, uint64_t *marks)
{
    void *lists[] = {page->span.local,
                     __atomic_load_n(&page->remote, __ATOMIC_ACQUIRE)};
    size_t size = page->span.slot_bytes, n = page->bytes / size;
    for (size_t i = 0; i < n / 64 + 1; i++)
        marks[i] = 0;
    for (size_t l = 0; l < 2; l++)
        for (char *p = lists[l]; p; p = next_slot(page, p)) {
            size_t i = (size_t)(p - page->base) / size;
            marks[i / 64] |= 1ull << (i % 64);
        }
}

/* The head of the list of all struct pages, which are never freed. */
static struct page *pages_ever(struct hak_box *box)
{
    struct lanes *s = box->state;
    return __atomic_load_n(&s->newest, __ATOMIC_ACQUIRE);
}

/* Other threads change the counters meanwhile, so figures may lag behind. The
 * walk is safe, because struct pages are never freed. */
static void lanes_stats(struct hak_box *box, struct hak_box_stats *out)
{
    struct lanes *s = box->state;
    *out = (struct hak_box_stats){.retired_pages = s->retired,
                                  .adopted_pages = s->adopted};
    for (struct page *p = pages_ever(box); p; p = p->made_before) {
        size_t size = p->cls == LARGE ? p->bytes : p->span.slot_bytes;
        size_t n = p->cls == LARGE
                       ? 1
                       : p->span.nalloc - p->span.nfree - p->remote_count;
        if (box->lanes) {
            out->allocs += p->span.nalloc;
            out->frees += p->span.nfree + p->remote_count;
        }
        if (p->cls == NO_CLASS)
            continue;
        out->live_count += n;
        out->live_bytes += n * size;
        out->cached_bytes += p->bytes - n * size;
    }
}

static void lanes_visit_slots(struct hak_box *box, hak_visit *visit,
                              void *context)
{
    uint64_t marks[HAK_GRANULE_BYTES / 16 / 64 + 1];
    for (struct page *p = pages_ever(box); p; p = p->made_before) {
        if (p->cls == NO_CLASS)
            continue;
        size_t size = p->cls == LARGE ? p->bytes : p->span.slot_bytes;
        if (p->cls == LARGE)
            marks[0] = 0;
        else
            mark_free(p, marks);
        for (size_t i = 0; i < p->bytes / size; i++)
            if (!(marks[i / 64] >> (i % 64) & 1) &&
                !visit(context, p->base + i * size, size))
                return;
    }
}

#ifndef LANES_NO_ENTRY /* whole.h includes this file without the entry */
HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("lanes", "1.0"),
    .summary = "the smallest box with lanes and thread heaps",
    .ops = {.alloc = lanes_alloc,
            .free = lanes_free,
            .owns = lanes_owns,
            .init = lanes_init,
            .usable_size = lanes_usable_size,
            .slot_size = lanes_slot_size,
            .heap_open = lanes_heap_open,
            .heap_close = lanes_heap_close,
            .refill = lanes_refill,
            .triggered = lanes_triggered,
            .remote_free = lanes_remote_free,
            .fork = lanes_fork,
            .trim = lanes_trim,
            .stats = lanes_stats,
            .visit_slots = lanes_visit_slots},
};
#endif
