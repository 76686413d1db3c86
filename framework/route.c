/* SPDX-License-Identifier: MIT
 * route.c - the slow paths: down a chain of boxes, and home again.
 *
 * Alloc: each box of the chain in turn, by a refill of the lane or a call of
 * alloc; then libc, unless the route says none. Free: the directory's span
 * names the box; without a span the owns() walk does; then libc.
 */
#include "core.h"

#include <errno.h>

HAK_SEALED struct hak_core hak_core;

/* slow paths of a thread between two looks at the clock */
enum { TICK_CALLS = 8 };

static void tick(struct hak_thread *t)
{
    if (++t->ticks % TICK_CALLS != 0)
        return;
    hak_parcel_post(t);
    hak_space_tick();
    uint64_t now_ms = hak_os_now_ms();
    hak_thread_reap(now_ms, false);
    hak_parcel_age(t, now_ms);
    hak_boxes_age(t, now_ms);
    hak_background_look();
}

/*
 * What boxes keep, each for its own next need, is bounded together by this
 * rule: before they come to hold more than they did of late, as much of what is
 * kept changes hands (loader.c, reclaim); where that does not fit, as much goes
 * back to the system as they have grown by. A program that lives within what it
 * has keeps its caches whole; one that moves on, from small blocks to large
 * ones, say, does not pay for both.
 */
static void pay_for_growth(void)
{
    size_t want = hak_space_owed();
    if (likely(want == 0))
        return;
    int kept = errno;
    size_t got = hak_space_shrink(want);
    if (got < want && hak_boxes_shrink(want - got) != 0)
        hak_space_shrink(want - got);
    errno = kept;
}

/*
 * Around a look at a chain and the call of its box. A box is retired when
 * nobody is on the way to it any more: hak_drain cuts the chains, has the
 * barrier of hak_thread_reroute, and looks at `routing`. Either it sees the
 * store here, or the chain that is read below is a cut one.
 */
