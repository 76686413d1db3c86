/* SPDX-License-Identifier: MIT
 * tiny.c - requests up to 128 bytes: the kit's heaps on slabs of SuperSlabs,
 * with TinyHeapV2, a magazine a thread and slot size, as an option.
 *
 * A magazine has to see every call, lanes take calls off the box: so
 * `magazine = on` asks for `lanes = off`, and init says so.
 */
#include "tiny.h"

#include <kit/paged.h>

#include <errno.h>

enum {
    TINY_MAX_BYTES = TINY_CLASSES * HAK_ALIGN_BYTES,
    PARAM_MAGAZINE = 0,
    PARAM_MAGAZINE_CLASSES,
    PARAM_EMPTY_SUPERSLABS,
    PARAM_CARVE,
    FULL_DIVISOR = 32,     /* as ultra's */
    WARM_BYTES = 64 << 10, /* a thread keeps one page: superslabs keep more */
};

static const struct hak_param params[] = {
    {.name = "magazine",
     .type = HAK_PARAM_BOOL,
     .max = 1,
     .help = "keep freed slots of a thread in front; needs lanes = off"},
    {.name = "magazine_classes",
     .type = HAK_PARAM_INT,
     .min = 0,
     .max = 0x0f,
     .def = 0x0f,
     .help = "which classes have magazines, bit 0 = C0 ... bit 3 = C3"},
    {.name = "empty_superslabs",
     .type = HAK_PARAM_INT,
     .min = 0,
     .max = 1024,
     .def = 1,
     .help = "empty SuperSlabs of 1 MiB that wait for a purge delay"},
    {.name = "carve",
     .type = HAK_PARAM_SIZE,
     .min = 16,
     .max = 65536,
     .def = 4096,
     .help = "bytes of a fresh slab cut to slots at a time"},
};

static struct tiny *tiny_of(const struct hak_box *box)
{
    return box->state;
}

static struct hak_chunks *superslabs_of(const struct hak_heap *heap)
{
    return &hak_container_of(heap->all, struct tiny, heaps)->superslabs;
}

static uint32_t box_class_of(const struct hak_box *box, size_t size_bytes,
                             size_t align_bytes)
{
    (void)box;
    return hak_class_by_16(size_bytes, align_bytes, TINY_MAX_BYTES);
}

static uint32_t box_slot_bytes(const struct hak_box *box, uint32_t class_number)
{
    (void)box;
    return (class_number + 1) * HAK_ALIGN_BYTES;
}

static struct hak_page *box_page_of(const struct hak_box *box, const void *p)
{
    return hak_map_get(&tiny_of(box)->superslabs.holders, p);
}

static bool has_magazine(const struct tiny *t, uint32_t class_number)
{
    return t->with_magazine >> class_number & 1;
}

/* The magazines of a heap, one a slot class; only if the box has any. */
static struct magazine *magazines_of(const struct hak_heap *heap)
{
    return heap->own;
}

/* ---- pages --------------------------------------------------------------- */

static void give_slab(struct hak_heap *heap, struct hak_page *page)
{
    hak_chunks_give(superslabs_of(heap), page->source, hak_page_memory(page),
                    page->carved != 0);
    hak_heap_spare(heap, page);
}

static struct hak_page *page_get(struct hak_heap *heap, uint32_t class_number)
{
    struct hak_chunks *superslabs = superslabs_of(heap);
    struct hak_page *page = hak_heap_page(heap);
    if (page == NULL)
        return NULL;
    struct hak_chunk *superslab;
    char *start = hak_chunks_take(superslabs, &superslab);
    if (start == NULL) {
        hak_heap_spare(heap, page);
        return NULL;
    }
    hak_page_init(page, start, SLAB_BYTES,
                  box_slot_bytes(heap->all->box, class_number), class_number);
    page->source = superslab;
    hak_map_set(&superslabs->holders, start, SLAB_BYTES, page);
    hak_heap_enter(heap, page, SLAB_BYTES);
    return page;
}

static void page_put(struct hak_heap *heap, struct hak_page *page)
{
    struct hak_box *box = heap->all->box;
    box->host->span_set(box, NULL, hak_page_memory(page), SLAB_BYTES);
    give_slab(heap, page);
    hak_chunks_tick(superslabs_of(heap));
}

