/* SPDX-License-Identifier: MIT
 * supply.c - maps blocks, gives them back, and bounds what is kept.
 *
 * Kept bytes have four bounds: `cache_bytes` in all; the age of each block
 * (bigcache.h); and, beyond the first cache_min_bytes, two bounds by what the
 * program did in the last two stretches of time:
 *
 *     live + kept <= (1 + cache_share/100) x the most that was live
 *     kept        <= the bytes that were requested
 *
 * So a program that allocates and frees 32 MiB in a loop finds its block again.
 * A program that has shrunk does not keep what it will not need, and one that
 * frees what it has held for long does not keep it at all. A stretch is an age
 * long; while the box is busy, it goes on until CACHE_TURNS turns have passed.
 *
 * No lock is held over a call of the host.
 */
#include "large.h"

enum {
    SWEEP_MOST = 16, /* most blocks that one sweep gives back */
    /* At rest: the bytes requested in half an age are at most
     * kept / REST_OF_KEPT + most live / REST_OF_LIVE. */
    REST_OF_KEPT = 8,
    REST_OF_LIVE = 32,
    CLEAN_SHARE = 2, /* clean bytes are at most the most live / CLEAN_SHARE */
};

uint64_t supply_age_ms(const struct large *large)
{
    uint64_t age_ms = settings_get(&large->settings.cache_age_ms);
    return age_ms != 0 ? age_ms : large->box->host->purge_delay_ms();
}

uint64_t supply_room(const struct large *large)
{
    const struct settings *s = &large->settings;
    int64_t live = ledger_live(&large->cache);
    int64_t high = ledger_high(&large->ledger);
    int64_t share = high / 100 * (int64_t)settings_get(&s->cache_share);
    int64_t unused = high + share - live; /* < 0: `live` changed meanwhile */
    uint64_t came = (uint64_t)ledger_came(&large->cache) -
                    hak_counted(&large->use.late_came);
    uint64_t room = hak_max(settings_get(&s->cache_min_bytes),
                            unused > 0 ? hak_min((uint64_t)unused, came) : 0);
    return hak_min(settings_get(&s->cache_bytes), room);
}

/* ---- from the host ----------------------------------------------------- */

static struct block *map_once(struct large *large, size_t ngranules,
                              size_t align_bytes, uint32_t flags)
{
    struct hak_box *box = large->box;
    struct block *b = blocks_new(&large->blocks);
    if (b == NULL)
        return NULL;
    void *p =
        box->host->map(box, ngranules << HAK_GRANULE_SHIFT, align_bytes, flags);
    if (p == NULL) {
        blocks_recycle(&large->blocks, b);
        return NULL;
    }
    b->base = p;
    b->huge = (flags & HAK_MAP_HUGE) != 0;
    __atomic_store_n(&b->color, 0, __ATOMIC_RELAXED);
    /* Atomic: a lookup that found the struct's former block may read these. */
    __atomic_store_n(&b->size_bytes, ngranules << HAK_GRANULE_SHIFT,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&b->ngranules, (uint32_t)ngranules, __ATOMIC_RELAXED);
    __atomic_store_n(&b->state, BLOCK_CACHED, __ATOMIC_RELAXED);
    blocks_enter(&large->blocks, b);
    hak_count_shared(&large->maps, 1);
    hak_count_shared(&large->mapped_bytes, (int64_t)block_bytes(b));
    return b;
}

bool supply_huge(const struct large *large, size_t ngranules)
{
    uint64_t huge_bytes = settings_get(&large->settings.huge_bytes);
    return huge_bytes != 0 && ngranules << HAK_GRANULE_SHIFT >= huge_bytes;
}

struct block *supply_map(struct large *large, size_t ngranules,
                         size_t align_bytes, uint32_t flags)
{
    if (supply_huge(large, ngranules))
        flags |= HAK_MAP_HUGE;
    struct block *b = map_once(large, ngranules, align_bytes, flags);
    if (b == NULL && supply_make_way(large))
        b = map_once(large, ngranules, align_bytes, flags);
    return b;
}

/* ---- back to the host --------------------------------------------------- */

/* Give the addresses of a block back to the host, and recycle its struct. */
static void let_go(struct large *large, struct block *b)
{
    struct hak_box *box = large->box;
    blocks_leave(&large->blocks, b); /* first: another box may get the range */
    box->host->unmap(box, b->base, block_bytes(b));
    blocks_recycle(&large->blocks, b);
    hak_count_shared(&large->given_back, 1);
}