static inline void begin_routing(struct hak_thread *t)
{
    if (!hak_routes_may_change())
        return;
    __atomic_store_n(&t->routing, t->routing + 1, __ATOMIC_RELAXED);
    if (unlikely(hak_core.fences))
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void end_routing(struct hak_thread *t)
{
    if (hak_routes_may_change())
        __atomic_store_n(&t->routing, t->routing - 1, __ATOMIC_RELEASE);
}

/* ---- boxes without lanes ---- */

/*
 * A box without usable_size gets its requests enlarged by a header:
 *
 *     box's slot                 what the caller has
 *     | ... |size |offset |      | size_bytes ... |
 *           header, 16 bytes
 *
 * offset: from the slot's start to the caller's pointer (16, or more for an
 * aligned request).
 */
struct header {
    uint64_t size_bytes;
    uint64_t offset;
};

static struct header *header_of(const void *p)
{
    return (struct header *)(uintptr_t)p - 1;
}

static void *with_header(char *raw, size_t align, size_t size)
{
    uintptr_t at = hak_round_up((uintptr_t)raw + sizeof(struct header), align);
    *header_of((void *)at) =
        (struct header){.size_bytes = size, .offset = at - (uintptr_t)raw};
    return (void *)at;
}

/*
 * A foreign library may itself call malloc, in the middle of its own: foreign
 * boxes are passed over then, and libc is the last resort.
 */
static void go_abroad(struct hak_thread *t, const struct hak_loaded *b)
{
    if (unlikely(b->foreign) && hak_is_attached(t))
        t->abroad++;
}

static void come_home(struct hak_thread *t, const struct hak_loaded *b)
{
    if (unlikely(b->foreign) && hak_is_attached(t))
        t->abroad--;
}

static size_t box_usable(const struct hak_loaded *b, const void *p)
{
    if (hak_box_header_bytes(b) != 0)
        return header_of(p)->size_bytes;
    return hak_box_usable_size(b, p);
}

/* A box without figures of its own has its bytes counted, at a call each; not
 * a foreign one, where asking costs as much as the call. */
static bool counts_bytes(const struct hak_loaded *b)
{
    return !HAK_BOX_HAS(b, stats) && !b->foreign;
}

static void count_alloc(struct hak_thread *t, struct hak_loaded *b, void *p)
{
    struct hak_counts *count = &t->count[b->box.index];
    hak_count(&count->allocs, 1);
    if (counts_bytes(b))
        hak_count(&count->bytes_in, box_usable(b, p));
}

/* What is wrong with p, so many bytes that the box gave, or NULL. */
static const char *why_no_slot(struct hak_loaded *b, const char *p, size_t size)
{
    const struct hak_span *span = hak_directory_get(p);
    if ((uintptr_t)p % HAK_ALIGN_BYTES != 0)
        return "which is not 16-byte aligned";
    if (!b->far && (span == NULL || span->box != &b->box))
        return "which is no memory that host->map gave this box";
    if (hak_box_header_bytes(b) == 0 && hak_box_usable_size(b, p) < size)
        return "whose usable_size is less";
    if (!b->residual && !b->now->untrusted &&
        !(hak_box_owns(b, p) && hak_box_owns(b, p + (size ? size - 1 : 0))))
        return "of which its own owns() knows nothing";
    return NULL;
}

/* [core] verify: end with the box and its operation, where the fault is seen
 * first. */
static void verify_slot(struct hak_loaded *b, const char *operation,
                        const char *p, size_t size)
{
    const char *why = p != NULL ? why_no_slot(b, p, size) : NULL;
    if (unlikely(why != NULL))
        hak_die("verify: box %s: %s(%zu) returned %p, %s (hakctl check-box "
                "tests the box)",
                b->box.name, operation, size, (const void *)p, why);
}

static void *box_alloc_here(struct hak_loaded *b, size_t size, bool zero)
{
    if (unlikely(size == 0) && HAK_BOX_HAS(b, alloc_none))
        return hak_box_alloc_none(b);
    size = size == 0 ? 1 : size;
    if (hak_box_header_bytes(b) != 0) {
        char *raw = hak_box_alloc(b, size + hak_box_header_bytes(b));
        if (raw == NULL)
            return NULL;
        if (hak_verifies()) /* before the header goes there */
            verify_slot(b, "alloc", raw, size + hak_box_header_bytes(b));
        void *p = with_header(raw, HAK_ALIGN_BYTES, size);
        return zero ? memset(p, 0, size) : p;
    }
    if (zero && HAK_BOX_HAS(b, zalloc))
        return hak_box_zalloc(b, size);
    void *p = hak_box_alloc(b, size);
    return p != NULL && zero ? memset(p, 0, hak_box_usable_size(b, p)) : p;
}

/* For crash.c; nothing without verify. t: attached, or not. */
static inline void call_begins(struct hak_thread *t, const struct hak_loaded *b,
                               const char *operation, size_t size)
{
    if (!hak_verifies() || !hak_is_attached(t))
        return;
    t->call.operation = operation;
    t->call.size = size;
    t->call.box = b;
}

static inline void call_ends(struct hak_thread *t)
{
    if (hak_verifies() && hak_is_attached(t))
        t->call.box = NULL;
}

static void *box_alloc(struct hak_thread *t, struct hak_loaded *b, size_t size,
                       bool zero)
{
    go_abroad(t, b);
    call_begins(t, b, "alloc", size);
    void *p = box_alloc_here(b, size, zero);
    call_ends(t);
    come_home(t, b);
    if (hak_verifies() && hak_box_header_bytes(b) == 0)
        verify_slot(b, "alloc", p, size);
    if (p != NULL)
        count_alloc(t, b, p);
    return p;
}

static void box_free(struct hak_loaded *b, void *p)
{
    struct hak_thread *t = hak_self;
    if (hak_is_attached(t) && !hak_box_lanes(b)) { /* a count needs a place */
        struct hak_counts *count = &t->count[b->box.index];
        hak_count(&count->frees, 1);
        if (counts_bytes(b))
            hak_count(&count->bytes_out, box_usable(b, p));
    }
    if (hak_box_header_bytes(b) != 0)
        p = (char *)p - header_of(p)->offset;
    go_abroad(t, b);
    call_begins(t, b, "free", 0);
    hak_box_free(b, p);
    call_ends(t);
    come_home(t, b);
}

/* ---- the short way to a box without lanes ---- */

/*
 * Each malloc and free of a foreign box comes here, and of one that sees each
 * call, so what lanes need is left out: one call in SHORT_TRIPS goes the long
 * way, for the rest of what slow paths do. A thread that is abroad, or has not
 * attached, takes that as well.
 */
enum { SHORT_TRIPS = 64 };

/* NULL: the long way. */
static inline void *alloc_by_chain(struct hak_thread *t, size_t size, bool zero)
{
    struct hak_loaded *b = hak_chain_of(hak_index_of(size))->box[0];
    if (b == NULL || !b->quick || ++t->trips % SHORT_TRIPS == 0 ||
        (zero && !HAK_BOX_HAS(b, zalloc)))
        return NULL;
    int kept = *t->error;
    t->abroad = b->foreign;
    void *p = zero ? hak_box_zalloc(b, size) : hak_box_alloc(b, size);
    t->abroad = 0;
    *t->error = kept;
    if (likely(p != NULL))
        hak_count(&t->count[b->box.index].allocs, 1);
    return p;
}

static inline void *alloc_quick(struct hak_thread *t, size_t size, bool zero)
{
    if (!hak_goes_abroad() || t->abroad != 0 || hak_samples() ||
        size - 1 >= PTRDIFF_MAX)
        return NULL;
    begin_routing(t);
    void *p = alloc_by_chain(t, size, zero);
    end_routing(t);
    return p;
}

static inline void free_quick(struct hak_thread *t, struct hak_loaded *b,
                              void *p)
{
    int kept = *t->error;
    hak_count(&t->count[b->box.index].frees, 1);
    t->abroad = b->foreign;
    hak_box_free(b, p);
    t->abroad = 0;
    *t->error = kept;
}

/* The box of p if it is hak_boxes.sole and a call of it may be short. */
static inline struct hak_loaded *sole_owner(const struct hak_thread *t,
                                            const void *p)
{
    struct hak_loaded *b = hak_goes_abroad() ? hak_boxes.sole : NULL;
    if (likely(b == NULL) || t->abroad != 0 || p == NULL ||
        hak_directory_in_window(p) || hak_boot_owns(p) ||
        (hak_libc_keeps() && hak_libc_owns(p)))
        return NULL;
    return b->residual || (!b->now->untrusted && hak_box_owns(b, p)) ? b : NULL;
}

/* By the box, which knows best whether p may stay where it is. NULL: the long
 * way. */
static inline void *realloc_quick(struct hak_thread *t, void *p, size_t size)
{
    struct hak_loaded *b = sole_owner(t, p);
    if (b == NULL || !HAK_BOX_HAS(b, resize) ||
        hak_chain_of(hak_index_of(size))->box[0] != b)
        return NULL;
    int kept = *t->error;
    t->abroad = 1;
    p = hak_box_resize(b, p, size);
    t->abroad = 0;
    *t->error = kept;
    return p;
}

/* ---- alloc ---- */

/*
 * The span into the lane, and into its neighbours' whose requests get the
 * same slots: with coarse slots each of them would else ask for a refill of
 * its own whenever the box goes on to the next span.
 */
static void set_lanes(struct hak_thread *t, const struct hak_loaded *b,
                      uint32_t index, struct hak_span *span)
{
    struct hak_lane_group group = hak_core.group[index];
    if (hak_lane(t, index) == span)
        return;
    if (hak_chain_of(index)->box[0] != b ||
        span->slot_bytes < hak_lane_bytes(group.last))
        group.first = group.last = (uint8_t)index;
    for (uint32_t i = group.first; i <= group.last; i++)
        hak_thread_set_lane(t, i, span);
}

static void sync_epoch(struct hak_thread *t)
{
    if (!hak_routes_may_change())
        return;
    uint64_t epoch = __atomic_load_n(&hak_policy.epoch, __ATOMIC_ACQUIRE);
    if (unlikely(t->epoch != epoch)) {
        t->epoch = epoch;
        hak_thread_resync(t);
    }
}

static void *from_lanes(struct hak_thread *t, struct hak_loaded *b,
                        uint32_t index)
{
    void *heap = hak_thread_heap(t, b, true);
    if (heap == NULL)
        return NULL;
    call_begins(t, b, "refill", hak_lane_bytes(index));
    struct hak_span *span = hak_box_refill(b, heap, hak_lane_bytes(index));
    call_ends(t);
    if (span == NULL)
        return NULL;
    hak_count(&t->count[b->box.index].refills, 1);
    if (hak_samples() && hak_sample_is_near(t)) {
        hak_thread_drop_lanes(t, span);
        return hak_span_pop(span);
    }
    set_lanes(t, b, index, span);
    /*
     * A change of route may have emptied the lane just before it was set. The
     * barrier of hak_thread_reroute, after the epoch's store, stands between
     * any thread's store above and load below: either that empties what was
     * set here, or the new epoch is seen here.
     */
    if (hak_routes_may_change() && unlikely(hak_core.fences))
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    sync_epoch(t);
    void *p = hak_span_pop(span);
    if (hak_verifies())
        verify_slot(b, "refill", p, 1);
    if (hak_samples())
        hak_sample_lane(t, span);
    return p;
}

static void *from_libc(struct hak_thread *t, enum hak_fallback last,
                       size_t align, size_t size, bool zero)
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

static void *aligned_from(struct hak_thread *t, struct hak_loaded *b,
                          size_t align, size_t size);

/*
 * libc, but where a residual box is that one: libc's blocks are known one by
 * one then, which is for few of them.
 */
static void *last_resort(struct hak_thread *t, const struct hak_chain *chain,
                         size_t align, size_t size, bool zero)
{
    struct hak_loaded *b = hak_boxes.residual;
    if (unlikely(t->abroad != 0))
        return from_libc(t, HAK_FALLBACK_LIBC, align, size, zero);
    if (likely(b == NULL) || chain->last != HAK_FALLBACK_LIBC)
        return from_libc(t, chain->last, align, size, zero);
    for (uint32_t i = 0; chain->box[i] != NULL; i++)
        if (chain->box[i] == b)
            return NULL; /* it was asked */
    return align > HAK_ALIGN_BYTES ? aligned_from(t, b, align, size)
                                   : box_alloc(t, b, size, zero);
}

/* From the sampling box when it is its turn and has room; else NULL. */
static void *sampled(struct hak_thread *t, size_t align, size_t size, bool zero)
{
    struct hak_loaded *b = hak_sampling.box;
    size_t want = size == 0 ? 1 : size;
    if (!hak_sample_due(t, hak_index_of(size)))
        return NULL;
    int kept = errno;
    void *p = align > HAK_ALIGN_BYTES ? aligned_from(t, b, align, want)
                                      : box_alloc(t, b, want, zero);
    errno = kept;
    if (p == NULL)
        hak_count(&t->count[b->box.index].declines, 1);
    return p;
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
            p = from_lanes(t, b, index);
            if (p != NULL && zero) /* every usable byte: as large as the slot */
                memset(p, 0, hak_directory_get(p)->slot_bytes);
        } else {
            p = box_alloc(t, b, size, zero);
        }
        errno = kept;
        if (p != NULL)
            return p;
        hak_count(&t->count[b->box.index].declines, 1);
    }
    void *p = last_resort(t, chain, HAK_ALIGN_BYTES, want, zero);
    errno = p != NULL ? kept : ENOMEM;
    return p;
}

