/* SPDX-License-Identifier: MIT
 * caches.c - memory that boxes keep for reuse: asks them to shrink and age it.
 */
#include <core/box/caches.h>

#include <core/memory/space.h>
#include <core/state/ops.h>

#include <kit/sync.h>

/* The box that hak_boxes_reclaim was last called for. Atomic. */
static const struct hak_loaded *grower;

/*
 * Held while boxes shrink for host->map. The thread that maps may hold a lock
 * of its own box, and shrink takes locks of others. A fork takes the locks of
 * all boxes in their order, which may be the other one, so it takes this lock
 * first. A thread that finds the lock taken maps without asking: it must not
 * wait for a fork while it holds the lock of a box.
 */
static struct hak_lock reclaiming;

/*
 * The box that maps memory is asked too if it has a refill. Each of its pages
 * has slots of one size, so the pages that it keeps may not fit what it needs.
 * It is not asked if it has no refill, because such a box searches all that it
 * keeps before it maps a block.
 */
size_t hak_boxes_shrink(size_t want_bytes)
{
    const struct hak_loaded *last = __atomic_load_n(&grower, __ATOMIC_RELAXED);
    size_t got = 0;
    for (uint32_t i = 0; i < hak_nboxes() && got < want_bytes; i++) {
        struct hak_loaded *b = hak_box_at(i);
        if (b->ops.shrink != NULL && (b != last || b->ops.refill != NULL))
            got += hak_box_shrink(b, want_bytes - got);
    }
    return got;
}

/* Unlike hak_boxes_shrink this asks the box that last mapped memory, too. */
size_t hak_boxes_give_back(void)
{
    struct hak_space_figures before, after;
    hak_space_read(&before);
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_at(i);
        if (b->ops.shrink != NULL)
            hak_box_shrink(b, SIZE_MAX);
    }
    hak_space_trim();
    hak_space_read(&after);
    return after.purged_bytes - before.purged_bytes;
}

void hak_boxes_age(const struct hak_thread *t, uint64_t now_ms)
{
    static uint64_t due_ms; /* atomic */
    if (!hak_is_due(&due_ms, now_ms, now_ms + hak_space_purge_delay_ms() / 2))
        return;
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_at(i);
        if (b->ops.age != NULL && t->heap[i] != NULL && t->heap_box[i] == b)
            hak_box_age(b);
    }
}

void hak_boxes_reclaim(const struct hak_loaded *b, size_t size_bytes)
{
    size_t want = hak_space_will_grow(size_bytes);
    if (likely(want == 0) || !hak_lock_try(&reclaiming))
        return;
    __atomic_store_n(&grower, b, __ATOMIC_RELAXED);
    hak_space_reclaimed(want, hak_boxes_shrink(want));
    hak_lock_drop(&reclaiming);
}

void hak_boxes_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&reclaiming, phase);
}
