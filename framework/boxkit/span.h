/* SPDX-License-Identifier: MIT
 * span.h - kit layer 1: malloc's and free's step on a span, by its owner.
 *
 * The core does these inline (see struct hak_span in hakmem/box.h); boxes do
 * the same where they serve without lanes.
 *
 * A free slot carries its mark in its second word, next ^ key:
 *
 *     malloc   the mark must be whole before the link is followed; it goes
 *     free     no mark, or it is not sure that the slot is live
 *
 * The key is odd and links are even, so a slot that the program had and never
 * wrote to has none. One that has may be the program's own doing (a copy of a
 * freed slot): whoever finds it looks through the lists before he says so.
 */
#ifndef HAK_KIT_SPAN_H
#define HAK_KIT_SPAN_H

#include "base.h"

struct hak_free_slot {
    void *next;
    uint64_t mark;
};

static inline struct hak_free_slot *hak_free_slot(const void *p)
{
    return (struct hak_free_slot *)(uintptr_t)p;
}

/* A key for links; one a span, or one for all spans that share slots. */
static inline uint64_t hak_link_key(const struct hak_box *box)
{
    return box->host->random() | 1;
}

/* Is it marked as free? p: readable. */
static inline bool hak_slot_is_marked(const void *p, uint64_t key)
{
    const struct hak_free_slot *slot = hak_free_slot(p);
    return ((uintptr_t)slot->next ^ slot->mark) == key;
}

static inline void hak_slot_link(void *p, uint64_t key, void *next)
{
    *hak_free_slot(p) = (struct hak_free_slot){next, (uintptr_t)next ^ key};
}

__attribute__((noreturn, cold, noinline, unused)) static void
hak_link_broken(struct hak_box *box, const void *p, size_t slot_bytes)
{
    box->host->log(box, HAK_LOG_ERROR,
                   "malloc(%zu): the free slot %p is not as free() left it: "
                   "written to since, or freed twice",
                   slot_bytes, p);
    abort();
}

/* The next of a free slot that is in a list of the span. */
static inline void *hak_span_next(const struct hak_span *span, const void *p)
{
    if (unlikely(!hak_slot_is_marked(p, span->key)))
        hak_link_broken(span->box, p, span->slot_bytes);
    return hak_free_slot(p)->next;
}

/*
 * A free slot, or NULL: the span has none, or not one that is whole. (malloc
 * then goes its slow way: with a call here it would need a frame.)
 */
static inline void *hak_span_try_pop(struct hak_span *span)
{
    void *p = span->local;
    if (unlikely(p == NULL || !hak_slot_is_marked(p, span->key)))
        return NULL;
    span->local = hak_free_slot(p)->next;
    hak_free_slot(p)->mark = 0;
    span->nalloc++;
    return p;
}

/* A free slot, or NULL: the span has none. */
static inline void *hak_span_pop(struct hak_span *span)
{
    if (likely(span->local != NULL))
        (void)hak_span_next(span, span->local);
    return hak_span_try_pop(span);
}

/* Take a slot back. True: drained() is to be called. */
static inline bool hak_span_push(struct hak_span *span, void *p)
{
    hak_slot_link(p, span->key, span->local);
    span->local = p;
    return unlikely(++span->nfree == span->trigger);
}

/* ---- is it a slot, is it live? ------------------------------------------ */

/*
 * Slots of slot_bytes lie from `start` on. Lemire, Kaser, Kurz, "Faster
 * remainder by direct computation" (2019): n % d == 0 as n * c < c with
 * c = 2^64 / d rounded up, for all n and d of 32 bits.
 */
static inline void hak_span_slots(struct hak_span *span, const void *start,
                                  uint32_t slot_bytes)
{
    span->slot_bytes = slot_bytes;
    span->start = (uint32_t)(uintptr_t)start;
    span->inverse = UINT64_MAX / slot_bytes + 1;
}

/* Is p, in a granule of the span, where a slot starts? */
static inline bool hak_span_has_slot_at(const struct hak_span *span,
                                        const void *p)
{
    uint32_t at = (uint32_t)(uintptr_t)p - span->start;
    return at * span->inverse < span->inverse;
}

/* No reason to doubt that p, in a granule of the span, is a live slot. */
static inline bool hak_span_looks_live(const struct hak_span *span,
                                       const void *p)
{
    return hak_span_has_slot_at(span, p) && !hak_slot_is_marked(p, span->key);
}

#endif
