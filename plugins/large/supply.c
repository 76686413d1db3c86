/* SPDX-License-Identifier: MIT
 * supply.c - blocks from the host and back, and how much is kept between.
 *
 * What is kept is bounded three ways: `cache_bytes` in all; `cache_age_ms`
 * per block; and by what the program used of late, so that
 *
 *     live + kept <= (1 + cache_share/100) x most live in the last two ages
 *
 * beyond the first cache_min_bytes. A loop over 32 MiB finds its block again;
 * a program that has shrunk does not keep what it will not need.
 *
 * Nothing here holds a lock while the host works.
 */
#include "large.h"

enum {
    SWEEP_MOST = 16, /* blocks given back by one call for their age */
    EVICT_SHARE = 8, /* of a block that must make room, at least this part of
                        what may be kept goes: a system call each */
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
    int64_t high = ledger_read(&large->ledger.high);
    int64_t before = ledger_read(&large->ledger.high_before);
    high = before > high ? before : high;
    int64_t share = high / 100 * (int64_t)settings_get(&s->cache_share);
    int64_t unused = high + share - live; /* a sum in motion may be less */
    uint64_t room = hak_max(settings_get(&s->cache_min_bytes),
                            unused > 0 ? (uint64_t)unused : 0);
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
    /* Atomic: whoever had the struct's last block may still be reading. */
    __atomic_store_n(&b->size_bytes, ngranules << HAK_GRANULE_SHIFT,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&b->ngranules, (uint32_t)ngranules, __ATOMIC_RELAXED);
    __atomic_store_n(&b->state, BLOCK_CACHED, __ATOMIC_RELAXED);
    blocks_enter(&large->blocks, b);
    hak_count_shared(&large->maps, 1);
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
    if (b == NULL && supply_flush(large) != 0)
        b = map_once(large, ngranules, align_bytes, flags);
    return b;
}

/* ---- back -------------------------------------------------------------- */

/*
 * The host keeps what it gets for reuse by any box and lets go of it a purge
 * delay later. Here the wait is over, or was decided against, so the pages go
 * at once and only the addresses wait.
 */
void supply_give_back(struct large *large, struct block *b)
{
    struct hak_box *box = large->box;
    size_t nbytes = block_bytes(b);
    blocks_leave(&large->blocks, b); /* before it can be another's */
    box->host->purge(box, b->base, nbytes);
    box->host->unmap(box, b->base, nbytes);
    blocks_recycle(&large->blocks, b);
    hak_count_shared(&large->given_back, 1);
}

/*
 * Of the oldest of the shard's own blocks at most nbytes; if it has none, of
 * another's.
 */
static bool evict_one(struct large *large, uint32_t shard, uint64_t now_ms,
                      uint64_t nbytes)
{
    struct bigcache *cache = &large->cache;
    for (uint32_t i = 0; i < cache->nshards; i++) {
        struct block *b = bigcache_evict(
            cache, (shard + i) & (cache->nshards - 1), now_ms, 0, nbytes);
        if (b == NULL)
            continue;
        elo_unused(&large->elo, block_bytes(b), block_held_ms(b, now_ms),
                   supply_age_ms(large));
        hak_count_shared(&large->passed, 1);
        supply_give_back(large, b);
        return true;
    }
    return false;
}

/* Down to `most` bytes; returns what is kept then. */
static uint64_t make_room(struct large *large, uint32_t shard, uint64_t now_ms,
                          uint64_t most)
{
    uint64_t kept;
    while ((kept = bigcache_bytes(&large->cache)) > most &&
           evict_one(large, shard, now_ms,
                     hak_max(kept - most, most / EVICT_SHARE)))
        ;
    return kept;
}

/*
 * The allowance is used up: look at all shards. Of the room that is left,
 * half is granted to as many shards as there are, so that what they do not
 * know of each other stays within the bound.
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
    uint32_t shard = large_shard(large);
    bool direct = elo_direct(&large->elo, nbytes);
    bool keep = !direct && box->state_now == HAK_BOX_ACTIVE;
    if (likely(bigcache_free(&large->cache, shard, b, now_ms, keep)))
        return;
    if (keep && keep_slowly(large, shard, b, now_ms))
        return;
    if (direct)
        elo_given_back(&large->elo, nbytes, now_ms);
    supply_give_back(large, b);
}

/* ---- time -------------------------------------------------------------- */

/* One thread begins the next stretch. */
static void begin_stretch(struct large *large, uint64_t now_ms, uint64_t age_ms)
{
    uint64_t next_ms = hak_counted(&large->next_stretch_ms);
    if (now_ms >= next_ms &&
        __atomic_compare_exchange_n(&large->next_stretch_ms, &next_ms,
                                    now_ms + age_ms, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED))
        ledger_turn(&large->ledger, &large->cache);
}

void supply_sweep(struct large *large, uint64_t now_ms)
{
    uint64_t age_ms = supply_age_ms(large);
    uint32_t done = 0;
    struct block *b;
    for (uint32_t i = 0; i < large->cache.nshards; i++)
        while (done < SWEEP_MOST &&
               (b = bigcache_evict(&large->cache, i, now_ms, age_ms,
                                   UINT64_MAX))) {
            elo_unused(&large->elo, block_bytes(b), age_ms, age_ms);
            supply_give_back(large, b);
            done++;
        }
    hak_count_shared(&large->unused, (int64_t)done);
    elo_tick(&large->elo, now_ms, age_ms);
    begin_stretch(large, now_ms, age_ms);
    /* A full load means that there is more: the next call goes on. */
    __atomic_store_n(&large->next_sweep_ms,
                     done < SWEEP_MOST ? now_ms + age_ms / 4 : now_ms,
                     __ATOMIC_RELAXED);
}

/* No outcome of a game: it was not the blocks' fault. */
size_t supply_flush(struct large *large)
{
    size_t nbytes = 0;
    struct block *b;
    for (uint32_t i = 0; i < large->cache.nshards; i++)
        while ((b = bigcache_evict(&large->cache, i, 0, 0, UINT64_MAX)) !=
               NULL) {
            nbytes += block_bytes(b);
            supply_give_back(large, b);
        }
    return nbytes;
}
