/* SPDX-License-Identifier: MIT
 * segment.c - takes pages from shared segments, gives them back, ages them.
 */
#include "segment.h"

#include <kit/bits.h>

#include <errno.h>

int segments_init(struct segments *s, struct hak_box *box)
{
    const struct hak_host *host = box->host;
    s->box = box;
    s->base = host->window_base & ~(SEGMENT_BYTES - 1);
    s->nregions = (host->window_base - s->base + host->window_bytes +
                   SEGMENT_BYTES - 1) >>
                  SEGMENT_SHIFT;
    s->region = host->meta(box, s->nregions * sizeof *s->region);
    for (uint32_t n = 0; n <= SEGMENT_PAGES; n++)
        hak_link_init(&s->bin[n]);
    return s->region != NULL ? 0 : -ENOMEM;
}

/* ---- under the lock ---------------------------------------------------- */

static void unbin(struct segments *s, struct segment *segment)
{
    uint32_t n = segment->nfree;
    if (!hak_link_in_list(&segment->link))
        return;
    hak_link_remove(&segment->link);
    if (hak_link_empty(&s->bin[n]))
        s->bins &= ~(1ull << n);
    s->nempty -= n == SEGMENT_PAGES;
}

/* Full ones are in no bin. */
static void rebin(struct segments *s, struct segment *segment)
{
    uint32_t n = segment->nfree;
    if (n == 0)
        return;
    hak_link_after(&s->bin[n], &segment->link);
    s->bins |= 1ull << n;
    s->nempty += n == SEGMENT_PAGES;
}

static void clear_dirty(struct segments *s, struct segment *segment,
                        uint32_t pages)
{
    s->ndirty -= (uint64_t)__builtin_popcount(segment->dirty & pages);
    segment->dirty &= ~pages;
    segment->old &= ~pages;
}

static struct segment_page *pop(struct segments *s)
{
    if (s->bins == 0)
        return NULL;
    struct hak_link *bin = &s->bin[__builtin_ctzll(s->bins)];
    struct segment *segment = hak_item(bin->next, struct segment, link);
    unbin(s, segment);
    uint32_t i = segment->stack[--segment->nfree];
    rebin(s, segment);
    clear_dirty(s, segment, 1u << i);
    return &segment->page[i];
}

/* The segment leaves the table; its memory, then the caller's, is returned. */
static void *detach(struct segments *s, struct segment *segment)
{
    uintptr_t base = segment->base;
    unbin(s, segment);
    clear_dirty(s, segment, UINT32_MAX);
    segment->nfree = 0;
    __atomic_store_n(&s->region[(base - s->base) >> SEGMENT_SHIFT], NULL,
                     __ATOMIC_RELEASE);
    __atomic_store_n(&segment->base, 0, __ATOMIC_RELAXED);
    segment->spare_next = s->spares;
    s->spares = segment;
    return (void *)base;
}

/* Pages of the segment came back. Memory to unmap, or NULL. */
static void *came_back(struct segments *s, struct segment *segment,
                       uint64_t now_ms)
{
    rebin(s, segment);
    if (segment->nfree < SEGMENT_PAGES)
        return NULL;
    segment->empty_since_ms = now_ms;
    return s->nempty > __atomic_load_n(&s->keep, __ATOMIC_RELAXED)
               ? detach(s, segment)
               : NULL;
}

/* ---- a segment more ---------------------------------------------------- */

static struct segment *spare_struct(struct segments *s)
{
    hak_lock_take(&s->lock);
    struct segment *segment = s->spares;
    if (segment != NULL)
        s->spares = segment->spare_next;
    hak_lock_drop(&s->lock);
    if (segment != NULL)
        return segment;
    segment = s->box->host->meta(s->box, sizeof *segment);
    if (segment == NULL)
        return NULL;
    segment->magic = SEGMENT_MAGIC;
    segment->box = s->box;
    for (uint32_t i = 0; i < SEGMENT_PAGES; i++)
        segment->page[i].segment = segment;
    hak_lock_take(&s->lock);
    segment->all_next = s->all;
    __atomic_store_n(&s->all, segment, __ATOMIC_RELEASE);
    hak_lock_drop(&s->lock);
    return segment;
}

