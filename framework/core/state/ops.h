/* SPDX-License-Identifier: MIT
 * ops.h - one inline function for each operation of a box.
 *
 * hakmem/box.h describes the operations. build.h decides how they are called:
 * by name in a fused library, else through b->ops.
 */
#ifndef HAKMEM_STATE_OPS_H
#define HAKMEM_STATE_OPS_H

#include <core/state/build.h>

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

HAK_BOX_OUTLINE void hak_box_triggered(struct hak_span *span)
{
    HAK_BOX_RETURN(hak_loaded_of(span->box), triggered, (span));
}

static inline void hak_box_remote_free(struct hak_span *span, void *p)
{
    HAK_BOX_RETURN(hak_loaded_of(span->box), remote_free, (span, p));
}

#endif
