/* SPDX-License-Identifier: MIT
 * pages.c - pages made of spans, and when they go back.
 */
#include "midmt.h"

enum {
    /* As many as one class has live in most working sets: slots are then
     * reused last in, first out, in one page. `make bench
     * BENCH="random, 1..8"`, 10000 blocks: 34 ns with 32, 26 with 64, 23 with
     * 128, 22 with 256. */
    PAGE_SLOTS_MIN = 128,
    TAIL_DIVISOR = 16, /* 6.25 %; what no slot covers is never touched */
};

uint32_t midmt_page_granules(uint32_t slot_bytes)
{
    uint32_t least = slot_bytes * PAGE_SLOTS_MIN >> HAK_GRANULE_SHIFT;
    uint32_t n = least > 1 ? least : 1;
    for (; n < SEGMENT_RUN_MAX; n++) {
        uint32_t bytes = n << HAK_GRANULE_SHIFT;
        if (bytes / slot_bytes >= PAGE_SLOTS_MIN &&
            bytes % slot_bytes <= bytes / TAIL_DIVISOR)
            break;
    }
    return n < SEGMENT_RUN_MAX ? n : SEGMENT_RUN_MAX;
}

static struct midmt *midmt_of_heap(const struct hak_heap *heap)
{
    return hak_container_of(heap->all, struct midmt, heaps);
}

static uint32_t page_granules(const struct hak_heap *heap,
                              const struct hak_page *page)
{
    return midmt_of_heap(heap)->ngranules[page->class_number];
}

static size_t page_bytes(const struct hak_heap *heap,
                         const struct hak_page *page)
{
    return (size_t)page_granules(heap, page) << HAK_GRANULE_SHIFT;
}

/* ---- spans ------------------------------------------------------------- */

static void set_pages(struct segment *s, uint32_t first, uint32_t n,
                      struct hak_page *page)
{
    for (uint32_t g = first; g < first + n; g++)
        __atomic_store_n(&s->page[g], page, __ATOMIC_RELEASE);
}

/* The page's span goes back; the struct stays the caller's. */
static void give_span(struct hak_heap *heap, struct hak_page *page)
{
    struct midmt *m = midmt_of_heap(heap);
    struct midmt_heap *own = heap->own;
    struct segment *s = page->source;
    uint32_t first = segment_granule(s, page->start);
    uint32_t n = page_granules(heap, page);
    uint32_t nwritten =
        (uint32_t)(hak_round_up(hak_page_used_bytes(page), HAK_GRANULE_BYTES) >>
                   HAK_GRANULE_SHIFT);
    set_pages(s, first, n, NULL);
    segment_touched(s, segment_mask(first, n), segment_mask(first, nwritten));
    pool_put(&m->segments, &own->pool, s, segment_mask(first, n));
}

static struct hak_page *fresh_page(struct hak_heap *heap, uint32_t class_number)
{
    struct midmt *m = midmt_of_heap(heap);
    struct midmt_heap *own = heap->own;
    uint32_t n = m->ngranules[class_number];
    size_t size_bytes = (size_t)n << HAK_GRANULE_SHIFT;
    struct hak_page *page = hak_heap_page(heap);
    if (page == NULL)
        return NULL;
    struct span_at at = pool_take(&m->segments, &own->pool, n);
    if (at.segment == NULL) {
        hak_heap_spare(heap, page);
        return NULL;
    }
    hak_page_init(page, segment_at(at.segment, at.first), size_bytes,
                  midmt_slot_bytes(class_number), class_number);
    page->source = at.segment;
    set_pages(at.segment, at.first, n, page);
    hak_heap_enter(heap, page, size_bytes);
    return page;
}

struct hak_page *midmt_page_get(struct hak_heap *heap, uint32_t class_number)
{
    midmt_tick(heap);
    return fresh_page(heap, class_number);
}

void midmt_page_put(struct hak_heap *heap, struct hak_page *page)
{
    struct hak_box *box = heap->all->box;
    box->host->span_set(box, NULL, hak_page_memory(page),
                        page_bytes(heap, page));
    give_span(heap, page);
    hak_heap_spare(heap, page);
    midmt_tick(heap);
}

/* ---- heaps ------------------------------------------------------------- */

void midmt_own_init(void *own)
{
    struct midmt_heap *new = own;
    pool_init(&new->pool);
}

/*
 * Its segments become shared first: what hak_heap_close retires, and what
 * other heaps retire of it later, then finds no pool of a thread that ended.
 */
void midmt_own_close(struct hak_heap *heap)
{
    struct midmt_heap *own = heap->own;
    pool_close(&midmt_of_heap(heap)->segments, &own->pool);
}

/*
 * Twice in a purge delay: per heap what it alone may touch (the kit ages the
 * empty pages that bins keep); per box, by whoever comes first, the free
 * granules of all segments.
 */
void midmt_tick(struct hak_heap *heap)
{
    struct midmt_heap *own = heap->own;
    const struct hak_host *host = heap->all->box->host;
    struct segments *segments = &midmt_of_heap(heap)->segments;
    if (heap->thread == NULL) /* an orphan: others see to its segments */
        return;
    uint64_t now_ms = host->now_ms(), delay_ms = host->purge_delay_ms();
    uint64_t next_ms = now_ms + hak_max(delay_ms / 2, 1);
    if (!hak_is_due(&own->next_tick_ms, now_ms, next_ms))
        return;
    hak_heap_close_bins(heap, false);
    pool_age(segments, &own->pool, now_ms > delay_ms ? now_ms - delay_ms : 0);
    if (hak_is_due(&segments->next_tick_ms, now_ms, next_ms))
        segments_age(segments, &own->pool);
}

void midmt_heap_trim(struct hak_heap *heap)
{
    struct midmt_heap *own = heap->own;
    struct segments *segments = &midmt_of_heap(heap)->segments;
    hak_count_shared(&segments->given_bytes,
                     (int64_t)hak_heap_trim(heap, true));
    pool_age(segments, &own->pool, UINT64_MAX);
}

/* ---- checks ------------------------------------------------------------ */

static void check_kept(const struct hak_heap *heap)
{
    uint64_t kept_bytes = 0;
    for (uint32_t c = 0; c < MIDMT_CLASSES; c++) {
        uint32_t n = 0;
        const struct hak_page *page = heap->bin[c].kept;
        for (; page != NULL; page = page->pending_next, n++) {
            HAK_ALWAYS(page->state == HAK_PAGE_KEPT);
            HAK_ALWAYS(page->class_number == c);
            HAK_ALWAYS(hak_page_out(page) == 0);
            kept_bytes += hak_page_used_bytes(page);
        }
        HAK_ALWAYS(n == heap->bin[c].nkept);
        HAK_ALWAYS(heap->bin[c].low <= n);
    }
    HAK_ALWAYS(kept_bytes == heap->kept_bytes);
}

void midmt_check(const struct midmt *m)
{
    segments_check(&m->segments);
    for (const struct hak_heap *h = m->heaps.all_heaps; h != NULL;
         h = h->all_next) {
        const struct midmt_heap *own = h->own;
        pool_check(&own->pool);
        check_kept(h);
    }
    for (const struct hak_page *page = m->heaps.all_pages; page != NULL;
         page = page->all_next)
        if (page->state != HAK_PAGE_FREE)
            hak_page_check(page);
}
