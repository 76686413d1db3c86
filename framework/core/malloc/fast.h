/* SPDX-License-Identifier: MIT
 * fast.h - malloc and free, inline; everything else is in slow.h.
 *
 * malloc: thread pointer -> lane of the size index -> its span: pop.
 * free:   granule -> entry -> is it mine? -> span: push.
 */
#ifndef HAKMEM_MALLOC_FAST_H
#define HAKMEM_MALLOC_FAST_H

#include <core/malloc/slow.h>
#include <core/state/build.h>
#include <core/state/directory.h>

static inline void *hak_lane_pop(struct hak_thread *t, uint32_t index)
{
    return hak_span_try_pop(hak_lane(t, index));
}

static inline void *hak_malloc(size_t size)
{
    struct hak_thread *t = hak_self;
    if (likely(size <= HAK_SMALL_MAX_BYTES)) {
        void *p = hak_lane_pop(t, (uint32_t)((size + 15) >> 4)); /* its index */
        if (likely(p != NULL))
            return p;
    } else {
        void *p = hak_lane_pop(t, hak_index_of(size));
        if (likely(p != NULL))
            return p;
    }
    return hak_alloc_slow(t, size, false);
}

/* p, in a granule of a span of the calling thread's. */
static inline void hak_free_own(struct hak_span *span, void *p)
{
    if (unlikely(!hak_span_may_take(span, p)))
        hak_free_slow(p);
    else if (hak_span_push(span, p))
        hak_free_triggered(span);
}

static inline void hak_free(void *p)
{
    size_t g = hak_directory_granule(p);
    if (hak_frees_inline() && likely(g < hak_directory.limit)) {
        uint64_t entry = hak_directory.entry[g];
        struct hak_span *span = hak_entry_span(entry);
        struct hak_thread *t = hak_self;
        if (likely(hak_entry_tag(entry) == t->tag && span->owner == t)) {
            hak_free_own(span, p);
            return;
        }
        if (likely(entry != 0)) {
            hak_free_remote(entry, p);
            return;
        }
    }
    hak_free_slow(p);
}

/*
 * realloc keeps the place when the slot is large enough and at least half used
 * (small slots always): the copy would save less than it costs.
 */
static inline bool hak_fits(size_t have, size_t size_bytes)
{
    enum { SMALL_BYTES = 64 };
    return size_bytes <= have &&
           (have <= SMALL_BYTES || size_bytes >= have / 2);
}

#endif
