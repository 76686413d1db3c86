/* SPDX-License-Identifier: MIT
 * bigcache.h - freed blocks, kept for the next request that they can serve.
 *
 *     shard (each with a lock: one a CPU for short blocks, one for long ones)
 *       bucket[i] -> newest ... oldest     dirty blocks by length, 8 buckets a
 *                                          doubling
 *       age       -> newest ... oldest     the same blocks, of all buckets
 *       filled                             bit i: bucket[i] is not empty
 *       bytes     = sum of the dirty blocks' mappings
 *       clean     -> newest ... oldest     blocks that were purged
 *       account   what was counted as live here, see ledger.h
 *
 * A dirty block still has its resident pages. A block that must make room may
 * be purged and kept, clean, for its addresses: joined with its neighbours it
 * serves a request that no dirty block is long enough for.
 *
 * A request is served by the shard that it names, or else by any other, with:
 *
 *     as a whole  the shortest dirty block that is not more than `waste`
 *                 percent too long; of equals the newest
 *     else        a run: one block, or several that adjoin, joined. Of all
 *                 runs the one with the most dirty bytes, of equals the
 *                 shortest. What is more than half of `waste` percent too much
 *                 is split off and stays in the cache, as old as it was
 *
 * Blocks are joined for a request and not when they are freed. Until then each
 * keeps its own age, so a neighbour neither delays nor hastens its giving back.
 *
 * A block is too old when it was freed at least an age ago by the clock, and
 * the box is at rest (not `busy`) or CACHE_TURNS turns have passed as well. A
 * turn is as many bytes of requests as the most that was live of late. On a
 * busy machine, where everything takes longer, a program so keeps the blocks
 * that it goes on allocating and freeing.
 *
 * Ageing and eviction take the oldest block, or its end when less must go. The
 * caller (supply.c) decides how much may be kept, and what becomes of a block
 * that is taken out. This file calls the host only for spare struct blocks.
 *
 * Lock order: one shard lock at a time; under it the lock of the blocks.
 */
#ifndef LARGE_BIGCACHE_H
#define LARGE_BIGCACHE_H

#include "blocks.h"
#include "ledger.h"

enum {
    CACHE_SHARDS_MOST = 17,
    CACHE_BUCKETS = 128, /* up to 16 GiB; longer blocks share the last */
    CACHE_FIT_SCAN = 8,  /* most blocks looked at in one bucket */
    CACHE_RUN_SCAN = 64, /* most blocks where a run may start; most in a run */
    CACHE_TURNS = 16,    /* `make bench BENCH=buffers`: docs/decisions.md */
};

/*
 * allowance  value of `bytes` up to which a free may keep its block without
 *            looking at the other shards; 0 after each change of the bounds,
 *            and when a fresh block becomes live
 */
struct shard {
    struct hak_lock lock;
    /* Written under the lock, read without it as hints and for sums. */
    uint64_t bytes, count;
    uint64_t filled[CACHE_BUCKETS / 64];
    struct account account;
    uint64_t hits, puts; /* blocks taken by a request; blocks put in */
    uint64_t allowance;
    uint64_t clean_bytes, clean_count;
    struct hak_link age, clean;
    struct hak_link bucket[CACHE_BUCKETS];
} __attribute__((aligned(64)));

/* busy, turn  atomic; written by the thread that sweeps, see supply.c */
struct bigcache {
    uint32_t nshards;
    uint32_t waste_percent;
    bool busy;
    uint8_t turn; /* number of this turn, modulo 256 */
    struct shard *shard;
    struct blocks *blocks;
};

/*
 * nshards  up to CACHE_SHARDS_MOST
 * blocks   the table that blocks of this cache are entered in
 * Returns  0 or -ENOMEM
 */
int bigcache_init(struct bigcache *cache, struct blocks *blocks,
                  uint32_t nshards);

/*
 * What bigcache_take() is asked for.
 * align_bytes  a power of two; the block's start is a multiple of it
 * huge         only memory that was mapped for huge pages will do
 * whole        take a block as it is: neither split nor join
 * size_bytes   live bytes to count when a block is taken; 0: count nothing
 */
