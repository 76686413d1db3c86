/* SPDX-License-Identifier: MIT
 * bigcache.h - freed blocks, kept whole for the next request of their size.
 *
 *     shard (one a CPU, with its own lock)
 *       bucket[i] -> newest ... oldest     blocks of 8 sizes a doubling
 *       age       -> newest ... oldest     the same blocks, all buckets
 *       filled                             bit i: bucket[i] is not empty
 *       bytes     = sum of the mappings in it
 *       account   what it counted as live, see ledger.h
 *
 * A request takes the newest block that fits and wastes at most `waste`
 * percent: from the shard of the CPU it runs on, else from any other. Ageing
 * and eviction take the oldest. What may be kept, and what becomes of what is
 * taken out, is for the caller (supply.c); nothing here calls the host.
 *
 * Lock order: one shard lock at a time, nothing under it.
 */
#ifndef LARGE_BIGCACHE_H
#define LARGE_BIGCACHE_H

#include "blocks.h"
#include "ledger.h"

enum {
    CACHE_SHARDS_MOST = 16,
    CACHE_BUCKETS = 128, /* up to 16 GiB; longer blocks share the last */
    CACHE_FIT_SCAN = 8,  /* blocks looked at in one bucket */
};

/*
 * allowance  bytes up to which a free may keep its block without asking what
 *            the other shards hold; 0 after each change of the bounds
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
};

/* nshards: a power of two up to CACHE_SHARDS_MOST. 0 or -ENOMEM. */
int bigcache_init(struct bigcache *cache, struct hak_box *box,
                  uint32_t nshards);

/*
 * bigcache_take - out of the cache, for a request, or NULL.
 * shard        the caller's; the others are asked after it
 * align_bytes  a power of two; the block's start is a multiple
 * size_bytes   to be counted as live with the block; *counted says whether
 *              it was, or is left to ledger_add(). 0: nothing to count
 */
struct block *bigcache_take(struct bigcache *cache, uint32_t shard,
                            size_t ngranules, size_t align_bytes,
                            size_t size_bytes, bool *counted);

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
 * been there for least_ms or longer. NULL = none.
 */
struct block *bigcache_evict(struct bigcache *cache, uint32_t shard,
                             uint64_t now_ms, uint64_t least_ms);

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

/* The largest mapping that a request of n granules may be given. */
static inline size_t bigcache_most(const struct bigcache *cache, size_t n)
{
    uint32_t waste = __atomic_load_n(&cache->waste_percent, __ATOMIC_RELAXED);
    return n + n * waste / 100;
}

/* Every lock, for fork. */
void bigcache_lock(struct bigcache *cache, bool take);

/* Aborts when a shard contradicts itself. */
void bigcache_check(struct bigcache *cache);

#endif
