/* SPDX-License-Identifier: MIT
 * ultra.c - the hottest box: pages of one slot size, 16..1024 bytes.
 *
 * Slot sizes are the core's size index itself, every multiple of 16, so a
 * request loses at most 15 bytes. A page is one granule, two or four
 * for slots of more than 256 and 512 bytes, taken from the host one at a time.
 * The rest is the kit's page and heap.
 */
#include <boxkit/lost.h>
#include <boxkit/map.h>

#include <errno.h>

enum {
    CLASSES = HAK_INDEX_SMALL_MAX, /* class = index - 1 */
    PARAM_WARM = 0,
    PARAM_CARVE,
    PARAM_COMMON,
};

static const struct hak_param params[] = {
    {.name = "warm",
     .type = HAK_PARAM_SIZE,
     .min = 0,
     .max = 1 << 30,
     .def = 2 << 20,
     .help = "most bytes of empty pages that a thread keeps as they are"},
    {.name = "carve",
     .type = HAK_PARAM_SIZE,
     .min = 16,
     .max = 65536,
     .def = 4096,
     .help = "bytes of a fresh page cut to slots at a time"},
    {.name = "common",
     .type = HAK_PARAM_SIZE,
     .min = 0,
     .max = 65536,
     .def = HAK_COMMON_BYTES,
     .help = "bytes of a size that each of many threads has of shared pages"},
};

struct ultra {
    struct hak_heaps heaps;
    struct hak_map pages; /* granule -> page: owns() and slow frees */
    uint64_t given_bytes; /* back to the host, ever */
};

static struct ultra *ultra_of(struct hak_box *box)
{
    return box->state;
}

static struct ultra *ultra_of_heap(struct hak_heap *heap)
{
    return hak_container_of(heap->all, struct ultra, heaps);
}

static uint32_t class_of(size_t size_bytes)
{
    return size_bytes == 0 ? 0 : hak_index_of(size_bytes) - 1;
}

static uint32_t slot_bytes_of(uint32_t class_number)
{
    return (class_number + 1) * HAK_ALIGN_BYTES;
}

/* ---- pages ---- */

/* About 256 slots or more: with more in a page, malloc changes pages less
 * often. `make bench BENCH="random, 16..1024"`, 10000 and 100000 blocks: 15 and
 * 11 % less time than with 64 slots, 4 % more memory at most. */
static uint32_t granules_of(uint32_t slot_bytes)
{
    return slot_bytes > 512 ? 4 : slot_bytes > 256 ? 2 : 1;
}

static size_t page_bytes(const struct hak_page *page)
{
    return granules_of(page->span.slot_bytes) * HAK_GRANULE_BYTES;
}

static struct hak_page *fresh_page(struct hak_heap *heap, uint32_t slot_bytes)
{
    struct ultra *u = ultra_of_heap(heap);
    struct hak_box *box = heap->all->box;
    size_t bytes = granules_of(slot_bytes) * HAK_GRANULE_BYTES;
    struct hak_page *page = hak_heap_page(heap);
    if (page == NULL)
        return NULL;
    page->start = box->host->map(box, bytes, 0, 0);
    if (page->start == NULL) {
        hak_heap_spare(heap, page);
        return NULL;
    }
    hak_map_set(&u->pages, page->start, bytes, page);
    int error = box->host->span_set(box, &page->span, page->start, bytes);
    HAK_ALWAYS(error == 0); /* the range came from map just now */
    return page;
}

static void page_put(struct hak_heap *heap, struct hak_page *page)
{
    struct hak_box *box = heap->all->box;
    size_t bytes = page_bytes(page);
    char *memory = hak_page_memory(page);
    hak_map_set(&ultra_of_heap(heap)->pages, memory, bytes, NULL);
    box->host->unmap(box, memory, bytes);
    hak_count_shared(&ultra_of_heap(heap)->given_bytes, (int64_t)bytes);
    hak_heap_spare(heap, page);
}

static struct hak_page *page_get(struct hak_heap *heap, uint32_t class_number)
{
    uint32_t slot_bytes = slot_bytes_of(class_number);
    struct hak_page *page = fresh_page(heap, slot_bytes);
    if (page == NULL)
        return NULL;
    hak_page_init(page, hak_page_memory(page),
                  granules_of(slot_bytes) * HAK_GRANULE_BYTES, slot_bytes,
                  class_number);
    __atomic_store_n(&page->heap, heap, __ATOMIC_RELAXED);
    __atomic_store_n(&page->span.owner, heap->thread, __ATOMIC_RELAXED);
    return page;
}

/* ---- operations ---- */

static const struct hak_heaps_ops heaps_ops = {
    .page_get = page_get,
    .page_put = page_put,
};