/*
 * The host keeps the pages of what is unmapped for another purge delay, for
 * reuse by any box. The block has waited here already, or is not worth keeping,
 * so its pages are purged first and the host keeps the addresses only.
 */
void supply_give_back(struct large *large, struct block *b)
{
    large->box->host->purge(large->box, b->base, block_bytes(b));
    let_go(large, b);
}

/*
 * Purge a block and keep its addresses, to be joined with its neighbours. Only
 * long blocks are joined, so short ones go back. Clean bytes are bounded by
 * what was live (CLEAN_SHARE); a block beyond that goes back as well.
 */
static void make_clean(struct large *large, uint32_t shard, struct block *b,
                       uint64_t now_ms)
{
    struct hak_box *box = large->box;
    uint64_t nbytes = block_bytes(b);
    uint64_t most = (uint64_t)ledger_high(&large->ledger) / CLEAN_SHARE;
    if (shard != large->cache.nshards - 1 ||
        bigcache_clean_bytes(&large->cache) + nbytes > most) {
        supply_give_back(large, b);
    } else if (box->host->purge(box, b->base, nbytes) != 0) {
        let_go(large, b); /* mlocked: unmap finds another way to free it */
    } else {
        bigcache_put_clean(&large->cache, shard, b, now_ms);
        hak_count_shared(&large->cleaned_bytes, (int64_t)nbytes);
    }
}

/*
 * Evict at most nbytes of the oldest block of this shard, or of another shard
 * when this one has none. Returns false when no shard has a dirty block.
 */
static bool evict_one(struct large *large, uint32_t shard, uint64_t now_ms,
                      uint64_t nbytes)
{
    struct bigcache *cache = &large->cache;
    for (uint32_t i = 0; i < cache->nshards; i++) {
        uint32_t at = (shard + i) % cache->nshards;
        struct block *b = bigcache_evict(cache, at, now_ms, 0, nbytes);
        if (b == NULL)
            continue;
        hak_count_shared(&large->passed, 1);
        make_clean(large, at, b, now_ms);
        return true;
    }
    return false;
}

/* Evict until no more than `most` bytes are kept. Returns what is kept then. */
static uint64_t make_room(struct large *large, uint32_t shard, uint64_t now_ms,
                          uint64_t most)
{
    uint64_t kept;
    while ((kept = bigcache_bytes(&large->cache)) > most &&
           evict_one(large, shard, now_ms, kept - most))
        ;
    return kept;
}

/*
 * Keep b although the shard's allowance is used up: make room in all shards.
 * Half of the room that is left then, divided by the number of shards, is the
 * shard's new allowance. All allowances together so stay within the bound,
 * although no shard looks at the others while it uses its own.
 */
static bool keep_slowly(struct large *large, uint32_t shard, struct block *b,
                        uint64_t now_ms)
{
    uint64_t room = supply_room(large), nbytes = block_bytes(b);
    if (nbytes > room)
        return false;
    uint64_t kept = make_room(large, shard, now_ms, room - nbytes) + nbytes;
    uint64_t left = room > kept ? room - kept : 0;
    bigcache_put(&large->cache, shard, b, now_ms,
                 left / 2 / large->cache.nshards);
    return true;
}

void supply_bound(struct large *large, uint64_t now_ms)
{
    bigcache_recall(&large->cache);
    make_room(large, large_shard(large), now_ms, supply_room(large));
}

void supply_free(struct large *large, struct block *b)
{
    struct hak_box *box = large->box;
    uint64_t nbytes = block_bytes(b), now_ms = box->host->now_ms();
    if (unlikely(now_ms >= hak_counted(&large->next_sweep_ms)))
        supply_sweep(large, now_ms);
    uint32_t shard = shard_for(large, b->ngranules);
    bool direct = threshold_direct(&large->threshold, nbytes);
    bool keep = !direct && hak_box_is_active(box);
    if (likely(bigcache_free(&large->cache, shard, b, now_ms, keep)))
        return;
    if (keep && keep_slowly(large, shard, b, now_ms))
        return;
    if (direct)
        threshold_gone(&large->threshold, &large->cache, nbytes, now_ms);
    supply_give_back(large, b);
}

/* ---- time and use ------------------------------------------------------ */

/* Decide whether the box is at rest and whether a turn is over. A box that did
 * not come here for four ages was not called in them, so it is at rest. */