struct request {
    size_t ngranules, align_bytes, size_bytes;
    bool huge, whole;
};

/*
 * counted  size_bytes was counted; if not, the caller calls ledger_add()
 * dirty    the whole block is dirty: it will take no fresh pages
 */
struct taken {
    struct block *block;
    bool counted, dirty;
};

/*
 * bigcache_take - take a block out of the cache for a request; block is NULL
 * when none fits.
 * shard  the shard that is asked first; the others follow
 * The caller holds no lock of the box.
 */
struct taken bigcache_take(struct bigcache *cache, uint32_t shard,
                           const struct request *request);

/*
 * bigcache_free - count b, in state CACHED, as live no more, and keep it when
 * `keep` is set and the shard's allowance suffices. Returns whether b was kept.
 */
bool bigcache_free(struct bigcache *cache, uint32_t shard, struct block *b,
                   uint64_t now_ms, bool keep);

/*
 * bigcache_put - keep b, which is not counted as live any more, as the shard's
 * newest. `more` is the shard's new allowance beyond what it holds then.
 */
void bigcache_put(struct bigcache *cache, uint32_t shard, struct block *b,
                  uint64_t now_ms, uint64_t more);

/* bigcache_put_clean - b, which was purged and still is CACHED, becomes CLEAN
 * and the newest of the shard's clean blocks. */
void bigcache_put_clean(struct bigcache *cache, uint32_t shard, struct block *b,
                        uint64_t now_ms);

/*
 * bigcache_evict - take the oldest dirty block of one shard out of the cache,
 * when it is too old by an age of age_ms (0: in any case). Of a block that is
 * longer than most_bytes, rounded up to granules, only the end of that length
 * is taken. NULL = none.
 * bigcache_evict_clean - the same for clean blocks, which are taken whole.
 */
struct block *bigcache_evict(struct bigcache *cache, uint32_t shard,
                             uint64_t now_ms, uint64_t age_ms,
                             uint64_t most_bytes);
struct block *bigcache_evict_clean(struct bigcache *cache, uint32_t shard,
                                   uint64_t now_ms, uint64_t age_ms);

/* Clear the allowances, since less may be kept now: the next free in each shard
 * looks at the bounds. */
void bigcache_recall(struct bigcache *cache);

/* Bytes in all shards; exact while no other thread changes one. */
static inline uint64_t bigcache_bytes(const struct bigcache *cache)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < cache->nshards; i++)
        sum += hak_counted(&cache->shard[i].bytes);
    return sum;
}

static inline uint64_t bigcache_clean_bytes(const struct bigcache *cache)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < cache->nshards; i++)
        sum += hak_counted(&cache->shard[i].clean_bytes);
    return sum;
}

/* Is a block too old that was freed at freed_ms, in turn freed_turn? With an
 * age_ms of 0 every block is. */
static inline bool bigcache_is_old(const struct bigcache *cache,
                                   uint32_t freed_ms, uint8_t freed_turn,
                                   uint64_t now_ms, uint64_t age_ms)
{
    bool busy = __atomic_load_n(&cache->busy, __ATOMIC_RELAXED);
    uint8_t turn = __atomic_load_n(&cache->turn, __ATOMIC_RELAXED);
    return age_ms == 0 ||
           ((uint32_t)now_ms - freed_ms >= age_ms &&
            (!busy || (uint8_t)(turn - freed_turn) >= CACHE_TURNS));
}

/* The longest block, in granules, that a request of n granules may be given
 * whole. */
static inline size_t bigcache_most(const struct bigcache *cache, size_t n)
{
    uint32_t waste = __atomic_load_n(&cache->waste_percent, __ATOMIC_RELAXED);
    return n + n * waste / 100;
}

void bigcache_lock(struct bigcache *cache); /* every shard, in order */
void bigcache_unlock(struct bigcache *cache);
void bigcache_fork(struct bigcache *cache, enum hak_fork_phase phase);

/* Aborts when an invariant of a shard is broken. */
void bigcache_check(struct bigcache *cache);

#endif
