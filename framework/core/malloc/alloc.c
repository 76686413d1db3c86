/* SPDX-License-Identifier: MIT
 * alloc.c - malloc's slow path: offers a request to each box of its chain.
 *
 * A box with lanes refills the lane, another one gets a call of ops->alloc.
 * libc comes last, unless the route ends in "none".
 */
#include <core/malloc/alloc.h>

#include <core/box/modules.h>
#include <core/malloc/box_calls.h>
#include <core/malloc/sampled.h>
#include <core/malloc/short_way.h>
#include <core/malloc/tapped.h>
#include <core/malloc/verify.h>
#include <core/route/lanes.h>
#include <core/route/sample.h>
#include <core/thread/mailbox.h>
#include <core/thread/thread.h>

#include <errno.h>
#include <string.h>

/*
 * Put the span into the lane, and into neighbouring lanes whose requests get
 * slots of the same size. Where slot sizes are coarse, each of these lanes
 * would otherwise need a refill of its own for each new span.
 */
static void set_lanes(struct hak_span **lanes, const struct hak_loaded *b,
                      uint32_t index, struct hak_span *span)
{
    struct hak_lane_group group;
    __atomic_load(&hak_core.group[index], &group, __ATOMIC_RELAXED);
    if (hak_lane_of(lanes, index) == span)
        return;
    if (hak_chain_of(index)->box[0] != b ||
        span->slot_bytes < hak_lane_bytes(group.last))
        group.first = group.last = (uint8_t)index;
    /* The group may be of before a change of routes that t has seen. */
    for (uint32_t i = group.first; i <= group.last; i++)
        if (i == index || hak_chain_of(i)->box[0] == b)
            hak_lane_set(lanes, i, span);
}

/* If routes have changed, empty the lanes of t that do not fit them. */
static void sync_epoch(struct hak_thread *t)
{
    if (!hak_routes_may_change())
        return;
    uint64_t epoch = __atomic_load_n(&hak_policy.epoch, __ATOMIC_ACQUIRE);
    if (unlikely(t->epoch != epoch)) {
        t->epoch = epoch;
        hak_lanes_resync(t);
        hak_thread_leave_closed(t);
    }
}

/* Does the lane of a span have to stay empty, so that no slot is taken inline?
 * With verify each one is checked, and of samples each one counts. */
static bool lane_stays_empty(struct hak_thread *t, const struct hak_span *span)
{
    return hak_verifies() || (hak_samples() && (hak_sample_is_near(t, span) ||
                                                hak_tap() != NULL));
}

/* Let box b refill the lane, and take a slot. NULL: it declines. */
static void *refill_lanes(struct hak_thread *t, struct hak_loaded *b,
                          uint32_t index)
{
    void *heap = hak_thread_heap(t, b, true);
    if (heap == NULL)
        return NULL;
    struct hak_span *span = hak_box_refill(b, heap, hak_lane_bytes(index));
    if (span == NULL)
        return NULL;
    hak_count(&t->count[b->box.index].refills, 1);
    struct hak_span **lanes = hak_lanes_set_now(t);
    if (lanes == NULL || lane_stays_empty(t, span)) {
        hak_lanes_drop(t, span);
        void *slot = hak_span_pop(span);
        if (hak_samples())
            hak_sample_took(t, index, span);
        if (hak_verifies())
            hak_verify_slot(b, "refill", slot, hak_lane_bytes(index));
        return slot;
    }
    set_lanes(lanes, b, index, span);
    /*
     * A thread that changes routes may have emptied the lane just before it was
     * set here. The store of the lane above must come before the load of the
     * epoch below. That thread stores the epoch, makes a barrier in all threads
     * (hak_lanes_reroute), then empties lanes. So either it empties what was
     * set here, or the new epoch is seen here. A fence instruction is needed
     * only where hak_os_barrier does not work. The same holds for a thread that
     * begins or ends to watch calls (route/tap.c).
     */
    if (hak_routes_may_change() && unlikely(hak_core.fences))
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    sync_epoch(t);
    if (unlikely(hak_lanes_set_now(t) != lanes))
        hak_lanes_clear(t);
    void *p = hak_span_pop(span);
    if (hak_samples())
        hak_sample_lane(t, index, span);
    return p;
}

void *hak_from_libc(struct hak_thread *t, enum hak_fallback last, size_t align,
                    size_t size, bool zero)
{
    void *p = NULL;
    if (last == HAK_FALLBACK_LIBC)
        p = hak_libc_alloc(align, size, zero);
    if (p == NULL)
        errno = ENOMEM;
    else if (hak_is_attached(t))
        hak_count(&t->libc_allocs, 1);
    return p;
}