static int ultra_init(struct hak_box *box)
{
    struct ultra *u = box->host->meta(box, sizeof *u);
    if (u == NULL || !hak_map_init(&u->pages, box)) {
        box->host->log(box, HAK_LOG_ERROR, "no memory for the page table");
        return -ENOMEM;
    }
    u->heaps = (struct hak_heaps){
        .box = box,
        .nclasses = CLASSES,
        .carve_bytes = (uint32_t)box->params[PARAM_CARVE].i,
        .full_divisor = 32,
        .keep_bytes = (size_t)box->params[PARAM_WARM].i,
        .common_bytes = (uint32_t)box->params[PARAM_COMMON].i,
        .ops = &heaps_ops,
    };
    box->state = u;
    return 0;
}

static void *ultra_heap_open(struct hak_box *box, struct hak_thread *thread)
{
    return hak_heap_open(&ultra_of(box)->heaps, thread);
}

static void ultra_heap_close(struct hak_box *box, void *heap)
{
    (void)box;
    hak_heap_close(heap);
}

static void ultra_heap_park(struct hak_box *box, void *heap)
{
    (void)box;
    hak_heap_park(heap);
}

static struct hak_span *ultra_refill(struct hak_box *box, void *heap,
                                     size_t size_bytes)
{
    (void)box;
    if (unlikely(size_bytes > HAK_SMALL_MAX_BYTES))
        return NULL;
    return hak_heap_refill(heap, class_of(size_bytes));
}

static void *ultra_alloc(struct hak_box *box, size_t size_bytes)
{
    if (size_bytes > HAK_SMALL_MAX_BYTES)
        return NULL;
    struct hak_heap *heap = box->host->heap(box, true);
    return heap == NULL ? NULL : hak_heap_alloc(heap, class_of(size_bytes));
}

/* Slots of a multiple of align are aligned (HAK_PAGE_COLOR). */
static void *ultra_aligned_alloc(struct hak_box *box, size_t align_bytes,
                                 size_t size_bytes)
{
    if (align_bytes > HAK_SMALL_MAX_BYTES || size_bytes > HAK_SMALL_MAX_BYTES)
        return NULL;
    return ultra_alloc(box, hak_round_up(size_bytes, align_bytes));
}

static void ultra_free(struct hak_box *box, void *p)
{
    struct hak_page *page = hak_map_get(&ultra_of(box)->pages, p);
    hak_heap_free(box->host->heap(box, false), page, p);
}

static bool ultra_owns(struct hak_box *box, const void *p)
{
    return hak_map_get(&ultra_of(box)->pages, p) != NULL;
}

static size_t ultra_usable_size(struct hak_box *box, const void *p)
{
    return hak_page_usable(hak_map_get(&ultra_of(box)->pages, p), p);
}

static size_t ultra_slot_size(struct hak_box *box, size_t size_bytes)
{
    (void)box;
    return size_bytes > HAK_SMALL_MAX_BYTES
               ? 0
               : slot_bytes_of(class_of(size_bytes));
}

static void ultra_fork(struct hak_box *box, enum hak_fork_phase phase)
{
    hak_heaps_fork(&ultra_of(box)->heaps, phase);
}

static size_t ultra_trim(struct hak_box *box)
{
    struct ultra *u = ultra_of(box);
    struct hak_heap *heap = hak_heaps_trimmer(&u->heaps);
    uint64_t before = hak_counted(&u->given_bytes);
    if (heap == NULL)
        return 0;
    hak_heap_collect(heap);
    hak_heap_adopt_all(heap);
    size_t bytes = hak_heap_look(heap, true) + hak_heaps_trim_others(heap);
    hak_count_shared(&u->given_bytes, (int64_t)bytes);
    return hak_counted(&u->given_bytes) - before;
}

static size_t ultra_shrink(struct hak_box *box, size_t want_bytes)
{
    return hak_heaps_shrink(&ultra_of(box)->heaps, want_bytes);
}

static void ultra_stats(struct hak_box *box, struct hak_box_stats *out)
{
    hak_heaps_stats(&ultra_of(box)->heaps, out);
    out->cached_bytes = hak_heaps_kept(&ultra_of(box)->heaps);
}

static void ultra_walk(struct hak_box *box, hak_visit *visit, void *context)
{
    hak_heaps_walk(&ultra_of(box)->heaps, visit, context);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("ultra", "1.0"),
    .summary = "pages of one slot size, every multiple of 16 up to 1 KiB",
    .params = params,
    .nparams = sizeof params / sizeof params[0],
    .min_bytes = 1,
    .max_bytes = HAK_SMALL_MAX_BYTES,
    .ops =
        {
            .alloc = ultra_alloc,
            .free = ultra_free,
            .owns = ultra_owns,
            .init = ultra_init,
            .usable_size = ultra_usable_size,
            .slot_size = ultra_slot_size,
            .aligned_alloc = ultra_aligned_alloc,
            .heap_open = ultra_heap_open,
            .heap_close = ultra_heap_close,
            .refill = ultra_refill,
            .drained = hak_heap_drained,
            .remote_free = hak_heap_remote_free,
            .fork = ultra_fork,
            .trim = ultra_trim,
            .stats = ultra_stats,
            .walk = ultra_walk,
            .heap_lost = hak_heap_lost,
            .heap_park = ultra_heap_park,
            .shrink = ultra_shrink,
        },
};