static void *from_chain(struct hak_thread *t, uint32_t index, size_t size,
                        bool zero)
{
    begin_routing(t);
    void *p = down_the_chain(t, index, size, zero);
    end_routing(t);
    return p;
}

/* Before the core is ready, without it, while it forks, without memory. */
static void *alloc_unattached(size_t size, bool zero)
{
    void *p = NULL;
    if (hak_core.mode == HAK_MODE_BOOT)
        p = hak_boot_alloc(HAK_ALIGN_BYTES, size); /* .bss: zero */
    if (p == NULL)
        p = from_libc(&hak_nobody, HAK_FALLBACK_LIBC, HAK_ALIGN_BYTES, size,
                      zero);
    return p;
}

/* Noinline, as free_long: a short way must not save registers for it. */
__attribute__((noinline)) static void *alloc_long(struct hak_thread *t,
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
    if (hak_routes_may_change() && unlikely(hak_learner_is_due()))
        hak_learner_evaluate();
    sync_epoch(t);
    tick(t);
    hak_parcel_receive(t);
    if (hak_samples()) {
        void *p = sampled(t, HAK_ALIGN_BYTES, size, zero);
        if (p != NULL)
            return p;
    }
    void *p = from_chain(t, hak_index_of(size), size, zero);
    pay_for_growth();
    return p;
}

