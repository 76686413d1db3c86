/* SPDX-License-Identifier: MIT
 * fast.h - the inline paths of malloc and free; slow.h has the others.
 *
 * malloc: thread -> lane of the size index -> its span -> pop a slot.
 * free:   granule -> directory entry -> owned by this thread? -> push the slot.
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

/* malloc's inline path. Returns NULL with errno = ENOMEM if there is no memory.
 */
static inline void *hak_malloc(size_t size)
{
    struct hak_thread *t = hak_self;
    if (likely(size <= HAK_SMALL_MAX_BYTES)) {
        void *p =
            hak_lane_pop(t, (uint32_t)((size + 15) >> 4)); /* hak_index_of */
        if (likely(p != NULL))
            return p;
    } else {
        void *p = hak_lane_pop(t, hak_index_of(size));
        if (likely(p != NULL))
            return p;
    }
    return hak_alloc_slow(t, size, false);
}

/* Free p, which lies in a granule of span. The calling thread owns span. */
static inline void hak_free_own(struct hak_span *span, void *p)
{
    if (unlikely(!hak_span_may_take(span, p)))
        hak_free_slow(p);
    else if (hak_span_push(span, p))
        hak_free_triggered(span);
}

/* Free p if its granule is below `limit` and belongs to a span. False: it has
 * to take the slow path. */
static inline bool hak_free_below(void *p, size_t limit)
{
    size_t g = hak_directory_granule(p);
    if (hak_frees_inline() && likely(g < limit)) {
        uint64_t entry = hak_directory.entry[g];
        struct hak_span *span = hak_entry_span(entry);
        struct hak_thread *t = hak_self;
        if (likely(hak_entry_tag(entry) == t->tag && span->owner == t)) {
            hak_free_own(span, p);
            return true;
        }
        if (likely(entry != 0)) {
            hak_free_remote(entry, p);
            return true;
        }
    }
    return false;
}

/* free's inline path. Keeps errno. */
static inline void hak_free(void *p)
{
    if (!hak_free_below(p, hak_directory.limit))
        hak_free_slow(p);
}

/*
 * Does realloc leave the block where it is? It does when the slot is large
 * enough and at least half of it stays used, because a copy would cost more
 * than the memory that it saves. Slots of up to 64 bytes need not be half used.
 */
static inline bool hak_fits(size_t have, size_t size_bytes)
{
    enum { SMALL_BYTES = 64 };
    return size_bytes <= have &&
           (have <= SMALL_BYTES || size_bytes >= have / 2);
}

#endif
