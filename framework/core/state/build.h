/* SPDX-License-Identifier: MIT
 * build.h - settings and calls of boxes, for both kinds of build.
 *
 * In a fused library these functions return constants (core/state/fused.h). In
 * the other build they read the state. No other file of core/ distinguishes
 * the two builds.
 */
#ifndef HAKMEM_STATE_BUILD_H
#define HAKMEM_STATE_BUILD_H

#include <core/state/chains.h>
#include <core/state/core.h>
#include <core/state/fused.h>

#pragma GCC visibility push(hidden)

#ifdef HAK_FUSED

#include <fused_boxes.h>

#define HAK_BUILD "fused"

/* For functions that free() calls rarely. They are not inlined, because free()
 * would then set up a stack frame for them each time. */
#define HAK_BOX_OUTLINE static __attribute__((noinline, unused))

static inline uint32_t hak_fused_index(const struct hak_loaded *b)
{
    return (uint32_t)(b - hak_fused_boxes.loaded);
}

/* Bit i of mask, where i is the index of box b. The index is not computed when
 * all boxes have the same bit. */
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

/* Return from the function with the result of operation op of box b. */
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

/* May free() look in the directory inline? */
static inline bool hak_frees_inline(void)
{
    return !hak_fused.verify && hak_fused.free_route == HAK_FREE_DIRECTORY;
}

static inline bool hak_routes_may_change(void)
{
    return false;
}

/* Are boxes and modules opened with dlopen, and an INI read? */
static inline bool hak_opens_files(void)
{
    return false;
}

/* core.h, HAK_SAMPLE_: any of them, and each kind. */
static inline bool hak_samples(void)
{
    return false;
}

static inline bool hak_watches(void)
{
    return false;
}

static inline bool hak_samples_for_box(void)
{
    return false;
}

static inline bool hak_samples_bytes(void)
{
    return false;
}

/* Does a module have to be asked about blocks that are freed? */
static inline bool hak_asks_frees(void)
{
    return false;
}

/* The functions that watch calls, or NULL. */
static inline const struct hak_call_ops *hak_tap(void)
{
    return NULL;
}

static inline bool hak_goes_abroad(void)
{
    return false;
}

static inline const struct hak_chain *hak_chain_of(uint32_t index)
{
    return &hak_fused.chain[hak_fused.route[index]];
}

#else /* the usual build: boxes are dlopened, an INI is read */

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
    return true; /* hak_directory.limit is 0 where it may not */
}

static inline bool hak_routes_may_change(void)
{
    return true;
}

static inline bool hak_opens_files(void)
{
    return true;
}

static inline uint32_t hak_sampling(void)
{
    return __atomic_load_n(&hak_core.sampling, __ATOMIC_RELAXED);
}

static inline bool hak_samples(void)
{
    return unlikely(hak_sampling() != 0);
}

/* Does malloc have to count requests? */
static inline bool hak_watches(void)
{
    return unlikely(
        (hak_sampling() & (HAK_SAMPLE_FOR_BOX | HAK_SAMPLE_BYTES)) != 0);
}

static inline bool hak_samples_for_box(void)
{
    return (hak_sampling() & HAK_SAMPLE_FOR_BOX) != 0;
}

static inline bool hak_samples_bytes(void)
{
    return unlikely((hak_sampling() & HAK_SAMPLE_BYTES) != 0);
}

static inline bool hak_asks_frees(void)
{
    return unlikely(__atomic_load_n(&hak_core.sample_ops, __ATOMIC_ACQUIRE) !=
                    NULL);
}

static inline const struct hak_call_ops *hak_tap(void)
{
    return __atomic_load_n(&hak_core.tap, __ATOMIC_ACQUIRE);
}

/* Can there be a foreign box? */
static inline bool hak_goes_abroad(void)
{
    return true;
}

static inline const struct hak_chain *hak_chain_of(uint32_t index)
{
    return __atomic_load_n(&hak_policy.chain[index], __ATOMIC_ACQUIRE);
}

#endif

#pragma GCC visibility pop

#endif
