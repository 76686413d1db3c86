/* SPDX-License-Identifier: MIT
 * ops.h - one inline function for each operation of a box.
 *
 * hakmem/box.h describes the operations. build.h decides how they are called:
 * by name in a fused library, else through b->ops. While calls are noted
 * (op_calls.h), the functions of op_calls.c call them through b->ops in both
 * builds.
 */
#ifndef HAKMEM_STATE_OPS_H
#define HAKMEM_STATE_OPS_H

#include <core/state/op_calls.h>

#pragma GCC visibility push(hidden)

/* ---- op_calls.c ---- */

#define HAK_NOTED __attribute__((cold, noinline))
void *hak_noted_alloc(struct hak_loaded *b, size_t size_bytes) HAK_NOTED;
void *hak_noted_alloc_none(struct hak_loaded *b) HAK_NOTED;
void *hak_noted_zalloc(struct hak_loaded *b, size_t size_bytes) HAK_NOTED;
void *hak_noted_aligned_alloc(struct hak_loaded *b, size_t align_bytes,
                              size_t size_bytes) HAK_NOTED;
void *hak_noted_resize(struct hak_loaded *b, void *p,
                       size_t size_bytes) HAK_NOTED;
bool hak_noted_owns(struct hak_loaded *b, const void *p) HAK_NOTED;
size_t hak_noted_usable_size(struct hak_loaded *b, const void *p) HAK_NOTED;
size_t hak_noted_slot_size(struct hak_loaded *b, size_t size_bytes) HAK_NOTED;
struct hak_span *hak_noted_refill(struct hak_loaded *b, void *heap,
                                  size_t size_bytes) HAK_NOTED;
void hak_noted_free(struct hak_loaded *b, void *p) HAK_NOTED;
void hak_noted_triggered(struct hak_span *span) HAK_NOTED;
void hak_noted_remote_free(struct hak_span *span, void *p) HAK_NOTED;

/* ---- for malloc/short_way.h, which is not used while calls are noted ---- */

static inline void *hak_quick_alloc(struct hak_loaded *b, size_t size_bytes)
{
    HAK_BOX_RETURN(b, alloc, (&b->box, size_bytes));
}

static inline void *hak_quick_zalloc(struct hak_loaded *b, size_t size_bytes)
{
    HAK_BOX_RETURN(b, zalloc, (&b->box, size_bytes));
}

static inline bool hak_quick_owns(struct hak_loaded *b, const void *p)
{
    HAK_BOX_RETURN(b, owns, (&b->box, p));
}

static inline void *hak_quick_resize(struct hak_loaded *b, void *p,
                                     size_t size_bytes)
{
    HAK_BOX_RETURN(b, resize, (&b->box, p, size_bytes));
}

static inline void hak_quick_free(struct hak_loaded *b, void *p)
{
    HAK_BOX_RETURN(b, free, (&b->box, p));
}

/* ---- the operations ---- */

static inline void *hak_box_alloc(struct hak_loaded *b, size_t size_bytes)
{
    return unlikely(hak_blames()) ? hak_noted_alloc(b, size_bytes)
                                  : hak_quick_alloc(b, size_bytes);
}

static inline void *hak_box_alloc_none(struct hak_loaded *b)
{
    if (unlikely(hak_blames()))
        return hak_noted_alloc_none(b);
    HAK_BOX_RETURN(b, alloc_none, (&b->box));
}

static inline void hak_box_free(struct hak_loaded *b, void *p)
{
    if (unlikely(hak_blames()))
        hak_noted_free(b, p);
    else
        hak_quick_free(b, p);
}

static inline bool hak_box_owns(struct hak_loaded *b, const void *p)
{
    return unlikely(hak_blames()) ? hak_noted_owns(b, p) : hak_quick_owns(b, p);
}

static inline size_t hak_box_usable_size(const struct hak_loaded *b,
                                         const void *p)
{
    struct hak_loaded *whole = (struct hak_loaded *)(uintptr_t)b;
    if (unlikely(hak_blames()))
        return hak_noted_usable_size(whole, p);
    HAK_BOX_RETURN(whole, usable_size, (&whole->box, p));
}

static inline size_t hak_box_slot_size(struct hak_loaded *b, size_t size_bytes)
{
    if (unlikely(hak_blames()))
        return hak_noted_slot_size(b, size_bytes);
    HAK_BOX_RETURN(b, slot_size, (&b->box, size_bytes));
}

static inline void *hak_box_aligned_alloc(struct hak_loaded *b,
                                          size_t align_bytes, size_t size_bytes)
{
    if (unlikely(hak_blames()))
        return hak_noted_aligned_alloc(b, align_bytes, size_bytes);
    HAK_BOX_RETURN(b, aligned_alloc, (&b->box, align_bytes, size_bytes));
}

static inline void *hak_box_zalloc(struct hak_loaded *b, size_t size_bytes)
{
    return unlikely(hak_blames()) ? hak_noted_zalloc(b, size_bytes)
                                  : hak_quick_zalloc(b, size_bytes);
}

static inline void *hak_box_resize(struct hak_loaded *b, void *p,
                                   size_t size_bytes)
{
    return unlikely(hak_blames()) ? hak_noted_resize(b, p, size_bytes)
                                  : hak_quick_resize(b, p, size_bytes);
}

static inline struct hak_span *hak_box_refill(struct hak_loaded *b, void *heap,
                                              size_t size_bytes)
{
    if (unlikely(hak_blames()))
        return hak_noted_refill(b, heap, size_bytes);
    HAK_BOX_RETURN(b, refill, (&b->box, heap, size_bytes));
}

HAK_BOX_OUTLINE void hak_box_triggered(struct hak_span *span)
{
    if (unlikely(hak_blames()))
        hak_noted_triggered(span);
    else
        HAK_BOX_RETURN(hak_loaded_of(span->box), triggered, (span));
}

static inline void hak_box_remote_free(struct hak_span *span, void *p)
{
    if (unlikely(hak_blames()))
        hak_noted_remote_free(span, p);
    else
        HAK_BOX_RETURN(hak_loaded_of(span->box), remote_free, (span, p));
}

/* Rare operations: called through b->ops in both builds. The caller has tested
 * that the box has them. */
static inline void hak_box_age(struct hak_loaded *b)
{
    struct hak_op_scope scope;
    hak_op_begins(&scope, b, HAK_OP_age, 0);
    b->ops.age(&b->box);
    hak_op_ends(&scope);
}

static inline size_t hak_box_shrink(struct hak_loaded *b, size_t want_bytes)
{
    struct hak_op_scope scope;
    hak_op_begins(&scope, b, HAK_OP_shrink, want_bytes);
    size_t got = b->ops.shrink(&b->box, want_bytes);
    hak_op_ends(&scope);
    return got;
}

static inline size_t hak_box_trim(struct hak_loaded *b)
{
    struct hak_op_scope scope;
    hak_op_begins(&scope, b, HAK_OP_trim, 0);
    size_t got = b->ops.trim(&b->box);
    hak_op_ends(&scope);
    return got;
}

static inline void hak_box_state_changed(struct hak_loaded *b)
{
    struct hak_op_scope scope;
    hak_op_begins(&scope, b, HAK_OP_state_changed, 0);
    b->ops.state_changed(&b->box);
    hak_op_ends(&scope);
}

#pragma GCC visibility pop

#endif
