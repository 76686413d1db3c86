/* SPDX-License-Identifier: MIT
 * fused.h - what a fused library has as constants. Included by core.h.
 *
 * `make fused CONF=x.ini` builds the core and the boxes of an INI into one
 * library. Its boxes are called by name instead of through a pointer, and its
 * routes and [core] settings are constants, so link-time optimisation drops
 * what they leave no use for and can inline the boxes' operations. This is the
 * one place where the two builds differ; files use the functions at the end.
 *
 * hakctl fuse makes two files of an INI:
 *
 *     fused_boxes.h   HAK_FUSED_BOXES, the boxes by index
 *     fused_conf.c    hak_fused and hak_fused_note
 */
#ifndef HAKMEM_FUSED_H
#define HAKMEM_FUSED_H

#include "core.h"

#pragma GCC visibility push(hidden)

struct hak_fused_box {
    struct hak_conf_box conf;
    const struct hak_box_entry *entry;
    union hak_value *values;
    uint32_t nvalues;
};

struct hak_fused {
    const char *file, *profile; /* the INI; profile NULL = none */
    enum hak_fallback fallback;
    enum hak_free_route free_route;
    bool verify, strict, background;
    uint64_t purge_delay_ms;
    const char *stats_at_exit, *stats_at_start;
    bool stats_json;
    uint32_t nboxes;
    struct hak_fused_box box[HAK_MAX_BOXES];     /* by priority */
    struct hak_chain chain[HAK_CONF_ROUTES + 1]; /* the last: no rule */
    uint8_t route[HAK_LANES + 1];                /* index -> chain */
};
extern const struct hak_fused hak_fused;
extern struct hak_fused_boxes {
    struct hak_loaded loaded[HAK_MAX_BOXES]; /* as hak_fused.box */
} hak_fused_boxes;

/* The section that hakctl version reads: a text, lines. */
#define HAK_NOTE_SECTION ".hakmem"
/* The lines by which hakctl run adds libhakmem-cxx.so or libhakmem-match.so. */
#define HAK_NOTE_SIZED_DELETE "  sized_delete = yes\n"
#define HAK_NOTE_MATCH_DELETE "  match_delete = yes\n"
extern const char hak_fused_note[];

#ifdef HAK_FUSED

#include <fused_boxes.h>

#define HAK_BUILD "fused"

/* For what free calls now and then: its frame must not come into free. */
#define HAK_BOX_OUTLINE static __attribute__((noinline, unused))

static inline uint32_t hak_fused_index(const struct hak_loaded *b)
{
    return (uint32_t)(b - hak_fused_boxes.loaded);
}

/* Bit i of mask, i the box's index; no look at the box where all are alike. */
static inline bool hak_fused_bit(uint32_t mask, const struct hak_loaded *b)
{
    if (mask == 0)
        return false;
    if (mask == (1u << hak_fused.nboxes) - 1)
        return true;
    return mask >> hak_fused_index(b) & 1;
}

