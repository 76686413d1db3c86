/* SPDX-License-Identifier: MIT
 * midmt.c - 1..256 KiB from per-thread segments: the operations.
 */
#include "midmt.h"

#include <kit/paged.h>

#include <errno.h>

enum {
    PARAM_SEGMENT_MIN,
    PARAM_SEGMENT_MAX,
    PARAM_EMPTY_SEGMENTS,
    PARAM_WARM,
    PARAM_CARVE,
    /* `make bench BENCH="random, 1..8"`: 4 is no faster and takes 10 % more */
    FULL_DIVISOR = 16,
};

#define SEGMENT_MIN_BYTES (SEGMENT_RUN_MAX * (int64_t)HAK_GRANULE_BYTES)
#define SEGMENT_MAX_BYTES (SEGMENT_GRANULES_MAX * (int64_t)HAK_GRANULE_BYTES)

static const struct hak_param params[] = {
    {.name = "segment_min",
     .type = HAK_PARAM_SIZE,
     .min = SEGMENT_MIN_BYTES,
     .max = SEGMENT_MAX_BYTES,
     .def = 2 << 20,
     .help = "bytes of a thread's first segment, rounded up to 64 KiB"},
    {.name = "segment_max",
     .type = HAK_PARAM_SIZE,
     .min = SEGMENT_MIN_BYTES,
     .max = SEGMENT_MAX_BYTES,
     .def = 4 << 20,
     .help = "bytes of the segments of a thread that has many"},
    {.name = "empty_segments",
     .type = HAK_PARAM_INT,
     .flags = HAK_PARAM_MUTABLE,
     .min = 0,
     .max = 1024,
     .def = 1,
     .help = "empty segments that a thread keeps for a purge delay"},
    {.name = "warm",
     .type = HAK_PARAM_SIZE,
     .flags = HAK_PARAM_MUTABLE,
     .min = 0,
     .max = 1 << 30,
     .def = 16 << 20, /* `make bench-tuning`: half the time of 2M */
     .help = "most bytes of empty pages that a thread keeps as they are"},
    {.name = "carve",
     .type = HAK_PARAM_SIZE,
     .min = 1024,
     .max = 256 << 10,
     .def = 4096,
     .help = "bytes of a fresh page cut to slots at a time, at least a slot"},
};

static void set_mutable(struct hak_box *box)
{
    struct midmt *m = midmt_of(box);
    __atomic_store_n(&m->segments.keep_empty,
                     (uint32_t)box->params[PARAM_EMPTY_SEGMENTS].i,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&m->heaps.keep_bytes, (size_t)box->params[PARAM_WARM].i,
                     __ATOMIC_RELAXED);
}

static size_t segment_param(const struct hak_box *box, int param)
{
    return hak_round_up((size_t)box->params[param].i, HAK_GRANULE_BYTES);
}

static const struct hak_heaps_ops heaps_ops = {
    .page_get = midmt_page_get,
    .page_put = midmt_page_put,
    .tick = midmt_tick,
    .own_init = midmt_own_init,
    .own_close = midmt_own_close,
};

static int midmt_init(struct hak_box *box)
{
    const struct hak_host *host = box->host;
    size_t min_bytes = segment_param(box, PARAM_SEGMENT_MIN);
    size_t max_bytes = segment_param(box, PARAM_SEGMENT_MAX);
    if (min_bytes > max_bytes) {
        host->log(box, HAK_LOG_ERROR,
                  "segment_min %zu is above segment_max %zu", min_bytes,
                  max_bytes);
        return -EINVAL;
    }
    struct midmt *m = host->meta(box, sizeof *m);
    if (m == NULL) {
        host->log(box, HAK_LOG_ERROR, "no memory to start with");
        return -ENOMEM;
    }
    m->heaps = (struct hak_heaps){
        .box = box,
        .nclasses = MIDMT_CLASSES,
        .carve_bytes = (uint32_t)box->params[PARAM_CARVE].i,
        .full_divisor = FULL_DIVISOR,
        .own_bytes = sizeof(struct midmt_heap),
        .box_lock = &m->segments.lock,
        .ops = &heaps_ops,
    };
    for (uint32_t c = 0; c < MIDMT_CLASSES; c++)
        m->ngranules[c] = (uint8_t)midmt_page_granules(midmt_slot_bytes(c));
    m->segments.box = box;
    m->segments.min_bytes = min_bytes;
    m->segments.max_bytes = max_bytes;
    int error = segments_init(&m->segments);
    if (error != 0) {
        host->log(box, HAK_LOG_ERROR, "no memory for the registry of %zu bytes",
                  host->window_bytes);
        return error;
    }
    box->state = m;
    set_mutable(box);
    return 0;
}

