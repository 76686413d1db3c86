/* SPDX-License-Identifier: MIT
 * bigcache.c - the cache of freed blocks, see bigcache.h. */
#include "bigcache.h"

#include <boxkit/bits.h>
#include <errno.h>

int bigcache_init(struct bigcache *cache, struct hak_box *box, uint32_t nshards)
{
    cache->shard = box->host->meta(box, nshards * sizeof(struct shard));
    if (cache->shard == NULL)
        return -ENOMEM;
    cache->nshards = nshards;
    for (uint32_t i = 0; i < nshards; i++) {
        struct shard *s = &cache->shard[i];
        hak_link_init(&s->age);
        for (size_t k = 0; k < CACHE_BUCKETS; k++)
            hak_link_init(&s->bucket[k]);
    }
    return 0;
}

/* n >= 1: 1..8 each its own, then 8 a doubling; rounds down. */
static uint32_t bucket_of(size_t n)
{
    if (n <= 8)
        return (uint32_t)n - 1;
    uint32_t log2 = 63 - (uint32_t)__builtin_clzll(n); /* 3 .. */
    uint32_t i = 8 * (log2 - 2) + (uint32_t)((n >> (log2 - 3)) & 7) - 1;
    return i < CACHE_BUCKETS ? i : CACHE_BUCKETS - 1;
}

/* ---- under the lock of a shard ----------------------------------------- */

static void set_filled(struct shard *s, uint32_t bucket, bool filled)
{
    uint64_t *word = &s->filled[bucket >> 6], bit = 1ull << (bucket & 63);
    uint64_t now = filled ? *word | bit : *word & ~bit;
    if (now != *word)
        __atomic_store_n(word, now, __ATOMIC_RELAXED);
}

static void insert(struct shard *s, struct block *b)
{
    hak_link_after(&s->bucket[b->bucket], &b->same);
    hak_link_after(&s->age, &b->age);
    set_filled(s, b->bucket, true);
    hak_count(&s->bytes, block_bytes(b));
    hak_count(&s->count, 1);
}

static void extract(struct shard *s, struct block *b)
{
    hak_link_remove(&b->same);
    hak_link_remove(&b->age);
    if (hak_link_empty(&s->bucket[b->bucket]))
        set_filled(s, b->bucket, false);
    hak_count(&s->bytes, (uint64_t)0 - block_bytes(b));
    hak_count(&s->count, (uint64_t)-1);
}

static struct block *fit_in(struct shard *s, uint32_t bucket, size_t least,
                            size_t most, size_t align_bytes)
{
    const struct hak_link *head = &s->bucket[bucket];
    struct hak_link *at = head->next;
    for (int i = 0; i < CACHE_FIT_SCAN && at != head; i++, at = at->next) {
        struct block *b = hak_item(at, struct block, same);
        if (b->ngranules >= least && b->ngranules <= most &&
            ((uintptr_t)b->base & (align_bytes - 1)) == 0)
            return b;
    }
    return NULL;
}

static struct block *fit(struct shard *s, size_t least, size_t most,
                         size_t align_bytes)
{
    size_t end = bucket_of(most) + 1u;
    size_t i = hak_bits_next(s->filled, 0, bucket_of(least), end);
    while (i < end) {
        struct block *b = fit_in(s, (uint32_t)i, least, most, align_bytes);
        if (b != NULL)
            return b;
        i = hak_bits_next(s->filled, 0, i + 1, end);
    }
    return NULL;
}

/* ---- entry points ------------------------------------------------------ */

static struct block *take_from(struct shard *s, size_t least, size_t most,
                               size_t align_bytes, size_t size_bytes,
                               bool *counted)
{
    hak_lock_take(&s->lock);
    struct block *b = fit(s, least, most, align_bytes);
    if (b != NULL) {
        extract(s, b);
        hak_count(&s->hits, 1);
        *counted =
            size_bytes == 0 || account_add(&s->account, 1, (int64_t)size_bytes);
    }
    hak_lock_drop(&s->lock);
    return b;
}

/* Without the lock: is it worth taking? */
static bool may_have(const struct shard *s, size_t least, size_t most)
{
    uint64_t any = 0;
    uint32_t from = bucket_of(least), end = bucket_of(most) + 1;
    for (uint32_t w = from >> 6; w * 64 < end; w++)
        any |= __atomic_load_n(&s->filled[w], __ATOMIC_RELAXED) &
               hak_bits_mask(w, from, end - from);
    return any != 0;
}

