/* SPDX-License-Identifier: MIT
 * large.c - blocks above 32 KiB: whole mappings, cached when freed.
 *
 * A block is a run of granules of its own. Freed blocks go to the BigCache,
 * unless their size has proved not worth it (elo.h), and from there to the
 * host when they are too old or too many. realloc grows and moves by remap.
 *
 * Each thread keeps a few blocks of its own in front of that (near.h): an
 * atomic would wait for all that the program has just written.
 *
 * Lock: one, for the cache, the ratings, the spare structs and the figures.
 * It is held for list work only, never over a call of the host that may enter
 * the kernel, so threads meet there for some tens of nanoseconds.
 */
#include "bigcache.h"
#include "elo.h"
#include "near.h"

#include <boxkit/map.h>
#include <boxkit/sync.h>

#include <errno.h>

enum {
    PARAM_CACHE,
    PARAM_FLOOR,
    PARAM_AGE,
    PARAM_ELO,
    PARAM_K,
    PARAM_DIRECT,
    PARAM_CLEAR,
    PARAM_NEAR
};

#define MIB ((int64_t)1 << 20)

static const struct hak_param params[] = {
    [PARAM_CACHE] = {.name = "cache_bytes",
                     .type = HAK_PARAM_SIZE,
                     .flags = HAK_PARAM_MUTABLE,
                     .max = (int64_t)1 << 40,
                     .def = 512 * MIB,
                     .help = "most bytes of freed blocks kept for reuse"},
    [PARAM_FLOOR] = {.name = "cache_floor",
                     .type = HAK_PARAM_SIZE,
                     .flags = HAK_PARAM_MUTABLE,
                     .max = (int64_t)1 << 40,
                     .def = 32 * MIB,
                     .help = "kept in any case; above it a quarter of what "
                             "is live"},
    [PARAM_AGE] = {.name = "cache_age_ms",
                   .type = HAK_PARAM_MS,
                   .flags = HAK_PARAM_MUTABLE,
                   .max = 3600000,
                   .help = "kept at most so long; 0 = purge_delay_ms"},
    [PARAM_ELO] = {.name = "elo",
                   .type = HAK_PARAM_BOOL,
                   .max = 1,
                   .def = 1,
                   .help = "learn from which size on blocks are not kept"},
    [PARAM_K] = {.name = "elo_k",
                 .type = HAK_PARAM_INT,
                 .min = 1,
                 .max = 400,
                 .def = 24,
                 .help = "how much one outcome moves a rating"},
    [PARAM_DIRECT] = {.name = "direct_bytes",
                      .type = HAK_PARAM_SIZE,
                      .min = HAK_GRANULE_BYTES,
                      .max = (int64_t)1 << 46,
                      .def = 64 * MIB,
                      .help = "from this size on blocks are not kept, until "
                              "elo learns better"},
    [PARAM_CLEAR] = {.name = "clear_bytes",
                     .type = HAK_PARAM_SIZE,
                     .max = (int64_t)1 << 40,
                     .def = MIB,
                     .help = "calloc clears a kept block up to this size, "
                             "larger ones get fresh pages"},
    [PARAM_NEAR] = {.name = "near_bytes",
                    .type = HAK_PARAM_SIZE,
                    .flags = HAK_PARAM_MUTABLE,
                    .max = (int64_t)1 << 40,
                    .def = 2 * MIB,
                    .help = "a thread keeps so many bytes of freed blocks of "
                            "up to 1 MiB for itself"},
};

struct large {
    struct hak_box *box;
    struct hak_map blocks; /* granule -> block, every granule of it */
    struct hak_lock lock;
    struct bigcache cache;
    struct elo elo;
    struct block *spare;
    struct block *all; /* push only; atomic */
    struct near *spare_near, *all_near;
    uint64_t live_count, live_bytes, peak_bytes;
    uint64_t retired;
};

static struct large *large_of(struct hak_box *box)
{
    return box->state;
}

static uint64_t age_ms(const struct hak_box *box)
{
    uint64_t given = (uint64_t)box->params[PARAM_AGE].i;
    return given != 0 ? given : box->host->purge_delay_ms();
}

/* ---- block structs ----------------------------------------------------------
 */

static struct block *new_struct(struct large *l)
{
    hak_lock_take(&l->lock);
    struct block *b = l->spare;
    if (b != NULL)
        l->spare = b->next_spare;
    hak_lock_drop(&l->lock);
    if (b != NULL || (b = l->box->host->meta(l->box, sizeof *b)) == NULL)
        return b;
    hak_lock_take(&l->lock);
    b->all_next = l->all;
    __atomic_store_n(&l->all, b, __ATOMIC_RELEASE);
    hak_lock_drop(&l->lock);
    return b;
}