void *hak_alloc_slow(struct hak_thread *t, size_t size, bool zero)
{
    void *p = alloc_quick(t, size, zero);
    return likely(p != NULL) ? p : alloc_long(t, size, zero);
}

/* ---- aligned ---- */

static bool is_aligned(const void *p, size_t align)
{
    return align == 0 || ((uintptr_t)p & (align - 1)) == 0;
}

/* More than was asked from a box with headers: place it inside. */
static void *aligned_with_header(struct hak_loaded *b, size_t align,
                                 size_t size)
{
    size_t more = align + sizeof(struct header);
    if (size > PTRDIFF_MAX - more)
        return NULL;
    char *raw = hak_box_alloc(b, size + more);
    return raw == NULL ? NULL : with_header(raw, align, size);
}

/* No way to ask for alignment: perhaps it comes by itself. */
static void *aligned_by_luck(struct hak_loaded *b, size_t align, size_t size)
{
    if (size > PTRDIFF_MAX - align)
        return NULL;
    void *p = hak_box_alloc(b, hak_round_up(size, align));
    if (p == NULL || is_aligned(p, align))
        return p;
    hak_box_free(b, p);
    return NULL;
}

static void *aligned_from_here(struct hak_loaded *b, size_t align, size_t size)
{
    if (HAK_BOX_HAS(b, aligned_alloc) && hak_box_header_bytes(b) == 0)
        return hak_box_aligned_alloc(b, align, size);
    if (hak_box_header_bytes(b) != 0)
        return aligned_with_header(b, align, size);
    return aligned_by_luck(b, align, size);
}

