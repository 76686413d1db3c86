/* SPDX-License-Identifier: MIT
 * whole.h - lanes.c with every operation of box.h; the base of faulty boxes.
 *
 * A faulty box includes this file and overrides the operation that it breaks:
 *
 *     HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
 *         WHOLE_ENTRY("broken_zalloc"),
 *         .ops = {WHOLE_OPS, .zalloc = dirty_zalloc},
 *     };
 *
 * A box whose calls of the host are faulty changes a copy of the host table:
 * its init calls host_copy(), which puts the copy in place of box->host.
 */
#ifndef HAK_TESTS_BOXES_WHOLE_H
#define HAK_TESTS_BOXES_WHOLE_H

#define LANES_NO_ENTRY
#include "lanes.c"

/* Faulty boxes override operations, and need not use all functions. */
#pragma GCC diagnostic ignored "-Woverride-init"
#pragma GCC diagnostic ignored "-Wunused-function"

enum whole_param { WHOLE_SPARE, WHOLE_ZERO, WHOLE_WAY, WHOLE_NPARAMS };

static const struct hak_param whole_params[] = {
    [WHOLE_SPARE] = {.name = "spare",
                     .type = HAK_PARAM_SIZE,
                     .flags = HAK_PARAM_MUTABLE,
                     .min = 0,
                     .max = 1 << 20,
                     .def = 4096,
                     .help = "bytes that trim leaves"},
    [WHOLE_ZERO] = {.name = "zero",
                    .type = HAK_PARAM_BOOL,
                    .flags = HAK_PARAM_MUTABLE,
                    .max = 1,
                    .def = 0,
                    .help = "slots come zeroed"},
    [WHOLE_WAY] = {.name = "way",
                   .type = HAK_PARAM_ENUM,
                   .flags = HAK_PARAM_MUTABLE,
                   .choices = "up|down",
                   .help = "of nothing"},
};

/* A slot of 2^n bytes is aligned to 2^n, so a slot of at least align_bytes is
 * aligned enough. */
static void *whole_aligned_alloc(struct hak_box *box, size_t align_bytes,
                                 size_t size_bytes)
{
    size_t size = size_bytes > align_bytes ? size_bytes : align_bytes;
    if (align_bytes > HAK_GRANULE_BYTES)
        return NULL;
    return lanes_alloc(box, size);
}

static void *whole_zalloc(struct hak_box *box, size_t size_bytes)
{
    char *p = lanes_alloc(box, size_bytes);
    for (size_t i = 0; p && i < lanes_usable_size(box, p); i++)
        p[i] = 0;
    return p;
}

static void *whole_resize(struct hak_box *box, void *p, size_t size_bytes)
{
    size_t had = lanes_usable_size(box, p);
    if (size_bytes <= had)
        return p;
    char *moved = lanes_alloc(box, size_bytes);
    for (size_t i = 0; moved && i < had; i++)
        moved[i] = ((char *)p)[i];
    if (moved)
        lanes_free(box, p);
    return moved;
}

static int whole_set_param(struct hak_box *box, uint32_t param)
{
    (void)box;
    return param < WHOLE_NPARAMS ? 0 : -EINVAL;
}

static void whole_retire(struct hak_box *box)
{
    lanes_trim(box);
}

/* A class for each slot size, and one for all large blocks. Slots handed out
 * are not counted by class. */
static uint32_t whole_classes(struct hak_box *box, struct hak_class *out,
                              uint32_t n)
{
    if (n < CLASSES + 1)
        return 0;
    for (uint32_t c = 0; c < CLASSES; c++)
        out[c].slot_bytes = (uint64_t)16 << c;
    out[LARGE].slot_bytes = (uint64_t)1 << 46;
    for (struct page *p = pages_ever(box); p; p = p->made_before) {
        if (p->cls == NO_CLASS)
            continue;
        struct hak_class *of = &out[p->cls];
        size_t size = p->cls == LARGE ? p->bytes : p->span.slot_bytes;
        uint64_t live = p->cls == LARGE
                            ? 1
                            : p->span.nalloc - p->span.nfree - p->remote_count;
        of->live_count += live;
        of->live_bytes += live * size;
        of->mapped_bytes += p->bytes;
    }
    return CLASSES + 1;
}

static const void *whole_get_extension(struct hak_box *box, const char *id)
{
    static const struct hak_classes_1 classes = {
        .struct_bytes = sizeof classes,
        .read = whole_classes,
    };
    (void)box;
    const char *want = HAK_CLASSES_1;
    while (*want && *want == *id)
        want++, id++;
    return *want == *id ? &classes : NULL;
}

/* Replace box->host by a copy that can be changed. All instances of the box
 * share the one copy, which is enough for the tests. */
static struct hak_host *host_copy(struct hak_box *box)
{
    static struct hak_host copy;
    copy = *box->host;
    box->host = &copy;
    return &copy;
}

#define WHOLE_ENTRY(id)                                       \
    .summary = "a box for the tests", .params = whole_params, \
    .nparams = WHOLE_NPARAMS, HAK_BOX_HEADER(id, "1.0")

#define WHOLE_OPS                                                             \
    .alloc = lanes_alloc, .free = lanes_free, .owns = lanes_owns,             \
    .init = lanes_init, .usable_size = lanes_usable_size,                     \
    .slot_size = lanes_slot_size, .aligned_alloc = whole_aligned_alloc,       \
    .zalloc = whole_zalloc, .resize = whole_resize,                           \
    .heap_open = lanes_heap_open, .heap_close = lanes_heap_close,             \
    .refill = lanes_refill, .triggered = lanes_triggered,                     \
    .remote_free = lanes_remote_free, .fork = lanes_fork, .trim = lanes_trim, \
    .stats = lanes_stats, .visit_slots = lanes_visit_slots,                   \
    .set_param = whole_set_param, .state_changed = whole_retire,              \
    .get_extension = whole_get_extension

#endif