/* lock held */
static void spare_struct(struct large *l, struct block *b)
{
    b->state = BLOCK_SPARE;
    b->next_spare = l->spare;
    l->spare = b;
}

/* lock held */
static void count_live(struct large *l, struct block *b)
{
    b->state = BLOCK_LIVE;
    l->live_count++;
    l->live_bytes += b->bytes;
    hak_count_peak(&l->peak_bytes, l->live_bytes);
}

/* ---- giving back
 * --------------------------------------------------------------- */

/* lock held: what the cache may hold now */
static size_t cache_limit(const struct large *l)
{
    const union hak_value *v = l->box->params;
    size_t share = hak_max((size_t)v[PARAM_FLOOR].i, l->live_bytes / 4);
    return hak_min(share, (size_t)v[PARAM_CACHE].i);
}

/*
 * lock held: take out of the cache what is too old, and the oldest while it
 * holds more than `limit`. At most a few a call: the rest waits for the next.
 * Returns a chain through next_spare.
 */
static struct block *evict(struct large *l, size_t limit, uint64_t now,
                           uint32_t most)
{
    struct block *chain = NULL, *b;
    uint64_t age = age_ms(l->box);
    while (most-- != 0 && (b = bigcache_oldest(&l->cache)) != NULL) {
        bool old = now - b->freed_ms > age;
        if (!old && l->cache.bytes <= limit)
            break;
        if (old)
            elo_lost(&l->elo, b->bytes);
        bigcache_remove(&l->cache, b);
        b->next_spare = chain;
        chain = b;
    }
    return chain;
}

/* Give a chain of blocks to the host; no lock held. Returns bytes. */
static size_t unmap_chain(struct large *l, struct block *chain)
{
    size_t bytes = 0;
    while (chain != NULL) {
        struct block *b = chain;
        chain = b->next_spare;
        hak_map_set(&l->blocks, b->start, b->bytes, NULL);
        l->box->host->unmap(l->box, b->start, b->bytes);
        bytes += b->bytes;
        hak_lock_take(&l->lock);
        l->retired++;
        spare_struct(l, b);
        hak_lock_drop(&l->lock);
    }
    return bytes;
}

enum { EVICT_A_CALL = 4 };

/* ---- alloc
 * ------------------------------------------------------------------------ */

static struct block *from_cache(struct large *l, size_t bytes, size_t align)
{
    hak_lock_take(&l->lock);
    struct block *b = bigcache_get(&l->cache, bytes, align);
    if (b != NULL) {
        elo_won(&l->elo, b->bytes);
        count_live(l, b);
    }
    hak_lock_drop(&l->lock);
    return b;
}

static size_t empty_cache(struct large *l)
{
    hak_lock_take(&l->lock);
    struct block *all = evict(l, 0, l->box->host->now_ms(), UINT32_MAX);
    hak_lock_drop(&l->lock);
    return unmap_chain(l, all);
}

static struct block *fresh(struct large *l, size_t bytes, size_t align,
                           uint32_t flags)
{
    const struct hak_host *host = l->box->host;
    struct block *b = new_struct(l);
    if (b == NULL)
        return NULL;
    b->start = host->map(l->box, bytes, align, flags);
    if (b->start == NULL) {
        empty_cache(l);
        b->start = host->map(l->box, bytes, align, flags);
    }
    hak_lock_take(&l->lock);
    if (b->start != NULL) {
        b->bytes = bytes;
        count_live(l, b);
    } else {
        spare_struct(l, b);
        b = NULL;
    }
    hak_lock_drop(&l->lock);
    if (b != NULL)
        hak_map_set(&l->blocks, b->start, bytes, b);
    return b;
}

static size_t granules_for(size_t size_bytes)
{
    if (size_bytes > PTRDIFF_MAX - HAK_GRANULE_BYTES)
        return 0;
    return hak_round_up(size_bytes, HAK_GRANULE_BYTES);
}

static void *take(struct hak_box *box, size_t size_bytes, size_t align,
                  bool zero)
{
    struct large *l = large_of(box);
    size_t bytes = granules_for(size_bytes);
    if (bytes == 0)
        return NULL;
    align = hak_max(align, HAK_GRANULE_BYTES);
    struct block *b = NULL;
    if (near_fits(bytes) && align == HAK_GRANULE_BYTES) {
        struct near *n = box->host->heap(box, true);
        b = n != NULL ? near_get(n, bytes) : NULL;
    }
    if (b == NULL)
        b = from_cache(l, bytes, align);
    if (b == NULL) {
        b = fresh(l, bytes, align, zero ? HAK_MAP_ZERO : 0);
        return b != NULL ? b->start : NULL;
    }
    if (zero && b->bytes <= (size_t)box->params[PARAM_CLEAR].i)
        memset(b->start, 0, b->bytes);
    else if (zero)
        box->host->purge(box, b->start, b->bytes);
    return b->start;
}