static void *aligned_from(struct hak_thread *t, struct hak_loaded *b,
                          size_t align, size_t size)
{
    go_abroad(t, b);
    void *p = aligned_from_here(b, align, size);
    come_home(t, b);
    if (p != NULL)
        count_alloc(t, b, p);
    return p;
}

/*
 * Boxes cut pages at multiples of the slot size, so a size rounded up to the
 * alignment usually has aligned slots: the lane is tried first. Not where a box
 * is to know what was asked for.
 */
static void *aligned_from_lane(size_t align, size_t size)
{
    if (hak_boxes.keeps_requests || align > HAK_GRANULE_BYTES ||
        size > HAK_LANE_MAX_BYTES)
        return NULL; /* pages start at a granule */
    size_t rounded = hak_round_up(size == 0 ? 1 : size, align);
    if (rounded > HAK_LANE_MAX_BYTES ||
        !hak_lane_may_align(hak_lane(hak_self, hak_index_of(rounded)), align))
        return NULL;
    void *p = malloc(rounded);
    if (p == NULL || is_aligned(p, align))
        return p;
    free(p);
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
        void *p = aligned_from(t, b, align, size);
        if (p != NULL)
            return p;
        hak_count(&t->count[b->box.index].declines, 1);
    }
    return last_resort(t, chain, align, size, false);
}

