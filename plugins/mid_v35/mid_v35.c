/* SPDX-License-Identifier: MIT
 * mid_v35.c - 257..1024 bytes from shared segments: the operations.
 */
#include "mid_v35.h"

#include <kit/paged.h>

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
        .box_lock = &m->segments.lock,
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

/* ---- operations -------------------------------------------------------- */

static uint32_t box_class_of(const struct hak_box *box, size_t size_bytes,
                             size_t align_bytes)
{
    return class_of_aligned(&mid_v35_of(box)->classes, align_bytes, size_bytes);
}

static uint32_t box_slot_bytes(const struct hak_box *box, uint32_t class_number)
{
    return mid_v35_of(box)->classes.slot_bytes[class_number];
}

static struct hak_page *box_page_of(const struct hak_box *box, const void *p)
{
    return hak_map_get(&mid_v35_of(box)->segments.holders, p);
}

static size_t mid_v35_trim(struct hak_box *box)
{
    struct hak_heap *heap = hak_heaps_trimmer(&mid_v35_of(box)->heaps);
    size_t bytes = heap != NULL ? hak_heap_trim(heap, true) : 0;
    return bytes + hak_chunks_trim(&mid_v35_of(box)->segments);
}

static void mid_v35_stats(struct hak_box *box, struct hak_box_stats *out)
{
    hak_heaps_stats(&mid_v35_of(box)->heaps, out);
    out->cached_bytes = hak_chunks_free_bytes(&mid_v35_of(box)->segments, true);
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
            HAK_PAGED_OPS,
            HAK_PAGED_CALLS,
            .owns = hak_paged_owns,
            .init = mid_v35_init,
            .trim = mid_v35_trim,
            .stats = mid_v35_stats,
            .get_extension = hak_paged_extension,
            .set_param = mid_v35_set_param,
        },
};