/* ---- heaps --------------------------------------------------------------- */

/* Slots of other heaps' pages go back the way of a remote free. They were live
 * when they came, and go without a mark, as live ones do. */
static void empty_magazines(struct hak_heap *heap)
{
    struct magazine *m = magazines_of(heap);
    for (uint32_t c = 0; m != NULL && c < TINY_CLASSES; c++, m++) {
        void *p;
        while ((p = magazine_drain(m)) != NULL) {
            hak_slot_clear(p);
            hak_heap_free(heap, hak_map_get(&superslabs_of(heap)->holders, p),
                          p);
        }
    }
}

/* ---- slots --------------------------------------------------------------- */

static void *magazine_alloc(struct hak_heap *heap, uint32_t class_number)
{
    struct magazine *m = magazines_of(heap) + class_number;
    void *p = magazine_pop(m);
    if (p != NULL) {
        hak_slot_clear(p);
        return p;
    }
    p = hak_heap_alloc(heap, class_number); /* and the magazine stays empty */
    if (unlikely(p == NULL))
        hak_count(&m->out_of_memory, 1);
    return p;
}

static void *alloc_class(struct hak_box *box, uint32_t class_number)
{
    struct tiny *t = tiny_of(box);
    if (class_number == HAK_CLASS_NONE)
        return NULL;
    struct hak_heap *heap = box->host->heap(box, true);
    if (unlikely(heap == NULL)) {
        if (has_magazine(t, class_number))
            hak_count_shared(&t->no_heap[class_number], 1);
        return NULL;
    }
    return has_magazine(t, class_number) ? magazine_alloc(heap, class_number)
                                         : hak_heap_alloc(heap, class_number);
}

static void *tiny_alloc(struct hak_box *box, size_t size_bytes)
{
    return alloc_class(box, box_class_of(box, size_bytes, 1));
}

static void *tiny_aligned_alloc(struct hak_box *box, size_t align_bytes,
                                size_t size_bytes)
{
    return alloc_class(box, box_class_of(box, size_bytes, align_bytes));
}

/* Does the slot wait in any thread's magazine? No look without its mark. */
static bool in_magazine(const struct tiny *t, const struct hak_page *page,
                        const void *p)
{
    if (t->with_magazine == 0 || !hak_span_has_slot_at(&page->span, p) ||
        !hak_slot_is_marked(p, page->span.key))
        return false;
    const struct hak_heap *heap =
        __atomic_load_n(&t->heaps.all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next) {
        const struct magazine *m = magazines_of(heap);
        if (m != NULL && magazine_has(m + page->class_number, p))
            return true;
    }
    return false;
}

/*
 * Slots of other threads' pages go into the freeing thread's magazine too: it
 * saves the atomic of a remote free, and they are few. Not in a draining box,
 * where nobody would take them out again.
 */
static void tiny_free(struct hak_box *box, void *p)
{
    struct tiny *t = tiny_of(box);
    struct hak_page *page = hak_paged_expect_page(box, p);
    struct hak_heap *heap = box->host->heap(box, false);
    if (heap == NULL || !has_magazine(t, page->class_number)) {
        hak_heap_free(heap, page, p);
        return;
    }
    if (unlikely(in_magazine(t, page, p)))
        hak_page_refuse(page, p, "freed twice");
    hak_page_expect_live(page, p);
    if (!hak_box_is_active(box) ||
        !magazine_push(magazines_of(heap) + page->class_number, p))
        hak_heap_free(heap, page, p);
    else
        hak_slot_link(p, page->span.key, NULL); /* as all free slots */
}

static size_t tiny_usable_size(struct hak_box *box, const void *p)
{
    const struct hak_page *page = box_page_of(box, p);
    return page == NULL || in_magazine(tiny_of(box), page, p)
               ? 0
               : hak_page_usable(page, p);
}

/* ---- the whole box ------------------------------------------------------- */

/* Bit a slot class, from bit a class of the notes: C0 16, C1 32, C2 48 64 .. */
static uint32_t slot_classes(uint32_t classes)
{
    static const uint8_t slots_of[] = {0x01, 0x02, 0x0c, 0xf0};
    uint32_t bits = 0;
    for (uint32_t c = 0; c < sizeof slots_of; c++)
        bits |= classes >> c & 1 ? slots_of[c] : 0;
    return bits;
}