static void *large_alloc(struct hak_box *box, size_t size_bytes)
{
    return take(box, size_bytes, 0, false);
}

static void *large_zalloc(struct hak_box *box, size_t size_bytes)
{
    return take(box, size_bytes, 0, true);
}

static void *large_aligned_alloc(struct hak_box *box, size_t align_bytes,
                                 size_t size_bytes)
{
    return take(box, size_bytes, align_bytes, false);
}

/* ---- free
 * ---------------------------------------------------------------- */

static struct block *block_of(struct large *l, const void *p)
{
    return hak_map_get(&l->blocks, p);
}

/* lock held: a live block is free now; returns what is to be unmapped */
static struct block *put(struct large *l, struct block *b, uint64_t now)
{
    l->live_count--;
    l->live_bytes -= b->bytes;
    size_t limit = cache_limit(l);
    bool keep = b->bytes <= limit && elo_keeps(&l->elo, b->bytes);
    if (keep)
        bigcache_put(&l->cache, b, now);
    struct block *chain = evict(l, limit, now, EVICT_A_CALL);
    if (!keep) {
        b->next_spare = chain;
        chain = b;
    }
    return chain;
}

/* All that the thread keeps goes to the shared cache, as freed just now. */
static void empty_near(struct large *l, struct near *n, uint64_t now)
{
    struct block *b;
    n->emptied_ms = now;
    while ((b = near_any(n)) != NULL) {
        hak_lock_take(&l->lock);
        struct block *chain = put(l, b, now);
        hak_lock_drop(&l->lock);
        unmap_chain(l, chain);
    }
}

static void large_free(struct hak_box *box, void *p)
{
    struct large *l = large_of(box);
    struct block *b = block_of(l, p);
    if (b == NULL) /* not one of ours: nothing to take back */
        return;
    struct near *n = near_fits(b->bytes) ? box->host->heap(box, false) : NULL;
    if (n != NULL && n->bytes + b->bytes <= (size_t)box->params[PARAM_NEAR].i) {
        near_put(n, b);
        return;
    }
    uint64_t now = box->host->now_ms();
    hak_lock_take(&l->lock);
    struct block *chain = put(l, b, now);
    hak_lock_drop(&l->lock);
    unmap_chain(l, chain);
    if (n != NULL && now - n->emptied_ms > age_ms(box)) /* sizes it has left */
        empty_near(l, n, now);
}

/* ---- threads
 * ------------------------------------------------------------------------- */

static void *large_heap_open(struct hak_box *box, struct hak_thread *thread)
{
    struct large *l = large_of(box);
    (void)thread;
    hak_lock_take(&l->lock);
    struct near *n = l->spare_near;
    if (n != NULL)
        l->spare_near = n->next;
    hak_lock_drop(&l->lock);
    if (n != NULL || (n = box->host->meta(box, sizeof *n)) == NULL)
        return n;
    hak_lock_take(&l->lock);
    n->all_next = l->all_near;
    l->all_near = n;
    hak_lock_drop(&l->lock);
    return n;
}

static void large_heap_close(struct hak_box *box, void *heap)
{
    struct large *l = large_of(box);
    struct near *n = heap;
    empty_near(l, n, box->host->now_ms());
    hak_lock_take(&l->lock);
    n->next = l->spare_near;
    l->spare_near = n;
    hak_lock_drop(&l->lock);
}

/* ---- resize
 * ----------------------------------------------------------------------------
 */

static void changed(struct large *l, struct block *b, size_t bytes)
{
    hak_lock_take(&l->lock);
    l->live_bytes += bytes - b->bytes;
    hak_count_peak(&l->peak_bytes, l->live_bytes);
    b->bytes = bytes;
    hak_lock_drop(&l->lock);
}

static void *shrink(struct large *l, struct block *b, size_t bytes)
{
    size_t old = b->bytes;
    hak_map_set(&l->blocks, b->start + bytes, old - bytes, NULL);
    changed(l, b, bytes);
    l->box->host->unmap(l->box, b->start + bytes, old - bytes);
    return b->start;
}

