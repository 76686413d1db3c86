/* SPDX-License-Identifier: MIT
 * span.h - kit layer 1: how the owner of a span takes a slot and puts one back.
 *
 * The core does this inline in malloc and free (see struct hak_span in
 * hakmem/box.h). Boxes do the same where they serve without lanes.
 *
 * A free slot begins with its mark: the link to the next free slot, xored with
 * the span's key. The key has bits that no link has, so a word is a mark if it
 * decodes to a possible link.
 *
 *     malloc   follows the mark of a slot only if it is one, and clears it
 *     a box    that sees a free takes a slot with a mark for free already,
 *              until it has searched the free lists
 *
 * The search is needed because data of the program look like a mark by chance,
 * one word in 2^20, or because the program has copied a free slot.
 */
#ifndef HAK_KIT_SPAN_H
#define HAK_KIT_SPAN_H

#include "base.h"

/* A key for marks. Each span has its own; spans that share slots have one key
 * together. */
static inline uint64_t hak_link_key(const struct hak_box *box)
{
    return box->host->random() | HAK_KEY_BITS;
}

/* Does the slot p begin with a mark? p must be readable. */
static inline bool hak_slot_is_marked(const void *p, uint64_t key)
{
    uint64_t next = *(const uint64_t *)p ^ key;
    return ((next << 16 | next >> 48) & 0xfffff) == 0; /* 48 bits, 16-aligned */
}

/* The slot that the mark of p links to, or NULL. */
static inline void *hak_slot_next(const void *p, uint64_t key)
{
    return (void *)(uintptr_t)(*(const uint64_t *)p ^ key);
}

static inline void hak_slot_link(void *p, uint64_t key, const void *next)
{
    *(uint64_t *)p = (uintptr_t)next ^ key;
}

/* Clear the mark of a slot that is handed out. */
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

/* The slot after p in a free list of the span, or NULL. Aborts if p has no
 * mark. */
static inline void *hak_span_next(const struct hak_span *span, const void *p)
{
    if (unlikely(!hak_slot_is_marked(p, span->key)))
        hak_link_broken(span->box, p, span->slot_bytes);
    return hak_slot_next(p, span->key);
}

/*
 * Take a free slot. NULL: the span has none, or the first one has no mark. The
 * latter is an error, but malloc finds it in its slow path only: a call of
 * hak_link_broken here would cost malloc a stack frame.
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

/* Take a free slot. NULL: the span has none. Aborts if the first one has no
 * mark. */
static inline void *hak_span_pop(struct hak_span *span)
{
    if (likely(span->local != NULL))
        (void)hak_span_next(span, span->local);
    return hak_span_try_pop(span);
}

/* Put a slot back. Returns true: the caller must call ops->triggered. */
static inline bool hak_span_push(struct hak_span *span, void *p)
{
    hak_slot_link(p, span->key, span->local);
    span->local = p;
    return unlikely(++span->nfree >= span->trigger);
}

/* ---- is it a slot, is it live? ------------------------------------------ */

/*
 * Set slot size and start of a span. The test for a slot's start is from
 * Lemire, Kaser, Kurz, "Faster remainder by direct computation" (2019): n % d
 * == 0 if and only if n * c < c, with c = 2^64 / d rounded up, for all n and d
 * of 32 bits.
 */
static inline void hak_span_slots(struct hak_span *span, const void *start,
                                  uint32_t slot_bytes)
{
    span->slot_bytes = slot_bytes;
    span->start = (uint32_t)(uintptr_t)start;
    span->inverse = UINT64_MAX / slot_bytes + 1;
}

/* Does a slot start at p? p is in a granule of the span. */
static inline bool hak_span_has_slot_at(const struct hak_span *span,
                                        const void *p)
{
    uint32_t at = (uint32_t)(uintptr_t)p - span->start;
    return at * span->inverse < span->inverse;
}

/*
 * May the owner put p back without reading the slot? p is in a granule of the
 * span. A double free is found here only if p is the slot that came back last.
 * Any other is found by malloc, before the slot is handed out twice, since the
 * mark is gone by then. To read the mark here would wait for the slot's cache
 * line (`make bench BENCH="notes"`, ws 400: 10 %).
 */
static inline bool hak_span_may_take(const struct hak_span *span, const void *p)
{
    return hak_span_has_slot_at(span, p) && p != span->local;
}

/* Is there no reason to doubt that p is a live slot? p is in a granule of the
 * span. */
static inline bool hak_span_looks_live(const struct hak_span *span,
                                       const void *p)
{
    return hak_span_has_slot_at(span, p) && !hak_slot_is_marked(p, span->key);
}

#endif