static void look_at_use(struct large *large, uint64_t now_ms, uint64_t age_ms,
                        uint64_t came)
{
    struct use *use = &large->use;
    struct bigcache *cache = &large->cache;
    uint64_t high = (uint64_t)ledger_high(&large->ledger);
    uint64_t passed_ms = now_ms - use->looked_ms;
    if (passed_ms >= age_ms / 2) {
        uint64_t rest =
            bigcache_bytes(cache) / REST_OF_KEPT + high / REST_OF_LIVE;
        bool busy = came - use->looked_came > rest && passed_ms < 4 * age_ms;
        __atomic_store_n(&cache->busy, busy, __ATOMIC_RELAXED);
        use->looked_ms = now_ms;
        use->looked_came = came;
    }
    if (came - use->turn_came >= high) {
        __atomic_store_n(&cache->turn, (uint8_t)(cache->turn + 1),
                         __ATOMIC_RELAXED);
        use->turn_came = came;
        hak_count_shared(&large->turns, 1);
    }
}

static void end_stretch(struct large *large, uint64_t now_ms, uint64_t age_ms,
                        uint64_t came)
{
    struct use *use = &large->use;
    uint8_t turn = large->cache.turn;
    if (!bigcache_is_old(&large->cache, (uint32_t)use->stretch_ms,
                         use->stretch_turn, now_ms, hak_max(age_ms, 1)))
        return;
    ledger_turn(&large->ledger, &large->cache);
    __atomic_store_n(&use->late_came, use->stretch_came, __ATOMIC_RELAXED);
    use->stretch_ms = now_ms;
    use->stretch_turn = turn;
    use->stretch_came = came;
}

/* Give back blocks that are too old. Returns false if there may be more. */
static bool give_old_back(struct large *large, uint64_t now_ms, uint64_t age_ms)
{
    struct bigcache *cache = &large->cache;
    int done = 0;
    struct block *b;
    age_ms = hak_max(age_ms, 1);
    for (uint32_t i = 0; i < cache->nshards; i++) {
        for (; done < SWEEP_MOST &&
               (b = bigcache_evict(cache, i, now_ms, age_ms, UINT64_MAX));
             done++) {
            threshold_unused(&large->threshold, block_bytes(b));
            supply_give_back(large, b);
            hak_count_shared(&large->unused, 1);
        }
        for (; done < SWEEP_MOST &&
               (b = bigcache_evict_clean(cache, i, now_ms, age_ms));
             done++)
            let_go(large, b);
    }
    return done < SWEEP_MOST;
}

void supply_sweep(struct large *large, uint64_t now_ms)
{
    uint64_t age_ms = supply_age_ms(large);
    uint64_t next_ms = hak_counted(&large->next_sweep_ms);
    /* UINT64_MAX keeps other threads out, so `use` is this thread's alone until
     * the release store below, which this acquire pairs with. */
    if (next_ms == UINT64_MAX || !hak_has_come(next_ms, now_ms, age_ms / 4) ||
        !__atomic_compare_exchange_n(&large->next_sweep_ms, &next_ms,
                                     UINT64_MAX, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        return;
    uint64_t came = (uint64_t)ledger_came(&large->cache);
    look_at_use(large, now_ms, age_ms, came);
    bool all = give_old_back(large, now_ms, age_ms);
    end_stretch(large, now_ms, age_ms, came);
    /* When SWEEP_MOST blocks went, there may be more: the next call goes on. */
    __atomic_store_n(&large->next_sweep_ms, all ? now_ms + age_ms / 4 : now_ms,
                     __ATOMIC_RELEASE);
}

size_t supply_flush(struct large *large)
{
    struct bigcache *cache = &large->cache;
    size_t nbytes = 0;
    struct block *b;
    for (uint32_t i = 0; i < cache->nshards; i++) {
        while ((b = bigcache_evict(cache, i, 0, 0, UINT64_MAX)) != NULL) {
            nbytes += block_bytes(b);
            supply_give_back(large, b);
        }
        while ((b = bigcache_evict_clean(cache, i, 0, 0)) != NULL)
            let_go(large, b);
    }
    return nbytes;
}

size_t supply_shrink(struct large *large, size_t want_bytes)
{
    struct bigcache *cache = &large->cache;
    size_t nbytes = 0;
    struct block *b;
    for (uint32_t i = 0; i < cache->nshards && nbytes < want_bytes; i++)
        while (nbytes < want_bytes &&
               (b = bigcache_evict(cache, i, 0, 0, want_bytes - nbytes)) !=
                   NULL) {
            nbytes += block_bytes(b);
            let_go(large, b);
        }
    return nbytes;
}

bool supply_make_way(struct large *large)
{
    uint64_t clean = bigcache_clean_bytes(&large->cache);
    return supply_flush(large) + clean != 0;
}