struct block *bigcache_take(struct bigcache *cache, uint32_t shard,
                            size_t ngranules, size_t align_bytes,
                            size_t size_bytes, bool *counted)
{
    size_t most = bigcache_most(cache, ngranules);
    for (uint32_t i = 0; i < cache->nshards; i++) {
        struct shard *s = &cache->shard[(shard + i) & (cache->nshards - 1)];
        if (!may_have(s, ngranules, most))
            continue;
        struct block *b =
            take_from(s, ngranules, most, align_bytes, size_bytes, counted);
        if (b != NULL)
            return b;
    }
    return NULL;
}

bool bigcache_free(struct bigcache *cache, uint32_t shard, struct block *b,
                   uint64_t now_ms, bool keep)
{
    struct shard *s = &cache->shard[shard];
    b->freed_ms = (uint32_t)now_ms;
    b->bucket = (uint16_t)bucket_of(b->ngranules);
    hak_lock_take(&s->lock);
    account_add(&s->account, -1, -(int64_t)b->size_bytes);
    keep = keep && s->bytes + block_bytes(b) <= s->allowance;
    if (keep) {
        insert(s, b);
        hak_count(&s->puts, 1);
    }
    hak_lock_drop(&s->lock);
    return keep;
}

void bigcache_put(struct bigcache *cache, uint32_t shard, struct block *b,
                  uint64_t now_ms, uint64_t more)
{
    struct shard *s = &cache->shard[shard];
    b->freed_ms = (uint32_t)now_ms;
    b->bucket = (uint16_t)bucket_of(b->ngranules);
    hak_lock_take(&s->lock);
    insert(s, b);
    hak_count(&s->puts, 1);
    s->allowance = s->bytes + more;
    hak_lock_drop(&s->lock);
}

struct block *bigcache_evict(struct bigcache *cache, uint32_t shard,
                             uint64_t now_ms, uint64_t least_ms)
{
    struct shard *s = &cache->shard[shard];
    struct block *b = NULL;
    if (hak_counted(&s->count) == 0)
        return NULL;
    hak_lock_take(&s->lock);
    if (!hak_link_empty(&s->age)) {
        b = hak_item(s->age.prev, struct block, age);
        if (block_held_ms(b, now_ms) >= least_ms)
            extract(s, b);
        else
            b = NULL;
    }
    hak_lock_drop(&s->lock);
    return b;
}

void bigcache_lock(struct bigcache *cache, bool take)
{
    for (uint32_t i = 0; i < cache->nshards; i++)
        (take ? hak_lock_take : hak_lock_drop)(&cache->shard[i].lock);
}

/* ---- validator --------------------------------------------------------- */

static void check_bucket(const struct shard *s, uint32_t bucket,
                         uint64_t *bytes, uint64_t *count)
{
    const struct hak_link *head = &s->bucket[bucket];
    HAK_ALWAYS(hak_bit(s->filled, bucket) == !hak_link_empty(head));
    for (struct hak_link *at = head->next; at != head; at = at->next) {
        const struct block *b = hak_item(at, struct block, same);
        HAK_ALWAYS(at->next->prev == at && hak_link_in_list(&b->age));
        HAK_ALWAYS(b->state == BLOCK_CACHED && b->bucket == bucket);
        HAK_ALWAYS(bucket_of(b->ngranules) == bucket);
        *bytes += block_bytes(b);
        *count += 1;
    }
}

void bigcache_check(struct bigcache *cache)
{
    HAK_ALWAYS(hak_is_power_of_two(cache->nshards));
    for (uint32_t i = 0; i < cache->nshards; i++) {
        struct shard *s = &cache->shard[i];
        uint64_t bytes = 0, count = 0, aged = 0;
        hak_lock_take(&s->lock);
        for (uint32_t k = 0; k < CACHE_BUCKETS; k++)
            check_bucket(s, k, &bytes, &count);
        struct hak_link *at = s->age.next;
        for (; at != &s->age; at = at->next, aged++)
            HAK_ALWAYS(at->next->prev == at);
        HAK_ALWAYS(s->bytes == bytes && s->count == count && aged == count);
        hak_lock_drop(&s->lock);
    }
}