void *hak_alloc_aligned(size_t align, size_t size)
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
        return from_libc(&hak_nobody, HAK_FALLBACK_LIBC, align, size, false);
    if (hak_samples() && (p = sampled(t, align, size, false)) != NULL)
        return p;
    begin_routing(t);
    p = aligned_from_chain(t, align, size == 0 ? 1 : size);
    end_routing(t);
    errno = p != NULL ? kept : ENOMEM;
    return p;
}

/* ---- who owns it ---- */

/* The residual box, when p can be its; or NULL: libc's. */
static struct hak_loaded *left_over(const void *p)
{
    struct hak_loaded *b = hak_boxes.residual;
    if (likely(b == NULL) || hak_directory_in_window(p) || hak_libc_owns(p))
        return NULL;
    return b;
}

/* The box of p: by the directory, else by the walk; both when verifying. */
static struct hak_loaded *owner_of(const void *p, struct hak_span **span)
{
    *span = hak_directory_get(p);
    struct hak_loaded *named =
        *span == NULL ? NULL : hak_loaded_of((*span)->box);
    if (named != NULL && !hak_verifies() &&
        hak_free_route() == HAK_FREE_DIRECTORY)
        return named;
    struct hak_loaded *walked = hak_walk(p);
    if (named != NULL && named->now->untrusted)
        return named;
    if (hak_verifies() && named != NULL && named != walked)
        hak_die("verify: the directory says that %p is box %s's, the owns() "
                "walk says %s; one of their owns() is wrong",
                p, named->box.name, walked ? walked->box.name : "nobody's");
    return walked != NULL || named != NULL ? walked : left_over(p);
}

/* May another allocator have made p, which no box owns? */
static bool may_be_anothers(const void *p)
{
    return !hak_libc_may_own(p) && !hak_directory_in_window(p);
}

/* No box owns p; unless it may be libc's, the program is wrong. */
static void expect_libc(const char *call, const void *p)
{
    if (hak_core.mode != HAK_MODE_BOXES || hak_libc_may_own(p))
        return;
    if (hak_directory_in_window(p))
        hak_die("%s(%p): that memory belongs to no box: given back, or never "
                "handed out",
                call, p);
    hak_die("%s(%p): no box and not libc gave out this pointer%s", call, p,
            hak_verifies() ? ""
                           : " ([core] verify = yes tells if a box did all "
                             "the same)");
}

static void free_unowned(void *p)
{
    if (may_be_anothers(p) && hak_other_free(p))
        return;
    expect_libc("free", p);
    hak_libc_free(p);
}

static size_t usable_unowned(const char *call, void *p)
{
    size_t usable;
    if (may_be_anothers(p) && hak_other_usable(p, &usable))
        return usable;
    expect_libc(call, p);
    return hak_libc_usable(p);
}

static void remote_free(struct hak_loaded *b, struct hak_span *span, void *p)
{
    struct hak_thread *t = hak_self;
    hak_box_remote_free(span, p);
    if (hak_is_attached(t))
        hak_count(&t->count[b->box.index].remote_frees, 1);
}

void hak_freed_many(struct hak_span *span)
{
    hak_drained(span);
    hak_parcel_receive(hak_self);
    tick(hak_self);
}

/*
 * No parcel for it: the entry's tag is not the owner's, then it is next time;
 * the owner has none; the slot is large; or the box takes no frees inline.
 */