static int midmt_set_param(struct hak_box *box, uint32_t param)
{
    if (param != PARAM_EMPTY_SEGMENTS && param != PARAM_WARM)
        return -EPERM;
    set_mutable(box);
    return 0;
}

/* ---- slots ------------------------------------------------------------- */

/*
 * A size rounded up to a power of two has an aligned slot that is a multiple of
 * it (they are 8..16 times a power of two).
 */
static uint32_t box_class_of(const struct hak_box *box, size_t size_bytes,
                             size_t align_bytes)
{
    (void)box;
    if (align_bytes > HAK_GRANULE_BYTES || size_bytes > HAK_LANE_MAX_BYTES)
        return HAK_CLASS_NONE;
    size_t rounded = hak_round_up(size_bytes, align_bytes);
    if (rounded > HAK_LANE_MAX_BYTES)
        return HAK_CLASS_NONE;
    uint32_t class_number = midmt_class(rounded);
    bool has_it = midmt_slot_bytes(class_number) % align_bytes == 0;
    return has_it ? class_number : class_number + MIDMT_SIZES;
}

static uint32_t box_slot_bytes(const struct hak_box *box, uint32_t class_number)
{
    (void)box;
    return midmt_slot_bytes(class_number);
}

static struct hak_page *box_page_of(const struct hak_box *box, const void *p)
{
    const struct segment *s = segments_find(&midmt_of(box)->segments, p);
    return s == NULL ? NULL
                     : __atomic_load_n(&s->page[segment_granule(s, p)],
                                       __ATOMIC_ACQUIRE);
}

/* All of a segment, its granules that are in no page too. */
static bool midmt_owns(struct hak_box *box, const void *p)
{
    const struct midmt *m = midmt_of(box); /* NULL before init */
    return m != NULL && segments_find(&m->segments, p) != NULL;
}

/* ---- the whole box ----------------------------------------------------- */

/* Whole segments first; what stays in use loses its free granules' pages. */
static size_t midmt_trim(struct hak_box *box)
{
    struct segments *segments = &midmt_of(box)->segments;
    struct hak_heap *heap = hak_heaps_trimmer(&midmt_of(box)->heaps);
    struct midmt_heap *own = heap != NULL ? heap->own : NULL;
    uint64_t before = hak_counted(&segments->given_bytes);
    if (heap != NULL)
        midmt_heap_trim(heap);
    segments_purge(segments, own != NULL ? &own->pool : NULL, true);
    return hak_counted(&segments->given_bytes) - before;
}

/* What heaps keep, then what is free in segments of any thread. */
static size_t midmt_shrink(struct hak_box *box, size_t want_bytes)
{
    struct midmt *m = midmt_of(box);
    struct hak_heap *heap = box->host->heap(box, false);
    struct midmt_heap *own = heap != NULL ? heap->own : NULL;
    hak_heaps_shrink(&m->heaps, want_bytes);
    return segments_shrink(&m->segments, own != NULL ? &own->pool : NULL,
                           want_bytes);
}

static void midmt_stats(struct hak_box *box, struct hak_box_stats *out)
{
    const struct midmt *m = midmt_of(box);
    hak_heaps_stats(&m->heaps, out);
    out->cached_bytes =
        segments_free_bytes(&m->segments) + hak_heaps_kept(&m->heaps);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("midmt", "1.0"),
    .summary = "1..256 KiB from per-thread segments in one registry",
    .params = params,
    .nparams = sizeof params / sizeof params[0],
    .min_bytes = HAK_SMALL_MAX_BYTES / 2 + 1, /* below, half a slot is lost */
    .max_bytes = HAK_LANE_MAX_BYTES,
    .ops =
        {
            HAK_PAGED_OPS, /* heap_lost: granules of its pool stay lost */
            HAK_PAGED_CALLS,
            .owns = midmt_owns,
            .init = midmt_init,
            .trim = midmt_trim,
            .stats = midmt_stats,
            .get_extension = hak_paged_extension,
            .set_param = midmt_set_param,
            .heap_park = hak_heap_park,
            .shrink = midmt_shrink,
        },
};
