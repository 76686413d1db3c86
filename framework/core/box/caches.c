/* SPDX-License-Identifier: MIT
 * caches.c - what boxes keep for reuse: shrunk when memory is taken, aged.
 */
#include <core/box/caches.h>

#include <core/memory/space.h>
#include <core/state/boxes.h>

static const struct hak_loaded *grower; /* of late; atomic */

/*
 * The box that grew last is asked as well, if it has a refill: its pages are of
 * one size each, so those that it keeps may be of another size than it needs. A
 * box without one has looked through all that it keeps before it maps a block.
 */
size_t hak_boxes_shrink(size_t want_bytes)
{
    const struct hak_loaded *last = __atomic_load_n(&grower, __ATOMIC_RELAXED);
    size_t got = 0;
    for (uint32_t i = 0; i < hak_boxes.n && got < want_bytes; i++) {
        struct hak_loaded *b = hak_boxes.all[i];
        if (b->ops.shrink != NULL && (b != last || b->ops.refill != NULL))
            got += b->ops.shrink(&b->box, want_bytes - got);
    }
    return got;
}

void hak_boxes_age(const struct hak_thread *t, uint64_t now_ms)
{
    static uint64_t due_ms; /* atomic */
    if (!hak_is_due(&due_ms, now_ms, now_ms + hak_space_purge_delay_ms() / 2))
        return;
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        struct hak_loaded *b = hak_boxes.all[i];
        if (b->ops.age != NULL && t->heap[i] != NULL)
            b->ops.age(&b->box);
    }
}

void hak_boxes_reclaim(const struct hak_loaded *b, size_t size_bytes)
{
    size_t want = hak_space_will_grow(size_bytes);
    if (likely(want == 0))
        return;
    __atomic_store_n(&grower, b, __ATOMIC_RELAXED);
    hak_space_reclaimed(want, hak_boxes_shrink(want));
}