__attribute__((noinline)) static void free_other_slow(uint64_t entry, void *p)
{
    struct hak_span *span = hak_entry_span(entry);
    struct hak_loaded *b = hak_loaded_of(span->box);
    if (hak_is_forking()) {
        hak_fork_defer(p);
        return;
    }
    int kept = errno;
    if (span == &b->slow) {
        box_free(b, p);
    } else {
        if (hak_self == &hak_nobody) /* it may never allocate */
            hak_thread_attach();
        uint64_t better = hak_directory_retag(p, entry);
        if (hak_owner_of(span) == hak_self)
            hak_free_own(span, p);
        else if (!hak_parcel_keep(hak_self, better, p))
            remote_free(b, span, p);
    }
    errno = kept;
}

void hak_free_other(uint64_t entry, void *p)
{
    struct hak_thread *t = hak_self;
    if (likely(hak_parcel_keep(t, entry, p)))
        return;
    struct hak_loaded *b = hak_loaded_of(hak_entry_span(entry)->box);
    if (b->quick && t->abroad == 0)
        free_quick(t, b, p);
    else
        free_other_slow(entry, p);
}

__attribute__((noinline)) static void free_long(void *p)
{
    struct hak_span *span;
    if (p == NULL || hak_boot_owns(p))
        return;
    if (hak_is_forking()) {
        hak_fork_defer(p);
        return;
    }
    int kept = errno;
    struct hak_loaded *b =
        hak_core.mode == HAK_MODE_BOXES ? owner_of(p, &span) : NULL;
    if (b == NULL) {
        free_unowned(p);
    } else if (hak_box_lanes(b) && hak_free_route() == HAK_FREE_DIRECTORY &&
               span != NULL && span != &b->slow) {
        if (hak_owner_of(span) != hak_self)
            remote_free(b, span, p);
        else /* verifying, or it may not be live */
            hak_box_free(b, p);
    } else {
        box_free(b, p);
    }
    errno = kept;
}

void hak_free_astray(void *p)
{
    uint64_t entry = hak_directory_entry(p);
    if (entry != 0)
        hak_directory_retag(p, entry);
    free_long(p);
}

void hak_free_slow(void *p)
{
    struct hak_thread *t = hak_self;
    struct hak_loaded *b = sole_owner(t, p);
    if (b != NULL)
        free_quick(t, b, p);
    else
        free_long(p);
}

/*
 * b, span: as owner_of has them. The box's answer; a box of ours has no live
 * slot of 0 bytes.
 */
static size_t usable_of(const char *call, const struct hak_loaded *b,
                        const struct hak_span *span, const void *p)
{
    if (span != NULL && span->slot_bytes != 0 && hak_span_looks_live(span, p))
        return span->slot_bytes;
    if (b == NULL)
        return usable_unowned(call, (void *)(uintptr_t)p);
    size_t usable = box_usable(b, p);
    if (unlikely(usable == 0) && hak_box_header_bytes(b) == 0 && !b->foreign &&
        !HAK_BOX_HAS(b, alloc_none))
        hak_die("%s(%p): not a live slot of box %s: freed, or not the start "
                "of one",
                call, p, b->box.name);
    return usable;
}

size_t hak_usable(const char *call, const void *p)
{
    struct hak_span *span = hak_directory_get(p);
    if (likely(span != NULL && span->slot_bytes != 0 &&
               hak_span_looks_live(span, p)))
        return span->slot_bytes;
    if (hak_boot_owns(p))
        return hak_boot_usable(p);
    struct hak_loaded *b =
        hak_core.mode == HAK_MODE_BOXES ? owner_of(p, &span) : NULL;
    return usable_of(call, b, span, p);
}

/* Without memory realloc once left a block where it was to make it smaller. */
static bool shrunk_in_place;

/* May size bytes have been asked for? new and posix_memalign make 1 of 0. */
static bool is_request(size_t asked, size_t size)
{
    return size == asked || (size == 0 && asked == 1);
}

/*
 * A block may be larger than it was asked for: by its class, its alignment, or
 * since realloc left it where it was (to half of it, or up to 64 bytes; any
 * size once shrunk_in_place).
 */
