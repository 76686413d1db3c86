/* SPDX-License-Identifier: MIT
 * ultra.c - the box `ultra`: pages of one slot size, 16..1024 bytes.
 *
 * The slot sizes are those of the core's size index, every multiple of 16, so a
 * request loses at most 15 bytes. A page is one granule, for slots of more than
 * 256 bytes two and of more than 512 bytes four. Pages are mapped one at a
 * time. Everything else is done by kit/page.h and kit/heap.h.
 *
 * An empty page that no heap keeps goes as it is to the *depot*, which all
 * threads share. It waits there for a thread that needs a page of its class, or
 * of another class with pages of the same length. So the memory of it that is
 * resident is used again. The host would hand the granules to other boxes
 * singly, and other memory would become resident for the next page. Pages that
 * the depot did not need for half a purge delay go back to the host.
 */
#include <kit/map.h>
#include <kit/paged.h>

#include <errno.h>

enum {
    CLASSES = HAK_INDEX_SMALL_MAX, /* class number = size index - 1 */
    PARAM_WARM = 0,
    PARAM_CARVE,
    PARAM_COMMON,
    PARAM_DEPOT,
    DEPOT_AT_ONCE = 256, /* most pages that one depot_age() gives back */
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
    {.name = "depot",
     .type = HAK_PARAM_SIZE,
     .min = 0,
     .max = 1LL << 40,
     .def = 64 << 20,
     .help = "most bytes of empty pages that wait for any thread's need"},
};

/* The depot's pages of one class, newest first. */
struct stack {
    struct hak_link pages;
    uint32_t n, low; /* number of pages; the least n since the last look */
    uint32_t old;    /* pages that are to go back: unneeded since that look */
    uint64_t bytes;  /* of its pages, cut to slots */
};

struct depot {
    struct hak_lock lock; /* guards everything here */
    struct stack of[CLASSES];
    /* Bytes of pages that were cut to slots. `bytes` is also read without the
     * lock, to see whether the depot is empty. */
    uint64_t bytes, most_bytes;
    uint64_t look_ms; /* time of the last look, see depot_look() */
};

struct ultra {
    struct hak_heaps heaps;
    struct hak_map pages; /* granule -> page, for owns() and ops->free */
    struct depot depot;
    uint64_t given_bytes; /* sum of all bytes given back to the host */
};

static struct ultra *ultra_of(const struct hak_box *box)
{
    return box->state;
}

static struct ultra *ultra_of_heap(struct hak_heap *heap)
{
    return hak_container_of(heap->all, struct ultra, heaps);
}

static uint32_t box_class_of(const struct hak_box *box, size_t size_bytes,
                             size_t align_bytes)
{
    (void)box;
    return hak_class_by_16(size_bytes, align_bytes, HAK_SMALL_MAX_BYTES);
}

static uint32_t slot_bytes_of(uint32_t class_number)
{
    return (class_number + 1) * HAK_ALIGN_BYTES;
}

static uint32_t box_slot_bytes(const struct hak_box *box, uint32_t class_number)
{
    (void)box;
    return slot_bytes_of(class_number);
}

/* ---- pages ---- */

static struct hak_page *box_page_of(const struct hak_box *box, const void *p)
{
    return hak_map_get(&ultra_of(box)->pages, p);
}

/* A page has about 256 slots or more: the more slots, the less often malloc
 * changes pages. Measured with `make bench BENCH="random, 16..1024"`: with
 * 10000 and 100000 blocks 15 and 11 % less time than with 64 slots, for at most
 * 4 % more memory. */
static uint32_t granules_of(uint32_t slot_bytes)
{
    return slot_bytes > 512 ? 4 : slot_bytes > 256 ? 2 : 1;
}

static size_t page_bytes(const struct hak_page *page)
{
    return granules_of(page->span.slot_bytes) * HAK_GRANULE_BYTES;
}

static struct hak_page *fresh_page(struct hak_heap *heap, size_t bytes)
{
    struct hak_box *box = heap->all->box;
    struct hak_page *page = hak_heap_page(heap);
    if (page == NULL)
        return NULL;
    page->start = box->host->map(box, bytes, 0, 0);
    if (page->start == NULL) {
        hak_heap_spare(heap, page);
        return NULL;
    }
    return page;
}

static void return_page(struct hak_heap *heap, struct hak_page *page)
{
    struct hak_box *box = heap->all->box;
    size_t bytes = page_bytes(page);
    char *memory = hak_page_memory(page);
    hak_map_set(&ultra_of_heap(heap)->pages, memory, bytes, NULL);
    box->host->unmap(box, memory, bytes);
    hak_count_shared(&ultra_of_heap(heap)->given_bytes, (int64_t)bytes);
    hak_heap_spare(heap, page);
}

