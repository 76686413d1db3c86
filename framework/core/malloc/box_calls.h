/* SPDX-License-Identifier: MIT
 * box_calls.h - calls of one box: what the core does around them.
 *
 * A box without usable_size gets its requests enlarged by a header:
 *
 *     box's slot                 what the caller has
 *     | ... |size |offset |      | size_bytes ... |
 *           header, 16 bytes
 *
 * A foreign library may itself call malloc, in the middle of its own: foreign
 * boxes are passed over then (t->abroad), and libc is the last resort.
 */
#ifndef HAKMEM_MALLOC_BOX_CALLS_H
#define HAKMEM_MALLOC_BOX_CALLS_H

#include <core/state/ops.h>
#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/* offset: from the slot's start to the caller's pointer (16, or more for an
 * aligned request). */
struct hak_header {
    uint64_t size_bytes;
    uint64_t offset;
};

static inline struct hak_header *hak_header_of(const void *p)
{
    return (struct hak_header *)(uintptr_t)p - 1;
}

/*
 * A foreign library may itself call malloc, in the middle of its own: foreign
 * boxes are passed over then, and libc is the last resort.
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

static inline size_t hak_box_usable(const struct hak_loaded *b, const void *p)
{
    if (hak_box_header_bytes(b) != 0)
        return hak_header_of(p)->size_bytes;
    return hak_box_usable_size(b, p);
}

/* A box without figures of its own has its bytes counted, at a call each; not
 * a foreign one, where asking costs as much as the call. */
static inline bool hak_box_counts_bytes(const struct hak_loaded *b)
{
    return !HAK_BOX_HAS(b, stats) && !b->foreign;
}

/* For crash.c; nothing without verify. t: attached, or not. */
static inline void hak_call_begins(struct hak_thread *t,
                                   const struct hak_loaded *b,
                                   const char *operation, size_t size)
{
    if (!hak_verifies() || !hak_is_attached(t))
        return;
    t->call.operation = operation;
    t->call.size = size;
    t->call.box = b;
}

static inline void hak_call_ends(struct hak_thread *t)
{
    if (hak_verifies() && hak_is_attached(t))
        t->call.box = NULL;
}

static inline bool hak_is_aligned(const void *p, size_t align)
{
    return align == 0 || ((uintptr_t)p & (align - 1)) == 0;
}

/*
 * hak_from_box - one slot of b, counted. t: the calling thread, attached or
 * not. size_bytes 0: a block of no bytes, if the box has such, else of one.
 * NULL: b declines.
 */
void *hak_from_box(struct hak_thread *t, struct hak_loaded *b, size_t size,
                   bool zero);
/* The same, aligned. size > 0. */
void *hak_from_box_aligned(struct hak_thread *t, struct hak_loaded *b,
                           size_t align, size_t size);
/* p, of b, by a call of ops->free; counted where b has no lanes. */
void hak_to_box(struct hak_loaded *b, void *p);
/* [core] verify: end with the box and its operation, where the fault is seen
 * first. p: what the operation returned. */
void hak_verify_slot(struct hak_loaded *b, const char *operation, const char *p,
                     size_t size);

#pragma GCC visibility pop

#endif
