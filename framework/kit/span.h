/* SPDX-License-Identifier: MIT
 * span.h - kit layer 1: malloc's and free's step on a span, by its owner.
 *
 * The core does these inline (see struct hak_span in hakmem/box.h); boxes do
 * the same where they serve without lanes.
 *
 * A free slot begins with its link, and the link is a mark too: xored with the
 * span's key, which has bits that no link has,
 *
 *     malloc   what it decodes to must be a link before it is followed; the
 *              word goes
 *     box      where it sees the free: no link, or it is not sure that the
 *              slot is live
 *
 * What a program has in a slot is no such word, but for one in 2^20 (or its own
 * copy of a free slot): whoever finds one looks through the lists before he
 * says so.
 */
#ifndef HAK_KIT_SPAN_H
#define HAK_KIT_SPAN_H

#include "base.h"

/* A key for links; one a span, or one for all spans that share slots. */
static inline uint64_t hak_link_key(const struct hak_box *box)
{
    return box->host->random() | HAK_KEY_BITS;
}

/* Is it marked as free? p: readable. */
static inline bool hak_slot_is_marked(const void *p, uint64_t key)
{
    uint64_t next = *(const uint64_t *)p ^ key;
    return ((next << 16 | next >> 48) & 0xfffff) == 0; /* 48 bits, 16-aligned */
}

/* The next of a slot that is marked. */
static inline void *hak_slot_next(const void *p, uint64_t key)
{
    return (void *)(uintptr_t)(*(const uint64_t *)p ^ key);
}

static inline void hak_slot_link(void *p, uint64_t key, const void *next)
{
    *(uint64_t *)p = (uintptr_t)next ^ key;
}

/* The slot goes out: no mark. */
static inline void hak_slot_clear(void *p)
{
    *(uint64_t *)p = 0;
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
    return hak_slot_next(p, span->key);
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
    span->local = hak_slot_next(p, span->key);
    hak_slot_clear(p);
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

/* Take a slot back. True: triggered() is to be called. */
static inline bool hak_span_push(struct hak_span *span, void *p)
{
    hak_slot_link(p, span->key, span->local);
    span->local = p;
    return unlikely(++span->nfree >= span->trigger);
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

/*
 * May the owner take p, in a granule of the span, back without a look at it? A
 * slot that is free is found out here when it came back last, else by malloc,
 * before it goes out twice: its mark is gone then. (A load of the mark here
 * would wait for the slot's line: `make bench BENCH="notes"`, ws 400: 10 %.)
 */
static inline bool hak_span_may_take(const struct hak_span *span, const void *p)
{
    return hak_span_has_slot_at(span, p) && p != span->local;
}

/* No reason to doubt that p, in a granule of the span, is a live slot. */
static inline bool hak_span_looks_live(const struct hak_span *span,
                                       const void *p)
{
    return hak_span_has_slot_at(span, p) && !hak_slot_is_marked(p, span->key);
}

#endif
