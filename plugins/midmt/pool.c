/* SPDX-License-Identifier: MIT
 * pool.c - who takes spans from which segment: see pool.h.
 */
#include "pool.h"

#include <errno.h>

int segments_init(struct segments *s)
{
    pool_init(&s->shared);
    return hak_map_init(&s->registry, s->box) ? 0 : -ENOMEM;
}

void pool_init(struct pool *pool)
{
    for (uint32_t b = 0; b < SEGMENT_BINS; b++)
        hak_link_init(&pool->bin[b]);
}

struct segment *segments_find(const struct segments *s, const void *p)
{
    struct segment *segment = hak_map_get(&s->registry, p);
    return segment != NULL && segment_contains(segment, p) ? segment : NULL;
}

/* A new struct, range == 0, enters the chain; it stays for ever. */
static void chain(struct segments *s, struct segment *segment)
{
    segment->all_next = __atomic_load_n(&s->all, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&s->all, &segment->all_next, segment,
                                        true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
}

static struct segment *segment_of(struct hak_link *link)
{
    return hak_item(link, struct segment, link);
}

/* ---- bins: a heap's by its owner, the shared ones under the lock ------- */

static void unlink_segment(struct pool *pool, struct segment *segment)
{
    HAK_ASSERT(segment->pool == pool);
    hak_link_remove(&segment->link);
    pool->nempty -= segment->bin == SEGMENT_BIN_EMPTY;
}

/* To the bin that `free` says now. */
static void link_segment(struct pool *pool, struct segment *segment)
{
    segment->bin = segment_bin(segment);
    pool->nempty += segment->bin == SEGMENT_BIN_EMPTY;
    hak_link_after(&pool->bin[segment->bin], &segment->link);
}

/* Returns whether the bin is another one now. */
static bool rebin(struct pool *pool, struct segment *segment)
{
    uint32_t before = segment->bin;
    if (segment_bin(segment) == before)
        return false;
    unlink_segment(pool, segment);
    link_segment(pool, segment);
    return segment->bin != before;
}

/* Atomic for the glance in adopt(). */
static void hold(struct pool *pool, size_t held_bytes)
{
    __atomic_store_n(&pool->held_bytes, held_bytes, __ATOMIC_RELAXED);
}

/*
 * Into the pool's bins. The store and the reading of `free` that follows are
 * seq_cst, as are their counterparts in pool_put: either that reading sees what
 * was given, or the giver sees the new pool.
 */
static void enter(struct pool *pool, struct segment *segment)
{
    __atomic_store_n(&segment->pool, pool, __ATOMIC_SEQ_CST);
    hold(pool, pool->held_bytes + segment_bytes(segment));
    link_segment(pool, segment);
}

/*
 * Out of the pool's bins. `pool` is cleared in the same step, which for the
 * shared pool is under the lock: whoever gave a granule earlier and reads
 * `pool` later, under the lock or as the pool's owner, must not take the
 * segment for one that is in the bins still.
 */
static void leave(struct pool *pool, struct segment *segment)
{
    unlink_segment(pool, segment);
    hold(pool, pool->held_bytes - segment_bytes(segment));
    __atomic_store_n(&segment->pool, NULL, __ATOMIC_SEQ_CST);
}

/* ---- segments from the host, and back ---------------------------------- */

static void keep_struct(struct segments *s, struct segment *segment)
{
    hak_lock_take(&s->lock);
    segment->next = s->spare;
    s->spare = segment;
    hak_lock_drop(&s->lock);
}

static struct segment *segment_struct(struct segments *s)
{
    hak_lock_take(&s->lock);
    struct segment *segment = s->spare;
    if (segment != NULL)
        s->spare = segment->next;
    hak_lock_drop(&s->lock);
    if (segment != NULL)
        return segment;
    segment = s->box->host->meta(s->box, sizeof *segment);
    if (segment != NULL)
        chain(s, segment);
    return segment;
}

/* In no pool, all of it taken by the caller: back to the host. */
static void dispose(struct segments *s, struct segment *segment)
{
    char *base = segment_base(segment);
    size_t size_bytes = segment_bytes(segment);
    hak_map_set(&s->registry, base, size_bytes, NULL);
    __atomic_store_n(&segment->range, 0, __ATOMIC_RELEASE);
    s->box->host->unmap(s->box, base, size_bytes);
    hak_count_shared(&s->returned_bytes, (int64_t)size_bytes);
    hak_count_shared(&s->given_bytes, (int64_t)size_bytes);
    keep_struct(s, segment);
}

/*
 * Has the box given so much back of late that a segment may be mapped from it?
 * Then the host may hand on memory that was written to: most of it is what the
 * box had, and a program whose use goes up and down faults it in only once.
 */
static bool take_returned(struct segments *s, size_t size_bytes)
{
    uint64_t had = __atomic_load_n(&s->returned_bytes, __ATOMIC_RELAXED);
    while (had >= size_bytes)
        if (__atomic_compare_exchange_n(&s->returned_bytes, &had,
                                        had - size_bytes, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return true;
    return false;
}

/* A segment in no pool, all of it taken by the caller; or NULL. */
static struct segment *segment_make(struct segments *s, size_t size_bytes)
{
    struct hak_box *box = s->box;
    struct segment *segment = segment_struct(s);
    if (segment == NULL)
        return NULL;
    /* Clean. Pages are cut from its start as they are needed, so what another
     * box had written to further behind would stay in memory for nothing. */
    uint32_t flags = take_returned(s, size_bytes) ? 0 : HAK_MAP_ZERO;
    char *base = box->host->map(box, size_bytes, 0, flags);
    if (base == NULL) {
        keep_struct(s, segment);
        return NULL;
    }
    uint64_t range = (uintptr_t)base | size_bytes >> HAK_GRANULE_SHIFT;
    __atomic_store_n(&segment->range, range, __ATOMIC_RELEASE);
    hak_map_set(&s->registry, base, size_bytes, segment);
    return segment;
}

/*
 * The pool gets a segment as large as all it has, within the limits: a small
 * program pays for one small segment, a large one maps seldom. The host may
 * hand on pages that somebody wrote to, so all of it counts as dirty.
 */
static bool grow(struct segments *s, struct pool *pool)
{
    size_t want =
        hak_min(hak_max(pool->held_bytes, s->min_bytes), s->max_bytes);
    struct segment *segment = segment_make(s, want);
    if (segment == NULL && want > s->min_bytes)
        segment = segment_make(s, s->min_bytes);
    if (segment == NULL)
        return false;
    segment_touched(segment, ~0ull, segment_whole(segment));
    segment_give(segment, segment_whole(segment));
    enter(pool, segment);
    return true;
}

/* ---- shared segments --------------------------------------------------- */

/*
 * `free` of a segment that was shared a moment ago changed: to its bin or, when
 * empty, away. Under the lock `pool` tells what it is now, be it in the next
 * life of the struct: in the shared bins, which are then set right; a heap's,
 * which is told; in no pool, and whoever holds all of it needs no word.
 */
static void settle_shared(struct segments *s, struct segment *segment)
{
    bool gone = false;
    hak_lock_take(&s->lock);
    struct pool *pool = __atomic_load_n(&segment->pool, __ATOMIC_SEQ_CST);
    if (pool == &s->shared) {
        rebin(pool, segment);
        gone = segment_take_whole(segment);
        if (gone)
            leave(pool, segment);
    } else if (pool != NULL) {
        __atomic_store_n(&pool->returned, 1, __ATOMIC_RELEASE);
    }
    hak_lock_drop(&s->lock);
    if (gone)
        dispose(s, segment);
}

/* Move a shared segment with a run of n to the pool. */
static bool adopt(struct segments *s, struct pool *pool, uint32_t n)
{
    struct segment *segment = NULL;
    if (__atomic_load_n(&s->shared.held_bytes, __ATOMIC_RELAXED) == 0)
        return false;
    hak_lock_take(&s->lock);
    for (uint32_t b = n; b < SEGMENT_BINS && segment == NULL; b++)
        if (!hak_link_empty(&s->shared.bin[b]))
            segment = segment_of(s->shared.bin[b].next);
    if (segment != NULL) {
        leave(&s->shared, segment);
        enter(pool, segment);
    }
    hak_lock_drop(&s->lock);
    return segment != NULL;
}

void pool_close(struct segments *s, struct pool *pool)
{
    for (uint32_t b = 0; b < SEGMENT_BINS; b++)
        while (!hak_link_empty(&pool->bin[b])) {
            struct segment *segment = segment_of(pool->bin[b].next);
            hak_lock_take(&s->lock);
            leave(pool, segment);
            enter(&s->shared, segment);
            hak_lock_drop(&s->lock);
            settle_shared(s, segment);
        }
    __atomic_store_n(&pool->returned, 0, __ATOMIC_RELAXED);
}

/* ---- spans ------------------------------------------------------------- */

/* From the pool's own bins, tightest first. */
static struct span_at take_own(struct pool *pool, uint32_t n)
{
    for (uint32_t b = n; b < SEGMENT_BINS; b++)
        while (!hak_link_empty(&pool->bin[b])) {
            struct segment *segment = segment_of(pool->bin[b].next);
            uint32_t first = segment_take(segment, n);
            /* a purge that holds granules: the bin was out of date */
            rebin(pool, segment);
            if (first != SEGMENT_NO_RUN)
                return (struct span_at){segment, first};
        }
    return (struct span_at){NULL, 0};
}

/* Oldest first, while there are more than `keep` or they are too old. */
static void release_empty(struct segments *s, struct pool *pool, uint32_t keep,
                          uint64_t before_ms)
{
    struct hak_link *head = &pool->bin[SEGMENT_BIN_EMPTY];
    while (!hak_link_empty(head)) {
        struct segment *segment = segment_of(head->prev);
        if (pool->nempty <= keep && segment->empty_since_ms > before_ms)
            break;
        if (!segment_take_whole(segment)) { /* a purge holds granules */
            rebin(pool, segment);
            continue;
        }
        leave(pool, segment);
        dispose(s, segment);
    }
}

static void settle_own(struct segments *s, struct pool *pool,
                       struct segment *segment)
{
    if (!rebin(pool, segment) || segment->bin != SEGMENT_BIN_EMPTY)
        return;
    segment->empty_since_ms = s->box->host->now_ms();
    release_empty(s, pool, __atomic_load_n(&s->keep_empty, __ATOMIC_RELAXED),
                  0);
}

/* Others gave spans back: put every segment into its right bin. */
static bool reread(struct segments *s, struct pool *pool)
{
    /* acquire: pairs with the release of pool_put */
    if (__atomic_load_n(&pool->returned, __ATOMIC_RELAXED) == 0 ||
        __atomic_exchange_n(&pool->returned, 0, __ATOMIC_ACQUIRE) == 0)
        return false;
    for (uint32_t b = 0; b < SEGMENT_BIN_EMPTY; b++) {
        struct hak_link *at = pool->bin[b].next;
        while (at != &pool->bin[b]) {
            struct segment *segment = segment_of(at);
            at = at->next;
            settle_own(s, pool, segment);
        }
    }
    return true;
}

struct span_at pool_take(struct segments *s, struct pool *pool, uint32_t n)
{
    for (;;) {
        struct span_at span = take_own(pool, n);
        if (span.segment != NULL)
            return span;
        if (!reread(s, pool) && !adopt(s, pool, n) && !grow(s, pool))
            return span;
    }
}

void pool_put(struct segments *s, struct pool *mine, struct segment *segment,
              uint64_t granules)
{
    segment_give(segment, granules);
    /* From here on the struct may stand for another segment. NULL: who takes it
     * into a pool next reads `free` after that; who disposes of it had it all.
     */
    struct pool *pool = __atomic_load_n(&segment->pool, __ATOMIC_SEQ_CST);
    if (pool == NULL)
        return;
    if (pool == mine)
        settle_own(s, pool, segment);
    else if (pool == &s->shared)
        settle_shared(s, segment);
    else
        __atomic_store_n(&pool->returned, 1, __ATOMIC_RELEASE);
}

/* ---- giving memory back ------------------------------------------------ */

void pool_age(struct segments *s, struct pool *pool, uint64_t before_ms)
{
    uint32_t keep = __atomic_load_n(&s->keep_empty, __ATOMIC_RELAXED);
    reread(s, pool);
    release_empty(s, pool, keep, before_ms);
}

/* One host call for each run of `map`. */
static void purge_runs(struct segments *s, struct segment *segment,
                       uint64_t map)
{
    size_t g = hak_bits_next(&map, 0, 0, SEGMENT_GRANULES_MAX);
    while (g < SEGMENT_GRANULES_MAX) {
        size_t end = hak_bits_next(&map, ~0ull, g, SEGMENT_GRANULES_MAX);
        s->box->host->purge(s->box, segment_at(segment, (uint32_t)g),
                            (end - g) << HAK_GRANULE_SHIFT);
        g = hak_bits_next(&map, 0, end, SEGMENT_GRANULES_MAX);
    }
}

/* Taking the granules first makes it safe in anybody's segment. Returns the
 * bytes that went. */
static size_t purge_segment(struct segments *s, struct pool *mine,
                            struct segment *segment, bool all)
{
    uint64_t wanted = __atomic_load_n(&segment->dirty, __ATOMIC_RELAXED);
    if (!all)
        wanted &= __atomic_load_n(&segment->old, __ATOMIC_RELAXED);
    wanted &= __atomic_load_n(&segment->free, __ATOMIC_RELAXED);
    uint64_t taken = wanted == 0 ? 0 : segment_take_any(segment, wanted);
    if (taken == 0)
        return 0;
    __atomic_fetch_and(&segment->dirty, ~taken, __ATOMIC_RELAXED);
    purge_runs(s, segment, taken);
    pool_put(s, mine, segment, taken);
    size_t bytes = (size_t)__builtin_popcountll(taken) << HAK_GRANULE_SHIFT;
    hak_count_shared(&s->given_bytes, (int64_t)bytes);
    return bytes;
}

size_t segments_shrink(struct segments *s, struct pool *mine, size_t want_bytes)
{
    size_t bytes = 0;
    struct segment *segment = __atomic_load_n(&s->all, __ATOMIC_ACQUIRE);
    for (; segment != NULL && bytes < want_bytes; segment = segment->all_next)
        bytes += purge_segment(s, mine, segment, true);
    return bytes;
}

void segments_purge(struct segments *s, struct pool *mine, bool all)
{
    struct segment *segment = __atomic_load_n(&s->all, __ATOMIC_ACQUIRE);
    for (; segment != NULL; segment = segment->all_next) {
        purge_segment(s, mine, segment, all);
        __atomic_store_n(&segment->old,
                         __atomic_load_n(&segment->dirty, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
    }
}

void segments_age(struct segments *s, struct pool *mine)
{
    uint64_t had = __atomic_load_n(&s->returned_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&s->returned_bytes, had / 2, __ATOMIC_RELAXED);
    segments_purge(s, mine, false);
}

/* ---- the rest ---------------------------------------------------------- */

uint64_t segments_free_bytes(const struct segments *s)
{
    uint64_t n = 0;
    const struct segment *segment = __atomic_load_n(&s->all, __ATOMIC_ACQUIRE);
    for (; segment != NULL; segment = segment->all_next)
        n += (uint64_t)__builtin_popcountll(
            __atomic_load_n(&segment->free, __ATOMIC_RELAXED));
    return n << HAK_GRANULE_SHIFT;
}

void pool_check(const struct pool *pool)
{
    size_t held_bytes = 0;
    uint32_t nempty = 0;
    for (uint32_t b = 0; b < SEGMENT_BINS; b++) {
        struct hak_link *at = pool->bin[b].next;
        for (; at != &pool->bin[b]; at = at->next) {
            const struct segment *segment = segment_of(at);
            segment_check(segment);
            HAK_ALWAYS(segment->pool == pool);
            HAK_ALWAYS(segment->bin == b);
            HAK_ALWAYS(pool->returned || segment_bin(segment) == b);
            held_bytes += segment_bytes(segment);
            nempty += b == SEGMENT_BIN_EMPTY;
        }
    }
    HAK_ALWAYS(held_bytes == pool->held_bytes);
    HAK_ALWAYS(nempty == pool->nempty);
}

static void registry_check(const struct segments *s)
{
    for (const struct segment *at = s->all; at != NULL; at = at->all_next)
        for (uint32_t g = 0; g < segment_ngranules(at); g++)
            HAK_ALWAYS(segments_find(s, segment_at(at, g)) == at);
}

void segments_check(const struct segments *s)
{
    registry_check(s);
    pool_check(&s->shared);
    HAK_ALWAYS(s->shared.nempty == 0);
    for (const struct segment *segment = s->spare; segment != NULL;
         segment = segment->next) {
        HAK_ALWAYS(segment->range == 0 && segment->free == 0);
        HAK_ALWAYS(segment->pool == NULL);
        HAK_ALWAYS(!hak_link_in_list(&segment->link));
    }
}