/* ---- the depot ---- */

/* Take a page out of its stack. depot->lock is held. */
static void unstack(struct depot *depot, struct stack *stack,
                    struct hak_page *page)
{
    hak_link_remove(&page->link);
    stack->n--;
    stack->low = stack->n < stack->low ? stack->n : stack->low;
    stack->bytes -= hak_page_used_bytes(page);
    hak_count(&depot->bytes, -(uint64_t)hak_page_used_bytes(page));
}

/* A stack with a page: that of the class, or of another class whose pages are
 * as long; or NULL. depot->lock is held. */
static struct stack *stack_with_page(struct depot *depot, uint32_t class_number)
{
    uint32_t granules = granules_of(slot_bytes_of(class_number));
    if (!hak_link_empty(&depot->of[class_number].pages))
        return &depot->of[class_number];
    for (uint32_t c = 0; c < CLASSES; c++)
        if (!hak_link_empty(&depot->of[c].pages) &&
            granules_of(slot_bytes_of(c)) == granules)
            return &depot->of[c];
    return NULL;
}

static struct hak_page *depot_take(struct ultra *u, uint32_t class_number)
{
    struct depot *depot = &u->depot;
    struct hak_page *page = NULL;
    if (hak_counted(&depot->bytes) == 0)
        return NULL;
    hak_lock_take(&depot->lock);
    struct stack *stack = stack_with_page(depot, class_number);
    if (stack != NULL) {
        page = hak_item(stack->pages.next, struct hak_page, link);
        unstack(depot, stack, page);
    }
    hak_lock_drop(&depot->lock);
    return page;
}

/* Put an empty page in the depot. False: the depot is full. */
static bool depot_put(struct ultra *u, struct hak_page *page)
{
    struct depot *depot = &u->depot;
    struct stack *stack = &depot->of[page->class_number];
    if (depot->most_bytes == 0)
        return false;
    hak_lock_take(&depot->lock);
    size_t bytes = hak_page_used_bytes(page);
    bool room = depot->bytes + bytes <= depot->most_bytes;
    if (room) {
        page->state = HAK_PAGE_FREE;
        hak_link_after(&stack->pages, &page->link);
        stack->n++;
        stack->bytes += bytes;
        hak_count(&depot->bytes, bytes);
    }
    hak_lock_drop(&depot->lock);
    return room;
}

/* Take the oldest page of a stack that has old pages, or with `all` of any
 * stack. NULL: there is none. */
static struct hak_page *depot_oldest(struct ultra *u, bool all)
{
    struct depot *depot = &u->depot;
    struct hak_page *page = NULL;
    hak_lock_take(&depot->lock);
    for (uint32_t i = 0; i < CLASSES && page == NULL; i++) {
        struct stack *stack = &depot->of[i];
        if (hak_link_empty(&stack->pages) || (stack->old == 0 && !all))
            continue;
        page = hak_item(stack->pages.prev, struct hak_page, link);
        unstack(depot, stack, page);
        stack->old -= stack->old != 0;
    }
    hak_lock_drop(&depot->lock);
    return page;
}

/* Give back pages of want_bytes in all, or all pages. Returns the bytes. */
static size_t depot_empty(struct hak_heap *heap, size_t want_bytes)
{
    struct ultra *u = ultra_of_heap(heap);
    struct hak_page *page;
    size_t bytes = 0;
    while (bytes < want_bytes && (page = depot_oldest(u, true)) != NULL) {
        bytes += hak_page_used_bytes(page);
        return_page(heap, page);
    }
    return bytes;
}

/* Once in half a purge delay: mark as old the pages that were not needed since
 * the last look. */
static void depot_look(struct depot *depot, uint64_t now_ms, uint64_t delay_ms)
{
    hak_lock_take(&depot->lock);
    if (now_ms - depot->look_ms >= delay_ms / 2) {
        depot->look_ms = now_ms;
        for (uint32_t i = 0; i < CLASSES; i++) {
            struct stack *stack = &depot->of[i];
            stack->old = stack->low;
            stack->low = stack->n;
        }
    }
    hak_lock_drop(&depot->lock);
}