/* The lock is held. */
static void attach(struct segments *s, struct segment *segment, uintptr_t base)
{
    segment->nfree = SEGMENT_PAGES;
    for (uint32_t i = 0; i < SEGMENT_PAGES; i++) /* the lowest on top */
        segment->stack[i] = (uint8_t)(SEGMENT_PAGES - 1 - i);
    __atomic_store_n(&segment->base, base, __ATOMIC_RELAXED);
    __atomic_store_n(&s->region[(base - s->base) >> SEGMENT_SHIFT], segment,
                     __ATOMIC_RELEASE);
    rebin(s, segment);
}

static void unmap(struct segments *s, void *base)
{
    if (base != NULL)
        s->box->host->unmap(s->box, base, SEGMENT_BYTES);
}

/*
 * With no lock held while it maps: threads that start at once would have a
 * segment each, so whoever finds that another was faster gives his back.
 */
static struct segment_page *take_fresh(struct segments *s)
{
    struct segment *segment = spare_struct(s);
    if (segment == NULL)
        return NULL;
    void *base = s->box->host->map(s->box, SEGMENT_BYTES, SEGMENT_BYTES, 0);
    hak_lock_take(&s->lock);
    struct segment_page *entry = pop(s);
    if (entry == NULL && base != NULL) {
        attach(s, segment, (uintptr_t)base);
        base = NULL;
        entry = pop(s);
    } else {
        segment->spare_next = s->spares;
        s->spares = segment;
    }
    hak_lock_drop(&s->lock);
    unmap(s, base);
    return entry;
}

struct segment_page *segments_take(struct segments *s)
{
    hak_lock_take(&s->lock);
    struct segment_page *entry = pop(s);
    hak_lock_drop(&s->lock);
    return entry != NULL ? entry : take_fresh(s);
}

void segments_put(struct segments *s, struct segment_page *entry, bool written)
{
    struct segment *segment = entry->segment;
    uint32_t i = (uint32_t)(entry - segment->page);
    uint64_t now_ms = s->box->host->now_ms();
    hak_lock_take(&s->lock);
    unbin(s, segment);
    segment->stack[segment->nfree++] = (uint8_t)i;
    segment->dirty |= (uint32_t)written << i;
    s->ndirty += written;
    void *base = came_back(s, segment, now_ms);
    hak_lock_drop(&s->lock);
    unmap(s, base);
}

/* ---- aging ------------------------------------------------------------- */

/* Take dirty pages out, so that they can be purged without the lock. */
static uint32_t pull(struct segments *s, struct segment *segment, bool all)
{
    uint8_t n = 0;
    hak_lock_take(&s->lock);
    /* an empty one goes as a whole */
    uint32_t pages = segment->nfree == SEGMENT_PAGES ? 0 : segment->dirty;
    pages &= all ? UINT32_MAX : segment->old;
    if (pages != 0) {
        unbin(s, segment);
        for (uint32_t k = 0; k < segment->nfree; k++)
            if (!(pages >> segment->stack[k] & 1))
                segment->stack[n++] = segment->stack[k];
        segment->nfree = n;
        rebin(s, segment);
        clear_dirty(s, segment, pages);
    }
    segment->old = segment->dirty;
    hak_lock_drop(&s->lock);
    return pages;
}

/* Put them at the bottom: what is in memory still is taken first. */
static void push_purged(struct segments *s, struct segment *segment,
                        uint32_t pages)
{
    uint8_t n = (uint8_t)__builtin_popcount(pages);
    uint64_t now_ms = s->box->host->now_ms();
    hak_lock_take(&s->lock);
    unbin(s, segment);
    memmove(segment->stack + n, segment->stack, segment->nfree);
    for (uint8_t k = 0; k < n; k++, pages &= pages - 1)
        segment->stack[k] = (uint8_t)__builtin_ctz(pages);
    segment->nfree = (uint8_t)(segment->nfree + n);
    void *base = came_back(s, segment, now_ms);
    hak_lock_drop(&s->lock);
    unmap(s, base);
}

/* Returns how many pages were purged. */
static uint32_t purge(struct segments *s, struct segment *segment, bool all)
{
    uint32_t pages = pull(s, segment, all);
    if (pages == 0)
        return 0;
    uint64_t map = pages;
    size_t from = hak_bits_next(&map, 0, 0, SEGMENT_PAGES);
    while (from < SEGMENT_PAGES) {
        size_t end = hak_bits_next(&map, ~0ull, from, SEGMENT_PAGES);
        s->box->host->purge(s->box, segment_page_at(&segment->page[from]),
                            (end - from) << HAK_GRANULE_SHIFT);
        from = hak_bits_next(&map, 0, end, SEGMENT_PAGES);
    }
    push_purged(s, segment, pages);
    return (uint32_t)__builtin_popcount(pages);
}

