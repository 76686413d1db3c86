/* SPDX-License-Identifier: MIT
 * bigcache.h - freed blocks, kept for the next request that they can serve.
 *
 *     shard (with its own lock: one a CPU for what is short, one for the rest)
 *       bucket[i] -> newest ... oldest     dirty blocks of 8 sizes a doubling
 *       age       -> newest ... oldest     the same blocks, all buckets
 *       filled                             bit i: bucket[i] is not empty
 *       bytes     = sum of the mappings in it
 *       clean     -> newest ... oldest     blocks that were purged
 *       account   what it counted as live, see ledger.h
 *
 * A dirty block has the pages that its program left. One that must make room
 * may be purged and stay, clean, for the sake of its place: with what lies
 * beside it, it serves a request that no dirty block is long enough for.
 *
 * A request takes, from the shard that it names, else from any other:
 *
 *     as a whole  the shortest dirty block that is not more than `waste`
 *                 percent too long; of equals the newest
 *     else        one block or several that adjoin, joined: a run. Of all
 *                 runs the one with the most dirty bytes, of equals the
 *                 shortest; what is more than half of `waste` too much is split
 *                 off and stays, as old as it was
 *
 * Blocks are joined no sooner than that: each keeps its age until then, so
 * none waits longer, or goes earlier, for what lies beside it.
 *
 * A block is too old when it has been here for an age of the clock, and the
 * box is at rest (not `busy`) or has had CACHE_TURNS turns since. A turn is as
 * many bytes of requests as were live at most of late. So on a machine that is
 * busy with others, where all takes longer, what comes and goes stays.
 *
 * Ageing and eviction take the oldest; of a long one, no more than must go.
 * What may be kept, and what becomes of what is taken out, is for the caller
 * (supply.c); nothing here calls the host but to have a spare struct block.
 *
 * Lock order: one shard lock at a time, under it that of the blocks.
 */
#ifndef LARGE_BIGCACHE_H
#define LARGE_BIGCACHE_H

#include "blocks.h"
#include "ledger.h"

enum {
    CACHE_SHARDS_MOST = 17,
    CACHE_BUCKETS = 128, /* up to 16 GiB; longer blocks share the last */
    CACHE_FIT_SCAN = 8,  /* blocks looked at in one bucket */
    CACHE_RUN_SCAN = 64, /* blocks that a run is sought at, most in it */
    CACHE_TURNS = 16,    /* `make bench BENCH=buffers`: see decisions.md */
};

/*
 * allowance  bytes up to which a free may keep its block without asking what
 *            the other shards hold; 0 after each change of the bounds, and
 *            when a fresh block becomes live
 */
struct shard {
    struct hak_lock lock;
    /* Written under the lock, read without it as hints and for sums. */
    uint64_t bytes, count;
    uint64_t filled[CACHE_BUCKETS / 64];
    struct account account;
    uint64_t hits, puts; /* blocks that went out to a request, came in */
    uint64_t allowance;
    uint64_t clean_bytes, clean_count;
    struct hak_link age, clean;
    struct hak_link bucket[CACHE_BUCKETS];
} __attribute__((aligned(64)));

/* busy, turn  written by one thread at a time, see supply.c; atomic */
struct bigcache {
    uint32_t nshards;
    uint32_t waste_percent;
    bool busy;
    uint8_t turn; /* ages are differences */
    struct shard *shard;
    struct blocks *blocks;
};

/*
 * nshards  up to CACHE_SHARDS_MOST
 * blocks   where what is put here is entered
 * 0 or -ENOMEM.
 */
int bigcache_init(struct bigcache *cache, struct blocks *blocks,
                  uint32_t nshards);

/*
 * A request.
 * align_bytes  a power of two; the block's start is a multiple
 * huge         of memory that was mapped for huge pages
 * whole        neither split nor join for it
 * size_bytes   to be counted as live with the block; 0: nothing to count
 */
struct request {
    size_t ngranules, align_bytes, size_bytes;
    bool huge, whole;
};

/*
 * counted  size_bytes is counted, or else is left to ledger_add()
 * dirty    all of the block is: none of its pages will be a fresh one
 */
struct taken {
    struct block *block;
    bool counted, dirty;
};

/*
 * bigcache_take - out of the cache, for a request; block is NULL if none fits.
 * shard  asked first, the others after it
 * No lock of the box is held.
 */
struct taken bigcache_take(struct bigcache *cache, uint32_t shard,
                           const struct request *request);

/*
 * bigcache_free - b, in state CACHED, is live no more: count it out, and keep
 * it if `keep` and the allowance is not used up. Returns whether it was kept.
 */
bool bigcache_free(struct bigcache *cache, uint32_t shard, struct block *b,
                   uint64_t now_ms, bool keep);

/*
 * bigcache_put - b, counted out already, becomes the shard's newest; its next
 * `more` bytes may be kept without asking.
 */
void bigcache_put(struct bigcache *cache, uint32_t shard, struct block *b,
                  uint64_t now_ms, uint64_t more);

/* bigcache_put_clean - b, purged and still CACHED, becomes the newest of those
 * that are clean. */
void bigcache_put_clean(struct bigcache *cache, uint32_t shard, struct block *b,
                        uint64_t now_ms);

/*
 * bigcache_evict - out of the cache, the oldest dirty block of one shard, if it
 * is too old by an age of age_ms (0: in any case); of one that is longer than
 * most_bytes its end, of that length rounded up to granules. NULL = none.
 * bigcache_evict_clean: the same of those that are clean, whole.
 */
struct block *bigcache_evict(struct bigcache *cache, uint32_t shard,
                             uint64_t now_ms, uint64_t age_ms,
                             uint64_t most_bytes);
struct block *bigcache_evict_clean(struct bigcache *cache, uint32_t shard,
                                   uint64_t now_ms, uint64_t age_ms);

/* The next free of each shard asks what may be kept: it has become less. */
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

/* Has what was freed then been here too long? An age of 0: in any case. */
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

/* The longest block that a request of n granules may be given. */
static inline size_t bigcache_most(const struct bigcache *cache, size_t n)
{
    uint32_t waste = __atomic_load_n(&cache->waste_percent, __ATOMIC_RELAXED);
    return n + n * waste / 100;
}

void bigcache_lock(struct bigcache *cache); /* every shard, in order */
void bigcache_unlock(struct bigcache *cache);
void bigcache_fork(struct bigcache *cache, enum hak_fork_phase phase);

/* Aborts when a shard contradicts itself. */
void bigcache_check(struct bigcache *cache);

#endif