#define HAK_FUSED_HAS(i, id, op) \
    | (uint32_t)(hak_box_entry_##id.ops.op != NULL) << (i)
#define HAK_FUSED_LANED(i, id, op)                  \
    | (uint32_t)(hak_fused.box[i].conf.lanes &&     \
                 hak_box_entry_##id.ops.op != NULL) \
            << (i)
#define HAK_FUSED_CASE(i, id, op, args)        \
    case i:                                    \
        if (hak_box_entry_##id.ops.op == NULL) \
            __builtin_unreachable();           \
        return hak_box_entry_##id.ops.op args;

/* Ends the function with a call of b's operation. */
#define HAK_BOX_RETURN(b, op, args)               \
    switch (hak_fused_index(b)) {                 \
        HAK_FUSED_BOXES(HAK_FUSED_CASE, op, args) \
    default:                                      \
        __builtin_unreachable();                  \
    }
#define HAK_BOX_HAS(b, op) \
    hak_fused_bit(0u HAK_FUSED_BOXES(HAK_FUSED_HAS, op), b)

static inline bool hak_box_lanes(const struct hak_loaded *b)
{
    return hak_fused_bit(0u HAK_FUSED_BOXES(HAK_FUSED_LANED, refill), b);
}

static inline uint32_t hak_box_header_bytes(const struct hak_loaded *b)
{
    return HAK_BOX_HAS(b, usable_size) ? 0 : 16;
}

static inline bool hak_verifies(void)
{
    return hak_fused.verify;
}

static inline enum hak_free_route hak_free_route(void)
{
    return hak_fused.free_route;
}

/* May free take its short way at all? */
static inline bool hak_frees_inline(void)
{
    return !hak_fused.verify && hak_fused.free_route == HAK_FREE_DIRECTORY;
}

static inline bool hak_routes_may_change(void)
{
    return false;
}

static inline bool hak_samples(void)
{
    return false;
}

static inline bool hak_goes_abroad(void)
{
    return false;
}

static inline const struct hak_chain *hak_chain_of(uint32_t index)
{
    return &hak_fused.chain[hak_fused.route[index]];
}

#else /* boxes are dlopened, the configuration is read */

#define HAK_BUILD "dlopened"

#define HAK_BOX_OUTLINE static inline

#define HAK_BOX_RETURN(b, op, args) return (b)->ops.op args
#define HAK_BOX_HAS(b, op) ((b)->ops.op != NULL)

static inline bool hak_box_lanes(const struct hak_loaded *b)
{
    return b->box.lanes;
}

static inline uint32_t hak_box_header_bytes(const struct hak_loaded *b)
{
    return b->header_bytes;
}

static inline bool hak_verifies(void)
{
    return hak_core.verify;
}

static inline enum hak_free_route hak_free_route(void)
{
    return hak_core.free_route;
}

static inline bool hak_frees_inline(void)
{
    return true; /* the directory's limit tells */
}

static inline bool hak_routes_may_change(void)
{
    return true;
}

static inline bool hak_samples(void)
{
    return unlikely(hak_sampling.every != 0);
}

/* May there be a foreign box? */
static inline bool hak_goes_abroad(void)
{
    return true;
}

static inline const struct hak_chain *hak_chain_of(uint32_t index)
{
    return __atomic_load_n(&hak_policy.chain[index], __ATOMIC_ACQUIRE);
}

#endif

/* ---- operations of a box, as in box.h ------------------------------------ */

static inline void *hak_box_alloc(struct hak_loaded *b, size_t size_bytes)
{
    HAK_BOX_RETURN(b, alloc, (&b->box, size_bytes));
}

static inline void *hak_box_alloc_none(struct hak_loaded *b)
{
    HAK_BOX_RETURN(b, alloc_none, (&b->box));
}

static inline void hak_box_free(struct hak_loaded *b, void *p)
{
    HAK_BOX_RETURN(b, free, (&b->box, p));
}

static inline bool hak_box_owns(struct hak_loaded *b, const void *p)
{
    HAK_BOX_RETURN(b, owns, (&b->box, p));
}

static inline size_t hak_box_usable_size(const struct hak_loaded *b,
                                         const void *p)
{
    HAK_BOX_RETURN(b, usable_size, ((struct hak_box *)(uintptr_t)&b->box, p));
}

static inline size_t hak_box_slot_size(struct hak_loaded *b, size_t size_bytes)
{
    HAK_BOX_RETURN(b, slot_size, (&b->box, size_bytes));
}

static inline void *hak_box_aligned_alloc(struct hak_loaded *b,
                                          size_t align_bytes, size_t size_bytes)
{
    HAK_BOX_RETURN(b, aligned_alloc, (&b->box, align_bytes, size_bytes));
}

static inline void *hak_box_zalloc(struct hak_loaded *b, size_t size_bytes)
{
    HAK_BOX_RETURN(b, zalloc, (&b->box, size_bytes));
}

static inline void *hak_box_resize(struct hak_loaded *b, void *p,
                                   size_t size_bytes)
{
    HAK_BOX_RETURN(b, resize, (&b->box, p, size_bytes));
}

static inline struct hak_span *hak_box_refill(struct hak_loaded *b, void *heap,
                                              size_t size_bytes)
{
    HAK_BOX_RETURN(b, refill, (&b->box, heap, size_bytes));
}

HAK_BOX_OUTLINE void hak_box_drained(struct hak_span *span)
{
    HAK_BOX_RETURN(hak_loaded_of(span->box), drained, (span));
}

/* What free does when a span's nfree reached its trigger. */
HAK_BOX_OUTLINE void hak_drained(struct hak_span *span)
{
    if (hak_samples())
        hak_sample_drained(span);
    else
        hak_box_drained(span);
}

static inline void hak_box_remote_free(struct hak_span *span, void *p)
{
    HAK_BOX_RETURN(hak_loaded_of(span->box), remote_free, (span, p));
}

#pragma GCC visibility pop

#endif