static uint64_t purge_all(struct segments *s, bool all)
{
    uint64_t npages = 0;
    struct segment *segment = __atomic_load_n(&s->all, __ATOMIC_ACQUIRE);
    for (; segment != NULL; segment = segment->all_next)
        npages += purge(s, segment, all);
    return npages;
}

/* Unmap segments that are empty since `since_ms` or longer. Returns bytes. */
static size_t drop_empty(struct segments *s, uint64_t since_ms)
{
    for (size_t bytes = 0;; bytes += SEGMENT_BYTES) {
        void *base = NULL;
        struct hak_link *bin = &s->bin[SEGMENT_PAGES];
        hak_lock_take(&s->lock);
        struct segment *last = hak_item(bin->prev, struct segment, link);
        if (!hak_link_empty(bin) && last->empty_since_ms <= since_ms)
            base = detach(s, last);
        hak_lock_drop(&s->lock);
        if (base == NULL)
            return bytes;
        unmap(s, base);
    }
}

void segments_tick(struct segments *s)
{
    const struct hak_host *host = s->box->host;
    uint64_t now_ms = host->now_ms(), delay_ms = host->purge_delay_ms();
    if (!hak_is_due(&s->next_tick_ms, now_ms,
                    now_ms + hak_max(delay_ms / 2, 1)))
        return;
    purge_all(s, false);
    if (now_ms >= delay_ms)
        drop_empty(s, now_ms - delay_ms);
}

size_t segments_trim(struct segments *s)
{
    size_t bytes = drop_empty(s, UINT64_MAX);
    return bytes + (purge_all(s, true) << HAK_GRANULE_SHIFT);
}

uint64_t segments_cached(struct segments *s)
{
    hak_lock_take(&s->lock);
    uint64_t ndirty = s->ndirty;
    hak_lock_drop(&s->lock);
    return ndirty << HAK_GRANULE_SHIFT;
}

/* ---- checks ------------------------------------------------------------ */

static void segment_check(const struct segments *s,
                          const struct segment *segment)
{
    uint32_t free_pages = 0;
    HAK_ALWAYS(segment->magic == SEGMENT_MAGIC && segment->box == s->box);
    HAK_ALWAYS(hak_link_in_list(&segment->link) == (segment->nfree != 0));
    HAK_ALWAYS(segment->nfree <= SEGMENT_PAGES);
    for (uint32_t k = 0; k < segment->nfree; k++) {
        uint32_t i = segment->stack[k];
        HAK_ALWAYS(i < SEGMENT_PAGES && !(free_pages >> i & 1));
        free_pages |= 1u << i;
    }
    HAK_ALWAYS((segment->dirty & ~free_pages) == 0);
    HAK_ALWAYS((segment->old & ~segment->dirty) == 0);
    if (segment->base == 0)
        return;
    size_t region = (segment->base - s->base) >> SEGMENT_SHIFT;
    HAK_ALWAYS(segment->base % SEGMENT_BYTES == 0);
    HAK_ALWAYS(region < s->nregions && s->region[region] == segment);
    for (uint32_t i = 0; i < SEGMENT_PAGES; i++) {
        const struct segment_page *entry = &segment->page[i];
        HAK_ALWAYS((free_pages >> i & 1) == (entry->page == NULL));
        HAK_ALWAYS(entry->page == NULL || entry->page->source == entry);
    }
}

void segments_check(const struct segments *s)
{
    uint64_t ndirty = 0, bins = 0;
    uint32_t nempty = 0;
    for (const struct segment *segment = s->all; segment != NULL;
         segment = segment->all_next) {
        segment_check(s, segment);
        ndirty += (uint64_t)__builtin_popcount(segment->dirty);
        nempty += segment->nfree == SEGMENT_PAGES;
        bins |= segment->nfree != 0 ? 1ull << segment->nfree : 0;
    }
    HAK_ALWAYS(ndirty == s->ndirty && nempty == s->nempty);
    HAK_ALWAYS(bins == s->bins);
}