void hak_expect_size(const char *call, const void *p, size_t align, size_t size)
{
    if (p == NULL || hak_core.mode != HAK_MODE_BOXES || hak_boot_owns(p))
        return;
    struct hak_span *span = hak_directory_get(p);
    struct hak_loaded *b = span != NULL ? hak_loaded_of(span->box) : NULL;
    if (b == NULL)
        return; /* free() knows more */
    size_t usable = hak_usable(call, p), least = usable;
    if (b->requests != NULL) {
        if (!is_request(usable, size) || !is_aligned(p, align))
            hak_die("%s(%p, %zu): that block of box %s was asked for with %zu "
                    "bytes",
                    call, p, size, b->box.name, usable);
        return;
    }
    if (align <= HAK_ALIGN_BYTES && HAK_BOX_HAS(b, slot_size))
        least = hak_box_slot_size(b, size);
    if (size <= usable &&
        (usable <= 64 || size >= usable / 2 || least >= usable / 2 ||
         least == 0 || __atomic_load_n(&shrunk_in_place, __ATOMIC_RELAXED)))
        return;
    hak_die("%s(%p, %zu): that slot of box %s has %zu bytes, of another "
            "request",
            call, p, size, b->box.name, usable);
}

/* ---- realloc ---- */

/* By the box itself, or NULL. had: usable at p. */
static void *resized(struct hak_loaded *b, void *p, size_t had, size_t size)
{
    if (b == NULL || !HAK_BOX_HAS(b, resize) || hak_box_header_bytes(b) != 0)
        return NULL;
    /* Another's size: the box would keep what is not routed to it. */
    if (b->foreign && hak_chain_of(hak_index_of(size))->box[0] != b)
        return NULL;
    struct hak_thread *t = hak_self;
    go_abroad(t, b);
    void *q = hak_box_resize(b, p, size);
    come_home(t, b);
    if (q != NULL && hak_is_attached(t) && !hak_box_lanes(b) &&
        counts_bytes(b)) {
        hak_count(&t->count[b->box.index].bytes_out, had);
        hak_count(&t->count[b->box.index].bytes_in, box_usable(b, q));
    }
    return q;
}

/* By the allocator that made p, which no box owns. False: we do it. */
static bool realloc_unowned(void *p, size_t size, void **out)
{
    if (may_be_anothers(p) && hak_other_realloc(p, size, out))
        return true;
    if (hak_core.mode == HAK_MODE_BOXES)
        return false;
    *out = hak_libc_realloc(p, size);
    return true;
}

/*
 * Whose p is is asked once, for all that follows: the walk may be calls of
 * other libraries. (A span is looked up again, since it may be another by
 * then.)
 */
void *hak_realloc_slow(void *p, size_t size)
{
    struct hak_span *span = NULL;
    struct hak_loaded *b = NULL;
    if (size > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    void *q = realloc_quick(hak_self, p, size);
    if (q != NULL)
        return q;
    bool early = hak_boot_owns(p) || hak_self == &hak_forker;
    if (!early && hak_core.mode == HAK_MODE_BOXES)
        b = owner_of(p, &span);
    if (!early && b == NULL && realloc_unowned(p, size, &q))
        return q;
    size_t have =
        early ? hak_usable("realloc", p) : usable_of("realloc", b, span, p);
    bool keeps_requests = b != NULL && b->requests != NULL;
    if (!keeps_requests && hak_fits(have, size))
        return p;
    int kept = errno;
    q = resized(b, p, have, size);
    errno = kept;
    if (q != NULL)
        return q;
    q = malloc(size);
    if (q == NULL) {
        if (size > have)
            return NULL;
        if (keeps_requests)
            b->requests->asked(&b->box, p, size);
        else
            __atomic_store_n(&shrunk_in_place, true, __ATOMIC_RELAXED);
        errno = kept;
        return p; /* too big a slot beats a failure */
    }
    memcpy(q, p, hak_min(have, size));
    if (early || span != NULL || b == NULL)
        free(p);
    else
        box_free(b, p);
    errno = kept;
    return q;
}
