/* SPDX-License-Identifier: MIT
 * span.h - kit layer 1: malloc's and free's step on a span, by its owner.
 *
 * The core does these inline (see struct hak_span in hakmem/box.h); boxes do
 * the same where they serve without lanes.
 */
#ifndef HAK_KIT_SPAN_H
#define HAK_KIT_SPAN_H

#include "base.h"

/* A free slot, or NULL: the span has none. */
static inline void *hak_span_pop(struct hak_span *span)
{
    void *p = span->local;
    if (likely(p != NULL)) {
        void *next = *(void **)p;
        span->local = next;
        span->nalloc++;
    }
    return p;
}

/* Take a slot back. True: drained() is to be called. */
static inline bool hak_span_push(struct hak_span *span, void *p)
{
    *(void **)p = span->local;
    span->local = p;
    return unlikely(++span->nfree == span->trigger);
}

#endif
