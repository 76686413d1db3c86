/* SPDX-License-Identifier: MIT
 * guard.c - the box `guard`: blocks that lie against a guard page.
 *
 * Made for sampling ([core] sample = guard): there is a fixed number of slots,
 * and the box declines when all are in use. An access of a guard page faults at
 * once; a write beside the block within its page is found by free.
 */
#include "guard.h"

#include <errno.h>

enum param {
    PARAM_SLOTS,
    PARAM_QUARANTINE,
    PARAM_SLOT_BYTES,
    PARAM_FRAMES,
    PARAM_RATE,
    PARAM_RECHECK,
};

enum { SLOTS_MOST = 16384, WINDOW_SHIFT = 6 /* the rate's period: 64 ms */ };

static const struct hak_param params[] = {
    [PARAM_SLOTS] = {"slots", HAK_PARAM_INT, .min = 1, .max = SLOTS_MOST,
                     .def = 256, .help = "blocks, live and freed"},
    [PARAM_QUARANTINE] = {"quarantine", HAK_PARAM_INT, .max = SLOTS_MOST - 1,
                          .def = 128,
                          .help = "freed blocks that stay protected at least; "
                                  "fewer than slots"},
    [PARAM_SLOT_BYTES] = {"slot_bytes", HAK_PARAM_SIZE, .min = 1,
                          .max = 1 << 20, .def = 4096,
                          .help = "largest block, up to pages; larger "
                                  "requests go on as routed"},
    [PARAM_FRAMES] = {"frames", HAK_PARAM_INT, .max = FRAMES_MOST, .def = 20,
                      .help = "of a stack, kept at alloc and free; 0 = none"},
    [PARAM_RATE] = {"most_per_second", HAK_PARAM_INT, .max = 1000000000,
                    .def = 500,
                    .help = "samples; the rest goes on as routed; 0 = no "
                            "limit"},
    [PARAM_RECHECK] = {"signal_recheck", HAK_PARAM_BOOL, .max = 1,
                       .help = "with each sample, look whether the program has "
                               "a SIGSEGV handler of its own, and go in front: "
                               "a rt_sigaction, which some sandboxes kill for"},
};

static int init(struct hak_box *box)
{
    struct guard *guard = box->host->meta(box, sizeof *guard);
    uint32_t nslots = (uint32_t)box->params[PARAM_SLOTS].i;
    uint32_t quarantine = (uint32_t)box->params[PARAM_QUARANTINE].i;
    if (quarantine >= nslots) {
        box->host->log(box, HAK_LOG_ERROR,
                       "quarantine = %u leaves nothing of slots = %u; make it "
                       "less",
                       quarantine, nslots);
        return -EINVAL;
    }
    if (guard == NULL || !pool_init(&guard->pool, box, nslots, quarantine,
                                    (size_t)box->params[PARAM_SLOT_BYTES].i)) {
        box->host->log(box, HAK_LOG_ERROR, "no memory for its tables");
        return -ENOMEM;
    }
    guard->box = box;
    guard->stack = box->host->get_extension(HAK_STACK_1);
    guard->frames = (uint32_t)box->params[PARAM_FRAMES].i;
    guard->most_per_second = (uint64_t)box->params[PARAM_RATE].i;
    guard->signal_recheck = box->params[PARAM_RECHECK].i != 0;
    box->state = guard;
    fault_enter(guard);
    return 0;
}

/* ---- the bytes around a block -------------------------------------------- */

enum { AROUND = 0xaa };

static void paint(uintptr_t from, uintptr_t to)
{
    memset((void *)from, AROUND, to - from);
}

/* The first byte that does not have the pattern, or `to`. */
static uintptr_t find_written(uintptr_t from, uintptr_t to)
{
    const unsigned char *at = (const unsigned char *)from;
    if (from == to ||
        (at[0] == AROUND && memcmp(at, at + 1, to - from - 1) == 0))
        return to;
    while (*at == AROUND)
        at++;
    return (uintptr_t)at;
}

