/* SPDX-License-Identifier: MIT
 * mid_v35.c - 257..1024 bytes from shared segments: the operations.
 */
#include "mid_v35.h"

#include <errno.h>

enum {
    PARAM_SLOTS,
    PARAM_EMPTY_SEGMENTS,
    PARAM_CARVE,
    FULL_DIVISOR = 8,      /* README.md, measured */
    WARM_BYTES = 64 << 10, /* a thread keeps one page: segments keep more */
};

/* Every 16 bytes, one size index each; README.md has figures for other lists.
 */
#define DEFAULT_SLOTS                      \
    "256,272,288,304,320,336,352,368,384," \
    "400,416,432,448,464,480,496,512,528," \
    "544,560,576,592,608,624,640,656,672," \
    "688,704,720,736,752,768,784,800,816," \
    "832,848,864,880,896,912,928,944,960," \
    "976,992,1008,1024"

static const struct hak_param params[] = {
    {.name = "slots",
     .type = HAK_PARAM_TEXT,
     .def_text = DEFAULT_SLOTS,
     .help = "slot sizes in bytes, ascending multiples of 16, last 1024"},
    {.name = "empty_segments",
     .type = HAK_PARAM_INT,
     .flags = HAK_PARAM_MUTABLE,
     .min = 0,
     .max = 1024,
     .def = 1,
     .help = "empty 2 MiB segments kept for a purge delay"},
    {.name = "carve",
     .type = HAK_PARAM_SIZE,
     .min = 16,
     .max = 65536,
     .def = 4096,
     .help = "bytes of a fresh page cut to slots at a time"},
};

static void set_mutable(struct hak_box *box)
{
    __atomic_store_n(&mid_v35_of(box)->segments.keep,
                     (uint32_t)box->params[PARAM_EMPTY_SEGMENTS].i,
                     __ATOMIC_RELAXED);
}

static int read_slots(struct hak_box *box, struct classes *classes)
{
    const char *at,
        *wrong = classes_parse(box->params[PARAM_SLOTS].text, classes, &at);
    if (wrong == NULL)
        return 0;
    box->host->log(box, HAK_LOG_ERROR,
                   "slots = %s: \"%s\" %s; use ascending multiples of 16 up "
                   "to 1024, such as 384,512,1024",
                   box->params[PARAM_SLOTS].text, at, wrong);
    return -EINVAL;
}

static void tick(struct hak_heap *heap)
{
    hak_chunks_tick(&mid_v35_of(heap->all->box)->segments);
}

static const struct hak_heaps_ops heaps_ops = {
    .page_get = refill_page,
    .page_put = retire_page,
    .tick = tick,
};

static int mid_v35_init(struct hak_box *box)
{
    struct classes classes;
    int error = read_slots(box, &classes);
    if (error != 0)
        return error;
    struct mid_v35 *m = box->host->meta(box, sizeof *m);
    if (m == NULL || !hak_chunks_init(&m->segments, box, SEGMENT_BYTES, 0)) {
        box->host->log(box, HAK_LOG_ERROR, "no memory for the region table");
        return -ENOMEM;
    }
    m->classes = classes;
    m->heaps = (struct hak_heaps){
        .box = box,
        .nclasses = classes.n,
        .carve_bytes = (uint32_t)box->params[PARAM_CARVE].i,
        .full_divisor = FULL_DIVISOR,
        .keep_bytes = WARM_BYTES,
        .common_bytes = HAK_COMMON_BYTES,
        .ops = &heaps_ops,
    };
    box->state = m;
    set_mutable(box);
    return 0;
}

static int mid_v35_set_param(struct hak_box *box, uint32_t param)
{
    if (param != PARAM_EMPTY_SEGMENTS)
        return -EPERM;
    set_mutable(box);
    return 0;
}

/* ---- heaps ------------------------------------------------------------- */

static void *mid_v35_heap_open(struct hak_box *box, struct hak_thread *thread)
{
    return hak_heap_open(&mid_v35_of(box)->heaps, thread);
}

static void mid_v35_heap_close(struct hak_box *box, void *heap)
{
    (void)box;
    hak_heap_close(heap);
}

/* ---- allocation -------------------------------------------------------- */

static struct hak_span *mid_v35_refill(struct hak_box *box, void *heap,
                                       size_t size_bytes)
{
    struct mid_v35 *m = mid_v35_of(box);
    uint32_t c = class_of(&m->classes, size_bytes);
    if (unlikely(c == CLASS_NONE))
        return NULL;
    return hak_heap_refill(heap, c);
}