/* The kit calls this now and then (heaps_ops.tick): give back old pages. */
static void depot_age(struct hak_heap *heap)
{
    struct ultra *u = ultra_of_heap(heap);
    const struct hak_host *host = heap->all->box->host;
    struct hak_page *page;
    if (hak_counted(&u->depot.bytes) == 0)
        return;
    depot_look(&u->depot, host->now_ms(), host->purge_delay_ms());
    for (int i = 0; i < DEPOT_AT_ONCE; i++) {
        if ((page = depot_oldest(u, false)) == NULL)
            return;
        return_page(heap, page);
    }
}

/* ---- how heaps get and give back pages ---- */

static void page_put(struct hak_heap *heap, struct hak_page *page)
{
    if (!depot_put(ultra_of_heap(heap), page))
        return_page(heap, page);
}

static struct hak_page *page_get(struct hak_heap *heap, uint32_t class_number)
{
    struct ultra *u = ultra_of_heap(heap);
    uint32_t slot_bytes = slot_bytes_of(class_number);
    size_t bytes = granules_of(slot_bytes) * HAK_GRANULE_BYTES;
    struct hak_page *page = depot_take(u, class_number);
    bool as_it_is = page != NULL && page->class_number == class_number;
    if (page == NULL && (page = fresh_page(heap, bytes)) == NULL)
        return NULL;
    if (as_it_is)
        hak_page_begin(page);
    else
        hak_page_init(page, hak_page_memory(page), bytes, slot_bytes,
                      class_number);
    hak_map_set(&u->pages, hak_page_memory(page), bytes, page);
    hak_heap_enter(heap, page, bytes);
    return page;
}

/* ---- operations ---- */

static const struct hak_heaps_ops heaps_ops = {
    .page_get = page_get,
    .page_put = page_put,
    .tick = depot_age,
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
        .box_lock = &u->depot.lock,
        .ops = &heaps_ops,
    };
    u->depot.most_bytes = (uint64_t)box->params[PARAM_DEPOT].i;
    for (uint32_t i = 0; i < CLASSES; i++)
        hak_link_init(&u->depot.of[i].pages);
    box->state = u;
    return 0;
}

static size_t ultra_trim(struct hak_box *box)
{
    struct ultra *u = ultra_of(box);
    struct hak_heap *heap = hak_heaps_trimmer(&u->heaps);
    uint64_t before = hak_counted(&u->given_bytes);
    if (heap == NULL)
        return 0;
    size_t bytes = hak_heap_trim(heap, false);
    depot_empty(heap, SIZE_MAX);
    hak_count_shared(&u->given_bytes, (int64_t)bytes);
    return hak_counted(&u->given_bytes) - before;
}

static size_t ultra_shrink(struct hak_box *box, size_t want_bytes)
{
    struct hak_heap *heap = box->host->heap(box, false);
    hak_heaps_shrink(&ultra_of(box)->heaps, want_bytes);
    return heap != NULL ? depot_empty(heap, want_bytes) : 0;
}

static void ultra_stats(struct hak_box *box, struct hak_box_stats *out)
{
    hak_heaps_stats(&ultra_of(box)->heaps, out);
    out->cached_bytes = hak_heaps_kept(&ultra_of(box)->heaps) +
                        hak_counted(&ultra_of(box)->depot.bytes);
}

/* The figures of the kit, and the pages that wait in the depot. */
static uint32_t read_classes(struct hak_box *box, struct hak_class *out,
                             uint32_t n)
{
    struct depot *depot = &ultra_of(box)->depot;
    HAK_ALWAYS(n >= CLASSES);
    hak_paged_fill_classes(box, out);
    hak_lock_take(&depot->lock);
    for (uint32_t c = 0; c < CLASSES; c++) {
        const struct stack *stack = &depot->of[c];
        out[c].cached_bytes += stack->bytes;
        out[c].mapped_bytes += (uint64_t)stack->n *
                               granules_of(slot_bytes_of(c)) *
                               HAK_GRANULE_BYTES;
    }
    hak_lock_drop(&depot->lock);
    return CLASSES;
}

static const void *ultra_extension(struct hak_box *box, const char *id)
{
    static const struct hak_classes_1 classes = {
        .struct_bytes = sizeof classes,
        .read = read_classes,
    };
    (void)box;
    return strcmp(id, HAK_CLASSES_1) == 0 ? &classes : NULL;
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
            HAK_PAGED_OPS,
            HAK_PAGED_CALLS,
            .owns = hak_paged_owns,
            .init = ultra_init,
            .trim = ultra_trim,
            .stats = ultra_stats,
            .get_extension = ultra_extension,
            .heap_park = hak_heap_park,
            .shrink = ultra_shrink,
        },
};