static void check_around(struct guard *guard, const struct slot *slot)
{
    uintptr_t first = pool_slot(&guard->pool, slot);
    uintptr_t last = first + guard->pool.slot_bytes;
    uintptr_t end = slot->start + slot->bytes;
    uintptr_t at = find_written(first, slot->start);
    if (at != slot->start)
        report_written(guard, slot, at);
    at = find_written(end, last);
    if (at != last)
        report_written(guard, slot, at);
}

/* ---- alloc and free ------------------------------------------------------ */

/* Count one sample, unless the rate of this period of 64 ms is used up. The
 * caller does not hold pool.lock. */
static bool in_rate(struct guard *guard)
{
    if (guard->most_per_second == 0)
        return true;
    uint64_t window = guard->box->host->now_ms() >> WINDOW_SHIFT;
    uint64_t most = (guard->most_per_second << WINDOW_SHIFT) / 1000 + 1;
    hak_lock_take(&guard->pool.lock);
    if (guard->window != window) {
        guard->window = window;
        guard->taken = 0;
    }
    bool room = guard->taken < most;
    guard->taken += room;
    hak_lock_drop(&guard->pool.lock);
    return room;
}

/* Place a block in its slot: in turn at the beginning, and at the end as far as
 * the alignment allows. Fill the rest of the slot with the pattern. */
static void place(struct guard *guard, struct slot *slot, size_t align,
                  size_t size)
{
    uintptr_t first = pool_slot(&guard->pool, slot);
    uintptr_t last = first + guard->pool.slot_bytes;
    bool left = hak_count_shared(&guard->nth, 1) % 2 == 0;
    slot->start = left ? first : hak_round_down(last - size, align);
    slot->bytes = size;
    slot->reported = false;
    paint(first, slot->start);
    paint(slot->start + size, last);
}

static void *aligned_alloc_slot(struct hak_box *box, size_t align, size_t size)
{
    struct guard *guard = guard_of(box);
    size = hak_max(size, sizeof(void *)); /* a freed block may hold a link */
    if (size > guard->pool.slot_bytes || align > guard->pool.page_bytes) {
        hak_count_shared(&guard->unfit, 1);
        return NULL;
    }
    if (!in_rate(guard)) {
        hak_count_shared(&guard->passed, 1);
        return NULL;
    }
    struct slot *slot = pool_take(&guard->pool);
    if (slot == NULL) {
        hak_count_shared(&guard->full, 1);
        return NULL;
    }
    if (guard->signal_recheck)
        fault_recheck();
    place(guard, slot, align, size);
    stack_take(guard, &slot->allocated);
    hak_count_shared(&guard->sampled, 1);
    hak_count_peak(&guard->peak_bytes,
                   hak_count_shared(&guard->live_bytes, (int64_t)size));
    slot_set(slot, SLOT_LIVE);
    return (void *)slot->start;
}

static void *alloc(struct hak_box *box, size_t size)
{
    return aligned_alloc_slot(box, HAK_ALIGN_BYTES, size);
}

/* The slot whose live block begins at p, or NULL. */
static struct slot *live_at(const struct guard *guard, const void *p)
{
    struct slot *slot = pool_near(&guard->pool, (uintptr_t)p);
    bool live = slot != NULL && slot_state(slot) == SLOT_LIVE &&
                slot->start == (uintptr_t)p;
    return live ? slot : NULL;
}

