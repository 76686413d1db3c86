/* SPDX-License-Identifier: MIT
 * bigcache.h - freed blocks, kept for the next request that they can serve.
 *
 *     shard (one a CPU, with its own lock)
 *       bucket[i] -> newest ... oldest     blocks of 8 sizes a doubling
 *       age       -> newest ... oldest     the same blocks, all buckets
 *       filled                             bit i: bucket[i] is not empty
 *       bytes     = sum of the mappings in it
 *       account   what it counted as live, see ledger.h
 *
 * A request takes, from the shard of the CPU it runs on, else from any other:
 *
 *     1. the shortest block that it does not cut more than CACHE_CUT from; of
 *        equals the newest. What is more than `waste` percent too long for it
 *        is split, and the rest stays, as old as it was
 *     2. a run of blocks of one shard that adjoin, joined, the last one split
 *
 * Blocks are joined no sooner than that: each keeps its age until then, so
 * none waits longer, or goes earlier, for what lies beside it.
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
    CACHE_SHARDS_MOST = 16,
    CACHE_BUCKETS = 128, /* up to 16 GiB; longer blocks share the last */
    CACHE_FIT_SCAN = 8,  /* blocks looked at in one bucket */
    CACHE_RUN_SCAN = 32, /* blocks that a run is sought at, and most in it */
    CACHE_WHOLE = 16,    /* granules up to which none is split or joined */
    CACHE_CUT = 8,       /* a request has at least this part of its block */
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
    struct hak_link age;
    struct hak_link bucket[CACHE_BUCKETS];
} __attribute__((aligned(64)));

struct bigcache {
    uint32_t nshards; /* a power of two */
    uint32_t waste_percent;
    struct shard *shard;
    struct blocks *blocks;
};

/*
 * nshards  a power of two up to CACHE_SHARDS_MOST
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
 * counted     size_bytes is counted, or else is left to ledger_add()
 * kept_bytes  of the longest kept block that all or a part was taken of
 */
struct taken {
    struct block *block;
    uint64_t kept_bytes;
    bool counted;
};

/*
 * bigcache_take - out of the cache, for a request; block is NULL if none fits.
 * shard  the caller's; the others are asked after it
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

/*
 * bigcache_evict - out of the cache, the oldest block of one shard, if it has
 * been there for least_ms or longer; of one that is longer than most_bytes its
 * end, of that length rounded up to granules. NULL = none.
 */
struct block *bigcache_evict(struct bigcache *cache, uint32_t shard,
                             uint64_t now_ms, uint64_t least_ms,
                             uint64_t most_bytes);

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

/* Milliseconds in the cache, as of now. */
static inline uint32_t block_held_ms(const struct block *b, uint64_t now_ms)
{
    return (uint32_t)now_ms - b->freed_ms;
}

/* The longest block that a request of n granules may be given. */
static inline size_t bigcache_most(const struct bigcache *cache, size_t n)
{
    uint32_t waste = __atomic_load_n(&cache->waste_percent, __ATOMIC_RELAXED);
    return n + n * waste / 100;
}

/* The longest block that is split for a request of n granules, or is one that
 * needs no split. */
static inline size_t bigcache_longest(const struct bigcache *cache, size_t n)
{
    size_t most = bigcache_most(cache, n);
    return most > n * CACHE_CUT ? most : n * CACHE_CUT;
}

void bigcache_lock(struct bigcache *cache, bool take); /* every lock */
void bigcache_fork(struct bigcache *cache, enum hak_fork_phase phase);

/* Aborts when a shard contradicts itself. */
void bigcache_check(struct bigcache *cache);

#endif