static void tick(struct hak_heap *heap)
{
    hak_chunks_tick(superslabs_of(heap));
}

/* The slots of the page that wait in any thread's magazine. */
static void mark_magazines(const struct hak_page *page, uint64_t *is_free)
{
    const struct hak_heap *heap = __atomic_load_n(
        &tiny_of(page->span.box)->heaps.all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next) {
        const struct magazine *m = magazines_of(heap);
        for (size_t i = 0; m != NULL && i < m[page->class_number].n; i++) {
            size_t at =
                (size_t)((char *)m[page->class_number].slot[i] - page->start);
            if (at < SLAB_BYTES)
                hak_bits_set(is_free, at / page->span.slot_bytes, 1);
        }
    }
}

static const struct hak_heaps_ops heaps_ops = {
    .page_get = page_get,
    .page_put = page_put,
    .tick = tick,
    .own_close = empty_magazines,
    .own_mark = mark_magazines,
};

static int tiny_init(struct hak_box *box)
{
    const struct hak_host *host = box->host;
    bool magazine = box->params[PARAM_MAGAZINE].i != 0;
    if (magazine && box->lanes) {
        host->log(box, HAK_LOG_ERROR,
                  "magazine = on needs lanes = off in [box %s]: lanes take "
                  "calls before the magazine sees them",
                  box->name);
        return -EINVAL;
    }
    struct tiny *t = host->meta(box, sizeof *t);
    if (t == NULL ||
        !hak_chunks_init(&t->superslabs, box, SUPERSLAB_BYTES,
                         (uint32_t)box->params[PARAM_EMPTY_SUPERSLABS].i)) {
        host->log(box, HAK_LOG_ERROR, "no memory for the SuperSlab table");
        return -ENOMEM;
    }
    t->heaps = (struct hak_heaps){
        .box = box,
        .nclasses = TINY_CLASSES,
        .carve_bytes = (uint32_t)box->params[PARAM_CARVE].i,
        .full_divisor = FULL_DIVISOR,
        .keep_bytes = WARM_BYTES,
        .common_bytes = HAK_COMMON_BYTES,
        .box_lock = &t->superslabs.lock,
        .ops = &heaps_ops,
    };
    if (magazine)
        t->with_magazine =
            slot_classes((uint32_t)box->params[PARAM_MAGAZINE_CLASSES].i);
    if (t->with_magazine != 0)
        t->heaps.own_bytes = TINY_CLASSES * sizeof(struct magazine);
    box->state = t;
    return 0;
}

/* What this thread may touch: its magazines, its pages and what is orphaned. */
static void heap_trim(struct hak_heap *heap)
{
    empty_magazines(heap);
    hak_count_shared(&superslabs_of(heap)->given_bytes,
                     (int64_t)hak_heap_trim(heap, true));
}

static size_t tiny_trim(struct hak_box *box)
{
    struct hak_chunks *superslabs = &tiny_of(box)->superslabs;
    struct hak_heap *heap = hak_heaps_trimmer(&tiny_of(box)->heaps);
    uint64_t before = hak_counted(&superslabs->given_bytes);
    if (heap != NULL)
        heap_trim(heap);
    hak_chunks_trim(superslabs);
    return hak_counted(&superslabs->given_bytes) - before;
}

/* ---- figures ------------------------------------------------------------- */

static void snapshot(struct hak_box *box, uint32_t slot_class,
                     struct hak_magazine_counts *out)
{
    struct tiny *t = tiny_of(box);
    *out = (struct hak_magazine_counts){0};
    if (slot_class >= TINY_CLASSES)
        return;
    out->out_of_memory = hak_counted(&t->no_heap[slot_class]);
    out->calls = out->misses = out->out_of_memory;
    const struct hak_heap *heap =
        __atomic_load_n(&t->heaps.all_heaps, __ATOMIC_ACQUIRE);
    for (; heap != NULL; heap = heap->all_next) {
        const struct magazine *m = magazines_of(heap);
        if (m != NULL)
            magazine_add(m + slot_class, out);
    }
}