static void free_slot(struct hak_box *box, void *p)
{
    struct guard *guard = guard_of(box);
    struct slot *slot = live_at(guard, p);
    uint32_t live = SLOT_LIVE;
    if (slot == NULL ||
        !__atomic_compare_exchange_n(&slot->state, &live, SLOT_BUSY, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        report_misuse(guard, "free", p);
    stack_take(guard, &slot->freed);
    check_around(guard, slot);
    hak_count_shared(&guard->freed, 1);
    hak_count_shared(&guard->live_bytes, -(int64_t)slot->bytes);
    pool_give(&guard->pool, slot);
}

static bool owns(struct hak_box *box, const void *p)
{
    return pool_owns(&guard_of(box)->pool, p);
}

/* malloc_usable_size and realloc come here. */
static size_t usable_size(struct hak_box *box, const void *p)
{
    struct guard *guard = guard_of(box);
    const struct slot *slot = live_at(guard, p);
    if (slot == NULL)
        report_misuse(guard, "usable size", p);
    return slot->bytes;
}

static size_t slot_size(struct hak_box *box, size_t size)
{
    size = hak_max(size, sizeof(void *));
    return size <= guard_of(box)->pool.slot_bytes ? size : 0;
}

/* ---- figures ------------------------------------------------------------- */

static void stats(struct hak_box *box, struct hak_box_stats *out)
{
    const struct guard *guard = guard_of(box);
    uint64_t freed = hak_counted(&guard->freed);
    out->live_count = hak_counted(&guard->sampled) - freed;
    out->live_bytes = hak_counted(&guard->live_bytes);
    out->peak_bytes = hak_counted(&guard->peak_bytes);
}

static void visit_slots(struct hak_box *box, hak_visit *visit, void *context)
{
    const struct guard *guard = guard_of(box);
    for (uint32_t i = 0; i < guard->pool.nslots; i++) {
        const struct slot *slot = &guard->pool.slot[i];
        if (slot_state(slot) == SLOT_LIVE &&
            !visit(context, (void *)slot->start, slot->bytes))
            return;
    }
}

static uint32_t read_counters(struct hak_box *box, struct hak_counter *out,
                              uint32_t most)
{
    const struct guard *guard = guard_of(box);
    const struct hak_counter all[] = {
        {"sampled", hak_counted(&guard->sampled)},
        {"refused_full", hak_counted(&guard->full)},
        {"refused_rate", hak_counted(&guard->passed)},
        {"refused_size", hak_counted(&guard->unfit)},
        {"faults", hak_counted(&guard->faults)},
    };
    size_t have = sizeof all / sizeof all[0];
    memcpy(out, all, hak_min(most, have) * sizeof all[0]);
    return (uint32_t)have;
}

static const void *get_extension(struct hak_box *box, const char *id)
{
    static const struct hak_counters_1 counters = {
        .struct_bytes = sizeof counters,
        .read = read_counters,
    };
    (void)box;
    return strcmp(id, HAK_COUNTERS_1) == 0 ? &counters : NULL;
}

static void at_fork(struct hak_box *box, enum hak_fork_phase phase)
{
    struct pool *pool = &guard_of(box)->pool;
    hak_lock_fork(&pool->lock, phase);
    if (phase == HAK_FORK_CHILD)
        fault_fork_child();
}

void guard_check(struct guard *guard)
{
    const struct pool *pool = &guard->pool;
    uint32_t live = 0, freed = 0;
    for (uint32_t i = 0; i < pool->nslots; i++) {
        const struct slot *slot = &pool->slot[i];
        HAK_ALWAYS(slot->state != SLOT_BUSY);
        HAK_ALWAYS((slot->state == SLOT_FRESH) == (i >= pool->nfresh));
        live += slot->state == SLOT_LIVE;
        freed += slot->state == SLOT_FREED;
    }
    HAK_ALWAYS(pool->nslots != 0 && pool->count <= pool->nslots);
    for (uint32_t i = 0; i < pool->count; i++) {
        uint32_t at = pool->queue[(pool->first + i) % pool->nslots];
        HAK_ALWAYS(pool->slot[at].state == SLOT_FREED);
    }
    HAK_ALWAYS(freed == pool->count);
    HAK_ALWAYS(live == guard->sampled - guard->freed);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("guard", "1.0"),
    .summary = "samples against guard pages: overflow, use after free",
    .params = params,
    .nparams = sizeof params / sizeof params[0],
    .ops =
        {
            .alloc = alloc,
            .free = free_slot,
            .owns = owns,
            .init = init,
            .usable_size = usable_size,
            .slot_size = slot_size,
            .aligned_alloc = aligned_alloc_slot,
            .fork = at_fork,
            .stats = stats,
            .visit_slots = visit_slots,
            .get_extension = get_extension,
        },
};
