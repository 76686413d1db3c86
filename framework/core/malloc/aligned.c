/* SPDX-License-Identifier: MIT
 * aligned.c - requests with an alignment of more than 16 bytes.
 */
#include <core/malloc/alloc.h>

#include <core/malloc/box_calls.h>
#include <core/malloc/fast.h>
#include <core/malloc/routing.h>
#include <core/malloc/sampled.h>
#include <core/malloc/tapped.h>
#include <core/memory/boot.h>
#include <core/memory/libc.h>
#include <core/thread/thread.h>

#include <errno.h>

/*
 * Take an aligned slot from a lane. Boxes place slots at multiples of the slot
 * size, so a size that is rounded up to the alignment usually has aligned
 * slots. It is not tried when a box keeps the requested sizes
 * (hak.requests/1), as it would see the rounded size.
 */
static void *aligned_from_lane(size_t align, size_t size)
{
    if (hak_boxes.keeps_requests || align > HAK_GRANULE_BYTES ||
        size > HAK_LANE_MAX_BYTES)
        return NULL; /* pages are aligned to a granule, not to more */
    size_t rounded = hak_round_up(size == 0 ? 1 : size, align);
    if (rounded > HAK_LANE_MAX_BYTES ||
        !hak_lane_may_align(hak_lane(hak_self, hak_index_of(rounded)), align))
        return NULL;
    void *p = hak_malloc(rounded);
    if (p == NULL || hak_is_aligned(p, align))
        return p;
    hak_free(p);
    return NULL;
}

static void *aligned_from_chain(struct hak_thread *t, size_t align, size_t size)
{
    const struct hak_chain *chain = hak_chain_of(
        align > HAK_GRANULE_BYTES ? HAK_INDEX_LARGE
                                  : hak_index_of(hak_max(size, align)));
    for (uint32_t i = 0; chain->box[i] != NULL; i++) {
        struct hak_loaded *b = chain->box[i];
        if (unlikely(t->abroad != 0) && b->foreign)
            continue;
        void *p = hak_from_box_aligned(t, b, align, size);
        if (p != NULL)
            return p;
        hak_count(&t->count[b->box.index].declines, 1);
    }
    return hak_last_resort(t, chain, align, size, false);
}

void *hak_from_chain_aligned(struct hak_thread *t, size_t align, size_t size)
{
    hak_begin_routing(t);
    void *p = aligned_from_chain(t, align, size);
    hak_end_routing(t);
    return p;
}

void *hak_alloc_aligned_untold(size_t align, size_t size)
{
    if (align > PTRDIFF_MAX || size > PTRDIFF_MAX - align) {
        errno = ENOMEM;
        return NULL;
    }
    if (hak_core.mode != HAK_MODE_BOXES) {
        void *p =
            hak_core.mode == HAK_MODE_BOOT ? hak_boot_alloc(align, size) : NULL;
        return p != NULL ? p : hak_libc_alloc(align, size, false);
    }
    int kept = errno;
    void *p = aligned_from_lane(align, size);
    errno = kept;
    if (p != NULL)
        return p;
    struct hak_thread *t = hak_self;
    if (!hak_is_attached(t) && (t = hak_thread_attach()) == NULL)
        return hak_from_libc(&hak_nobody, HAK_FALLBACK_LIBC, align, size,
                             false);
    if (hak_samples() && (p = hak_sampled(t, align, size, false)) != NULL)
        return p;
    p = hak_from_chain_aligned(t, align, size == 0 ? 1 : size);
    errno = p != NULL ? kept : ENOMEM;
    return p;
}

void *hak_alloc_aligned(size_t align, size_t size)
{
    const struct hak_call_ops *tap = hak_tap_of(hak_self);
    return unlikely(tap != NULL) ? hak_tapped_aligned(tap, align, size)
                                 : hak_alloc_aligned_untold(align, size);
}