/* All classes together. */
static uint32_t read_counters(struct hak_box *box, struct hak_counter *out,
                              uint32_t n)
{
    struct hak_magazine_counts sum = {0};
    for (uint32_t c = 0; c < TINY_CLASSES; c++) {
        struct hak_magazine_counts one;
        snapshot(box, c, &one);
        sum.calls += one.calls;
        sum.hits += one.hits;
        sum.misses += one.misses;
        sum.pushes += one.pushes;
        sum.refused += one.refused;
        sum.out_of_memory += one.out_of_memory;
    }
    const struct hak_counter all[] = {
        {"magazine_calls", sum.calls},     {"magazine_hits", sum.hits},
        {"magazine_misses", sum.misses},   {"magazine_pushes", sum.pushes},
        {"magazine_refused", sum.refused}, {"out_of_memory", sum.out_of_memory},
    };
    size_t have = sizeof all / sizeof all[0];
    memcpy(out, all, hak_min(n, have) * sizeof all[0]);
    return (uint32_t)have;
}

/* Slots in magazines count as live in the kit. A hit is an alloc, and what a
 * magazine holds was freed, of which the kit knows nothing. */
static void count_magazine(struct hak_box *box, uint32_t c,
                           struct hak_class *out)
{
    struct hak_magazine_counts counts;
    snapshot(box, c, &counts);
    uint64_t held = hak_min(counts.held, out->live_count);
    out->allocs += counts.hits;
    out->frees += counts.hits + held;
    out->live_count -= held;
    out->live_bytes -= held * out->slot_bytes;
}

static uint32_t read_classes(struct hak_box *box, struct hak_class *out,
                             uint32_t n)
{
    HAK_ALWAYS(n >= TINY_CLASSES);
    hak_paged_fill_classes(box, out);
    for (uint32_t c = 0; tiny_of(box)->with_magazine != 0 && c < TINY_CLASSES;
         c++)
        count_magazine(box, c, &out[c]);
    return TINY_CLASSES;
}

static const void *tiny_get_extension(struct hak_box *box, const char *id)
{
    static const struct hak_magazine_extension magazine = {
        .struct_size = sizeof magazine,
        .nclasses = TINY_CLASSES,
        .snapshot = snapshot,
    };
    static const struct hak_counters_1 counters = {
        .struct_bytes = sizeof counters,
        .read = read_counters,
    };
    static const struct hak_classes_1 classes = {
        .struct_bytes = sizeof classes,
        .read = read_classes,
    };
    const struct tiny *t = tiny_of(box);
    if (t != NULL && strcmp(id, HAK_CLASSES_1) == 0)
        return &classes;
    if (t == NULL || t->with_magazine == 0)
        return NULL;
    if (strcmp(id, HAK_MAGAZINE_EXTENSION) == 0)
        return &magazine;
    return strcmp(id, HAK_COUNTERS_1) == 0 ? &counters : NULL;
}

/* The kit counts slots in magazines as live; they lag, so never below 0. */
static void tiny_stats(struct hak_box *box, struct hak_box_stats *out)
{
    const struct tiny *t = tiny_of(box);
    hak_heaps_stats(&t->heaps, out);
    out->cached_bytes = hak_chunks_free_bytes(&t->superslabs, false);
    for (uint32_t c = 0; t->with_magazine != 0 && c < TINY_CLASSES; c++) {
        struct hak_magazine_counts counts;
        snapshot(box, c, &counts);
        out->live_count -= hak_min(counts.held, out->live_count);
        out->live_bytes -=
            hak_min(counts.held * box_slot_bytes(box, c), out->live_bytes);
    }
    if (!box->lanes)
        out->allocs = out->frees = 0;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("tiny", "1.0"),
    .summary = "up to 128 bytes from SuperSlabs of 1 MiB, magazine as option",
    .params = params,
    .nparams = sizeof params / sizeof params[0],
    .min_bytes = 1,
    .max_bytes = TINY_MAX_BYTES,
    .ops =
        {
            HAK_PAGED_OPS,
            .alloc = tiny_alloc,
            .aligned_alloc = tiny_aligned_alloc,
            .free = tiny_free,
            .usable_size = tiny_usable_size,
            .owns = hak_paged_owns,
            .init = tiny_init,
            .trim = tiny_trim,
            .stats = tiny_stats,
            .get_extension = tiny_get_extension,
        },
};