/*
 * The last resort is libc. With a residual box it is that box instead, since
 * libc's blocks are then recorded one by one, which is meant for few blocks. A
 * residual box that drains gets no more requests.
 */
void *hak_last_resort(struct hak_thread *t, const struct hak_chain *chain,
                      size_t align, size_t size, bool zero)
{
    struct hak_loaded *b = hak_boxes.residual;
    if (unlikely(t->abroad != 0))
        return hak_from_libc(t, HAK_FALLBACK_LIBC, align, size, zero);
    if (likely(b == NULL) || chain->last != HAK_FALLBACK_LIBC ||
        hak_state_of(b) != HAK_BOX_ACTIVE)
        return hak_from_libc(t, chain->last, align, size, zero);
    for (uint32_t i = 0; chain->box[i] != NULL; i++)
        if (chain->box[i] == b)
            return NULL; /* the chain has offered it the request already */
    return align > HAK_ALIGN_BYTES ? hak_from_box_aligned(t, b, align, size)
                                   : hak_from_box(t, b, size, zero);
}

static void *down_the_chain(struct hak_thread *t, uint32_t index, size_t size,
                            bool zero)
{
    const struct hak_chain *chain = hak_chain_of(index);
    int kept = errno;
    size_t want = size == 0 ? 1 : size;
    for (uint32_t i = 0; chain->box[i] != NULL; i++) {
        struct hak_loaded *b = chain->box[i];
        void *p = NULL;
        if (unlikely(t->abroad != 0) && b->foreign)
            continue;
        if (hak_box_lanes(b) && index < HAK_LANES) {
            p = refill_lanes(t, b, index);
            if (p != NULL && zero) /* zero every usable byte, as glibc does */
                memset(p, 0, hak_directory_get(p)->slot_bytes);
        } else {
            p = hak_from_box(t, b, size, zero);
        }
        errno = kept;
        if (p != NULL)
            return p;
        hak_count(&t->count[b->box.index].declines, 1);
    }
    void *p = hak_last_resort(t, chain, HAK_ALIGN_BYTES, want, zero);
    errno = p != NULL ? kept : ENOMEM;
    return p;
}

void *hak_from_chain(struct hak_thread *t, uint32_t index, size_t size,
                     bool zero)
{
    hak_begin_routing(t);
    void *p = down_the_chain(t, index, size, zero);
    hak_end_routing(t);
    return p;
}

/* For a thread without a structure: the core is not ready or not in use, the
 * thread is inside fork, or there is no memory for a structure. */
static void *alloc_unattached(size_t size, bool zero)
{
    void *p = NULL;
    if (hak_core.mode == HAK_MODE_BOOT)
        p = hak_boot_alloc(HAK_ALIGN_BYTES, size); /* always zeroed */
    if (p == NULL)
        p = hak_from_libc(&hak_nobody, HAK_FALLBACK_LIBC, HAK_ALIGN_BYTES, size,
                          zero);
    return p;
}

/* noinline: hak_alloc_short must not save registers for it. */
__attribute__((noinline)) static void *alloc_by_route(struct hak_thread *t,
                                                      size_t size, bool zero)
{
    if (unlikely(size > PTRDIFF_MAX)) {
        errno = ENOMEM;
        return NULL;
    }
    if (unlikely(!hak_is_attached(t))) {
        t = hak_core.mode == HAK_MODE_BOXES ? hak_thread_attach() : NULL;
        if (t == NULL)
            return alloc_unattached(size, zero);
    }
    if (hak_verifies())
        hak_verify_outside("malloc");
    if (unlikely(hak_modules_are_waiting()))
        hak_modules_serve();
    sync_epoch(t);
    hak_tick(t);
    hak_mailbox_receive(t);
    void *p =
        hak_samples() ? hak_sampled(t, HAK_ALIGN_BYTES, size, zero) : NULL;
    if (p == NULL)
        p = hak_from_chain(t, hak_index_of(size), size, zero);
    hak_pay_for_growth();
    return p;
}

void *hak_alloc_untold(struct hak_thread *t, size_t size, bool zero)
{
    void *p = hak_alloc_short(t, size, zero);
    return likely(p != NULL) ? p : alloc_by_route(t, size, zero);
}

void *hak_alloc_slow(struct hak_thread *t, size_t size, bool zero)
{
    const struct hak_call_ops *tap = hak_tap_of(t);
    return unlikely(tap != NULL) ? hak_tapped_alloc(tap, t, size, zero)
                                 : hak_alloc_untold(t, size, zero);
}