/* Tables first: as soon as it has moved, the old place may be another's. */
static void *grow(struct large *l, struct block *b, size_t bytes)
{
    size_t old = b->bytes;
    hak_map_set(&l->blocks, b->start, old, NULL);
    char *q = l->box->host->remap(l->box, b->start, old, bytes);
    if (q == NULL) {
        hak_map_set(&l->blocks, b->start, old, b);
        return NULL;
    }
    b->start = q;
    changed(l, b, bytes);
    hak_map_set(&l->blocks, q, bytes, b);
    return q;
}

static void *large_resize(struct hak_box *box, void *p, size_t size_bytes)
{
    struct large *l = large_of(box);
    struct block *b = block_of(l, p);
    size_t bytes = granules_for(size_bytes);
    if (bytes == 0 || size_bytes <= HAK_LANE_MAX_BYTES)
        return NULL; /* a smaller box has a better slot: the core copies */
    if (bytes == b->bytes)
        return p;
    return bytes < b->bytes ? shrink(l, b, bytes) : grow(l, b, bytes);
}

/* ---- the rest
 * ---------------------------------------------------------------------------
 */

static bool large_owns(struct hak_box *box, const void *p)
{
    return block_of(large_of(box), p) != NULL;
}

static size_t large_usable_size(struct hak_box *box, const void *p)
{
    const struct block *b = block_of(large_of(box), p);
    return b != NULL ? b->bytes : 0;
}

static size_t large_slot_size(struct hak_box *box, size_t size_bytes)
{
    (void)box;
    return granules_for(size_bytes);
}

static int large_init(struct hak_box *box)
{
    struct large *l = box->host->meta(box, sizeof *l);
    if (l == NULL || !hak_map_init(&l->blocks, box)) {
        box->host->log(box, HAK_LOG_ERROR, "no memory for the block table");
        return -ENOMEM;
    }
    l->box = box;
    bigcache_init(&l->cache);
    elo_init(&l->elo, box->params[PARAM_ELO].i != 0,
             (uint32_t)box->params[PARAM_K].i,
             (size_t)box->params[PARAM_DIRECT].i);
    box->state = l;
    return 0;
}

static int large_set_param(struct hak_box *box, uint32_t param)
{
    (void)box; /* all are read where they are used */
    (void)param;
    return 0;
}

static void large_fork(struct hak_box *box, enum hak_fork_phase phase)
{
    struct hak_lock *lock = &large_of(box)->lock;
    (phase == HAK_FORK_PREPARE ? hak_lock_take : hak_lock_drop)(lock);
}

static size_t large_trim(struct hak_box *box)
{
    struct near *n = box->host->heap(box, false);
    if (n != NULL)
        empty_near(large_of(box), n, box->host->now_ms());
    return empty_cache(large_of(box));
}

static void large_stats(struct hak_box *box, struct hak_box_stats *out)
{
    struct large *l = large_of(box);
    uint64_t count = 0, bytes = 0;
    hak_lock_take(&l->lock);
    for (const struct near *n = l->all_near; n != NULL; n = n->all_next) {
        count += hak_counted(&n->count);
        bytes += hak_counted(&n->bytes);
    }
    out->live_count = l->live_count - count;
    out->live_bytes = l->live_bytes - bytes;
    out->peak_bytes = l->peak_bytes;
    out->cached_bytes = l->cache.bytes + bytes;
    out->retired_pages = l->retired;
    hak_lock_drop(&l->lock);
}

static void large_walk(struct hak_box *box, hak_visit *visit, void *context)
{
    const struct block *b =
        __atomic_load_n(&large_of(box)->all, __ATOMIC_ACQUIRE);
    for (; b != NULL; b = b->all_next)
        if (__atomic_load_n(&b->state, __ATOMIC_RELAXED) == BLOCK_LIVE &&
            !visit(context, b->start, b->bytes))
            return;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("large", "1.0"),
    .summary = "whole mappings, a cache of freed ones, growth by mremap",
    .params = params,
    .nparams = sizeof params / sizeof params[0],
    .min_bytes = HAK_LANE_MAX_BYTES + 1,
    .max_bytes = PTRDIFF_MAX,
    .ops =
        {
            .alloc = large_alloc,
            .free = large_free,
            .owns = large_owns,
            .init = large_init,
            .usable_size = large_usable_size,
            .slot_size = large_slot_size,
            .aligned_alloc = large_aligned_alloc,
            .zalloc = large_zalloc,
            .resize = large_resize,
            .heap_open = large_heap_open,
            .heap_close = large_heap_close,
            .fork = large_fork,
            .trim = large_trim,
            .stats = large_stats,
            .walk = large_walk,
            .set_param = large_set_param,
        },
};
