/* SPDX-License-Identifier: MIT
 * box_calls.h - calls operations of one box: headers, counts, verify.
 *
 * A box without usable_size gets requests that are 16 bytes larger. The core
 * keeps the size in a header in front of the caller's block:
 *
 *     the box's slot        the caller's block
 *     | ... |size |offset | size_bytes ... |
 *           header, 16 bytes
 */
#ifndef HAKMEM_MALLOC_BOX_CALLS_H
#define HAKMEM_MALLOC_BOX_CALLS_H

#include <core/state/ops.h>
#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/* offset: from the start of the slot to the caller's block. 16, or more for an
 * aligned request. */
struct hak_header {
    uint64_t size_bytes;
    uint64_t offset;
};

static inline struct hak_header *hak_header_of(const void *p)
{
    return (struct hak_header *)(uintptr_t)p - 1;
}

/*
 * hak_go_abroad and hak_come_home stand around each call of a foreign library.
 * The library may itself call malloc, in the middle of an operation of its own.
 * While t->abroad is not 0, such requests pass over foreign boxes, and libc is
 * their last resort.
 */
static inline void hak_go_abroad(struct hak_thread *t,
                                 const struct hak_loaded *b)
{
    if (unlikely(b->foreign) && hak_is_attached(t))
        t->abroad++;
}

static inline void hak_come_home(struct hak_thread *t,
                                 const struct hak_loaded *b)
{
    if (unlikely(b->foreign) && hak_is_attached(t))
        t->abroad--;
}

/* Usable bytes of p, a live slot of b. */
static inline size_t hak_box_usable(const struct hak_loaded *b, const void *p)
{
    if (hak_box_header_bytes(b) != 0)
        return hak_header_of(p)->size_bytes;
    return hak_box_usable_size(b, p);
}

/* Does the core count the bytes of b's slots? It does for a box without stats,
 * at the cost of a call of usable_size for each slot. It does not for a foreign
 * box, where that call costs as much as the allocation. */
static inline bool hak_box_counts_bytes(const struct hak_loaded *b)
{
    return !HAK_BOX_HAS(b, stats) && !b->foreign;
}

static inline bool hak_is_aligned(const void *p, size_t align)
{
    return align == 0 || ((uintptr_t)p & (align - 1)) == 0;
}

/*
 * hak_from_box - get one slot of b by ops->alloc or zalloc, and count it.
 * t        the calling thread, attached
 * size     bytes; 0: a slot of no bytes if the box has alloc_none, else of one
 * zero     every usable byte has to be zero
 * Returns  NULL: b declines. errno may have changed
 */
void *hak_from_box(struct hak_thread *t, struct hak_loaded *b, size_t size,
                   bool zero);
/* Like hak_from_box, aligned to `align`, a power of two above 16. size > 0. */
void *hak_from_box_aligned(struct hak_thread *t, struct hak_loaded *b,
                           size_t align, size_t size);
/* Give slot p of b back by ops->free. It is counted if b has no lanes. */
void hak_to_box(struct hak_loaded *b, void *p);

#pragma GCC visibility pop

#endif