static void *alloc_of_class(struct hak_box *box, uint32_t c)
{
    if (c == CLASS_NONE)
        return NULL;
    struct hak_heap *heap = box->host->heap(box, true);
    return heap == NULL ? NULL : hak_heap_alloc(heap, c);
}

static void *mid_v35_alloc(struct hak_box *box, size_t size_bytes)
{
    return alloc_of_class(box, class_of(&mid_v35_of(box)->classes, size_bytes));
}

static void *mid_v35_aligned_alloc(struct hak_box *box, size_t align_bytes,
                                   size_t size_bytes)
{
    return alloc_of_class(box, class_of_aligned(&mid_v35_of(box)->classes,
                                                align_bytes, size_bytes));
}

static struct hak_page *page_of(struct hak_box *box, const void *p)
{
    return hak_map_get(&mid_v35_of(box)->segments.holders, p);
}

static void mid_v35_free(struct hak_box *box, void *p)
{
    struct hak_page *page = page_of(box, p);
    if (unlikely(page == NULL))
        hak_free_refused(box, p, HAK_WHY_NO_PAGE, NULL, 0);
    hak_heap_free(box->host->heap(box, false), page, p);
}

static bool mid_v35_owns(struct hak_box *box, const void *p)
{
    return page_of(box, p) != NULL;
}

static size_t mid_v35_usable_size(struct hak_box *box, const void *p)
{
    return hak_page_usable(page_of(box, p), p);
}

static size_t mid_v35_slot_size(struct hak_box *box, size_t size_bytes)
{
    const struct classes *classes = &mid_v35_of(box)->classes;
    uint32_t c = class_of(classes, size_bytes);
    return c == CLASS_NONE ? 0 : classes->slot_bytes[c];
}

/* ---- the rest ---------------------------------------------------------- */

static void mid_v35_fork(struct hak_box *box, enum hak_fork_phase phase)
{
    struct mid_v35 *m = mid_v35_of(box);
    hak_heaps_fork(&m->heaps, phase);
    hak_lock_fork(&m->segments.lock, phase);
}

static size_t trim_heap(struct hak_heap *heap)
{
    hak_heap_collect(heap);
    hak_heap_adopt_all(heap);
    hak_heap_close_bins(heap);
    return hak_heap_look(heap, true) + hak_heaps_trim_others(heap);
}

static size_t mid_v35_trim(struct hak_box *box)
{
    struct hak_heap *heap = hak_heaps_trimmer(&mid_v35_of(box)->heaps);
    size_t bytes = heap != NULL ? trim_heap(heap) : 0;
    return bytes + hak_chunks_trim(&mid_v35_of(box)->segments);
}

static void mid_v35_age(struct hak_box *box)
{
    hak_heaps_age(&mid_v35_of(box)->heaps);
}

static void mid_v35_stats(struct hak_box *box, struct hak_box_stats *out)
{
    hak_heaps_stats(&mid_v35_of(box)->heaps, out);
    out->cached_bytes = hak_chunks_free_bytes(&mid_v35_of(box)->segments, true);
}

static void mid_v35_visit_slots(struct hak_box *box, hak_visit *visit,
                                void *context)
{
    hak_heaps_visit(&mid_v35_of(box)->heaps, visit, context);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("mid_v35", "1.0"),
    .summary = "257..1024 bytes from 2 MiB segments that threads share",
    .params = params,
    .nparams = sizeof params / sizeof params[0],
    .min_bytes = 1,
    .max_bytes = HAK_SMALL_MAX_BYTES,
    .ops =
        {
            .alloc = mid_v35_alloc,
            .free = mid_v35_free,
            .owns = mid_v35_owns,
            .init = mid_v35_init,
            .usable_size = mid_v35_usable_size,
            .slot_size = mid_v35_slot_size,
            .aligned_alloc = mid_v35_aligned_alloc,
            .heap_open = mid_v35_heap_open,
            .heap_close = mid_v35_heap_close,
            .refill = mid_v35_refill,
            .triggered = hak_heap_triggered,
            .remote_free = hak_heap_remote_free,
            .fork = mid_v35_fork,
            .trim = mid_v35_trim,
            .stats = mid_v35_stats,
            .visit_slots = mid_v35_visit_slots,
            .age = mid_v35_age,
            .heap_lost = hak_heap_lost,
            .set_param = mid_v35_set_param,
        },
};
