/* SPDX-License-Identifier: MIT
 * lanes.c - the lanes of each thread: the spans that it takes slots from.
 *
 * Only its thread sets a lane to a span. Any thread may empty it, when the
 * route of its size index changes.
 *
 * While calls are watched a thread has its spans in t->taps in place of
 * t->lane, which malloc's inline path reads (malloc/tapped.h). What empties
 * lanes empties both.
 */
#include <core/route/lanes.h>

#include <base/meta.h>
#include <base/os.h>
#include <base/seal.h>
#include <core/route/sample.h>
#include <core/state/ops.h>

static void store(struct hak_span **lanes, uint32_t index,
                  struct hak_span *span)
{
    __atomic_store_n(&lanes[index], span, __ATOMIC_RELAXED);
}

/* The lanes that are set while calls are watched; NULL: t has none. */
static struct hak_span **taps_of(struct hak_thread *t)
{
    return __atomic_load_n(&t->taps, __ATOMIC_ACQUIRE);
}

static void empty_lane(struct hak_thread *t, uint32_t index)
{
    struct hak_span **taps = taps_of(t);
    store(t->lane, index, &hak_no_span);
    if (taps != NULL)
        store(taps, index, &hak_no_span);
}

struct hak_span **hak_lanes_set_now(struct hak_thread *t)
{
    if (likely(hak_tap() == NULL))
        return t->lane;
    struct hak_span **taps = taps_of(t);
    if (taps != NULL)
        return taps;
    taps = hak_meta(sizeof t->lane);
    for (uint32_t i = 0; taps != NULL && i <= HAK_LANES; i++)
        taps[i] = &hak_no_span;
    __atomic_store_n(&t->taps, taps, __ATOMIC_RELEASE);
    return taps;
}

/*
 * A span whose slots serve several size indexes may be in several lanes. All of
 * these are in lane_first .. lane_last - 1. lane_last = 0: it is in none.
 */
void hak_lane_set(struct hak_span **lanes, uint32_t index,
                  struct hak_span *span)
{
    if (hak_lane_of(lanes, index) == span)
        return;
    store(lanes, index, span);
    if (span->lane_last == 0 || index < span->lane_first)
        span->lane_first = (uint16_t)index;
    if (index >= span->lane_last)
        span->lane_last = (uint16_t)(index + 1);
}

void hak_lanes_drop(struct hak_thread *t, struct hak_span *span)
{
    if (hak_samples())
        hak_sample_drop(t, span);
    struct hak_span **taps = taps_of(t);
    for (uint32_t i = span->lane_first; i < span->lane_last; i++) {
        if (hak_lane(t, i) == span)
            store(t->lane, i, &hak_no_span);
        if (taps != NULL && hak_lane_of(taps, i) == span)
            store(taps, i, &hak_no_span);
    }
    span->lane_first = span->lane_last = 0;
}

void hak_lanes_clear(struct hak_thread *t)
{
    for (uint32_t i = 0; i <= HAK_LANES; i++)
        empty_lane(t, i);
}

static void resync(struct hak_span **lanes)
{
    for (uint32_t i = 0; i < HAK_LANES; i++) {
        const struct hak_loaded *first = hak_chain_of(i)->box[0];
        const struct hak_span *span = hak_lane_of(lanes, i);
        if (span != &hak_no_span && (first == NULL || span->box != &first->box))
            store(lanes, i, &hak_no_span);
    }
}

void hak_lanes_resync(struct hak_thread *t)
{
    resync(t->lane);
    if (taps_of(t) != NULL)
        resync(taps_of(t));
}

/* The slot size for the lane's largest request in the first box of its chain;
 * 0: there is no box, or it has no slot_size. */
static size_t slot_of_lane(uint32_t index)
{
    struct hak_loaded *b = hak_chain_of(index)->box[0];
    bool tells = b != NULL && HAK_BOX_HAS(b, slot_size);
    return tells ? hak_box_slot_size(b, hak_lane_bytes(index)) : 0;
}

/* Without memory to open the seal, the groups stay as they are. That is
 * harmless: set_lanes of alloc.c compares the slot size before it uses one. */
void hak_lanes_group(void)
{
    if (!hak_seal_open())
        return;
    for (uint32_t first = 0, last; first < HAK_LANES; first = last + 1) {
        size_t slot_bytes = slot_of_lane(first);
        last = first;
        while (slot_bytes != 0 && last + 1 < HAK_LANES &&
               hak_chain_of(last + 1) == hak_chain_of(first) &&
               slot_of_lane(last + 1) == slot_bytes)
            last++;
        struct hak_lane_group group = {(uint8_t)first, (uint8_t)last};
        for (uint32_t i = first; i <= last; i++)
            __atomic_store(&hak_core.group[i], &group, __ATOMIC_RELAXED);
    }
    hak_seal_close();
}

/*
 * A thread whose working set fits its lanes may never take a slow path, so its
 * lanes are emptied by the thread that changes the routes. A thread that is in
 * the middle of a refill may set a lane afterwards, but then it sees the new
 * epoch: the barrier here pairs with the fence in refill_lanes of alloc.c.
 */
void hak_lanes_reroute(uint32_t first, uint32_t last)
{
    hak_os_barrier();
    hak_lanes_group();
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        for (uint32_t i = first; i <= last && i < HAK_LANES; i++)
            empty_lane(t, i);
}

bool hak_thread_is_routing(void)
{
    const struct hak_thread *t = hak_thread_first();
    while (t != NULL && __atomic_load_n(&t->routing, __ATOMIC_ACQUIRE) == 0)
        t = t->next;
    return t != NULL;
}
