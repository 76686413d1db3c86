/* SPDX-License-Identifier: MIT
 * bigcache.c - the cache of freed blocks, see bigcache.h. */
#include "bigcache.h"

#include <boxkit/bits.h>
#include <errno.h>

int bigcache_init(struct bigcache *cache, struct blocks *blocks,
                  uint32_t nshards)
{
    struct hak_box *box = blocks->box;
    cache->shard = box->host->meta(box, nshards * sizeof(struct shard));
    if (cache->shard == NULL)
        return -ENOMEM;
    cache->blocks = blocks;
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

static uint8_t place_of(const struct bigcache *cache, const struct shard *s)
{
    return (uint8_t)(s - cache->shard + 1);
}

/* Into its bucket and, behind `newer`, the shard's blocks by age. */
static void link_in(struct bigcache *cache, struct shard *s, struct block *b,
                    struct hak_link *same, struct hak_link *newer)
{
    hak_link_after(same, &b->same);
    hak_link_after(newer, &b->age);
    set_filled(s, bucket_of(b->ngranules), true);
    hak_count(&s->bytes, block_bytes(b));
    hak_count(&s->count, 1);
    __atomic_store_n(&b->place, place_of(cache, s), __ATOMIC_RELAXED);
}

static void insert(struct bigcache *cache, struct shard *s, struct block *b)
{
    link_in(cache, s, b, &s->bucket[bucket_of(b->ngranules)], &s->age);
}

static void extract(struct shard *s, struct block *b)
{
    uint32_t bucket = bucket_of(b->ngranules);
    __atomic_store_n(&b->place, 0, __ATOMIC_RELAXED);
    hak_link_remove(&b->same);
    hak_link_remove(&b->age);
    if (hak_link_empty(&s->bucket[bucket]))
        set_filled(s, bucket, false);
    hak_count(&s->bytes, (uint64_t)0 - block_bytes(b));
    hak_count(&s->count, (uint64_t)-1);
}

/*
 * b, in the shard, becomes two: one of ngranules, the other the rest, in its
 * place by age. False: no struct for it, nothing changed.
 */
static bool split(struct bigcache *cache, struct shard *s, struct block *b,
                  size_t ngranules)
{
    struct hak_link *newer = b->age.prev;
    extract(s, b);
    struct block *rest = blocks_split(cache->blocks, b, ngranules);
    struct hak_link *same = &s->bucket[bucket_of(b->ngranules)];
    link_in(cache, s, b, same->prev, newer);
    if (rest == NULL)
        return false;
    same = &s->bucket[bucket_of(rest->ngranules)];
    link_in(cache, s, rest, same->prev, &b->age);
    return true;
}

/* ---- one block --------------------------------------------------------- */

/* A request as one shard sees it. */
struct fit {
    size_t least, most, longest; /* of a block: as it is; to be split */
    size_t align_bytes;
    bool huge;
};

static bool fits(const struct fit *fit, const struct block *b)
{
    return b->ngranules >= fit->least && b->ngranules <= fit->longest &&
           (b->huge || !fit->huge) &&
           ((uintptr_t)b->base & (fit->align_bytes - 1)) == 0;
}

static struct block *find_in(struct shard *s, uint32_t bucket,
                             const struct fit *fit)
{
    const struct hak_link *head = &s->bucket[bucket];
    struct hak_link *at = head->next;
    for (int i = 0; i < CACHE_FIT_SCAN && at != head; i++, at = at->next) {
        struct block *b = hak_item(at, struct block, same);
        if (fits(fit, b))
            return b;
    }
    return NULL;
}

static struct block *find_one(struct shard *s, const struct fit *fit)
{
    size_t end = bucket_of(fit->longest) + 1u;
    size_t i = hak_bits_next(s->filled, 0, bucket_of(fit->least), end);
    while (i < end) {
        struct block *b = find_in(s, (uint32_t)i, fit);
        if (b != NULL)
            return b;
        i = hak_bits_next(s->filled, 0, i + 1, end);
    }
    return NULL;
}

/* ---- a run of blocks that adjoin ---------------------------------------- */

/* b, if it lies in the shard, whose lock is held, and can be part of a run. */
static struct block *part(const struct bigcache *cache, const struct shard *s,
                          const struct fit *fit, struct block *b)
{
    bool is =
        b != NULL &&
        __atomic_load_n(&b->place, __ATOMIC_RELAXED) == place_of(cache, s) &&
        b->huge == fit->huge && b->ngranules <= fit->longest;
    return is ? b : NULL;
}

/* The last block of a run from b on that is long enough, or NULL. */
static struct block *end_of_run(const struct bigcache *cache,
                                const struct shard *s, const struct fit *fit,
                                struct block *b)
{
    size_t sum = b->ngranules;
    for (int i = 1; i < CACHE_RUN_SCAN && sum < fit->least; i++) {
        b = part(cache, s, fit, blocks_right(cache->blocks, b));
        if (b == NULL)
            return NULL;
        sum += b->ngranules;
    }
    return sum >= fit->least ? b : NULL;
}

/* The first block of a run, and its last. */
static struct block *find_run(struct bigcache *cache, struct shard *s,
                              const struct fit *fit, struct block **last)
{
    struct hak_link *at = s->age.next;
    for (int i = 0; i < CACHE_RUN_SCAN && at != &s->age; i++, at = at->next) {
        struct block *b = part(cache, s, fit, hak_item(at, struct block, age));
        if (b == NULL ||
            part(cache, s, fit, blocks_left(cache->blocks, b)) != NULL)
            continue;
        *last = end_of_run(cache, s, fit, b);
        if (*last != NULL)
            return b;
    }
    return NULL;
}

/* Out of the shard, as one; *longest is raised to the longest of them. */
static void join_run(struct bigcache *cache, struct shard *s, struct block *b,
                     const struct block *last, uint64_t *longest)
{
    const char *end = last->base + block_bytes(last);
    *longest = hak_max(*longest, block_bytes(b));
    extract(s, b);
    while (b->base + block_bytes(b) != end) {
        struct block *right = blocks_right(cache->blocks, b);
        HAK_ALWAYS(right != NULL); /* find_run saw it, under this lock */
        *longest = hak_max(*longest, block_bytes(right));
        extract(s, right);
        blocks_join(cache->blocks, b, right);
    }
}

/* ---- entry points ------------------------------------------------------ */

static struct block *take_one(struct bigcache *cache, struct shard *s,
                              const struct fit *fit, uint64_t *kept_bytes)
{
    struct block *b = find_one(s, fit);
    if (b == NULL)
        return NULL;
    *kept_bytes = block_bytes(b);
    if (b->ngranules > fit->most && !split(cache, s, b, fit->least))
        return NULL;
    extract(s, b);
    return b;
}

static struct block *take_run(struct bigcache *cache, struct shard *s,
                              const struct fit *fit, uint64_t *kept_bytes)
{
    struct block *last, *b = find_run(cache, s, fit, &last);
    if (b == NULL)
        return NULL;
    *kept_bytes = block_bytes(last);
    size_t sum = (size_t)(last->base - b->base) >> HAK_GRANULE_SHIFT;
    size_t need = fit->least - sum; /* of the last; sum alone is too short */
    if (sum + last->ngranules > fit->most && !split(cache, s, last, need))
        return NULL;
    join_run(cache, s, b, last, kept_bytes);
    return b;
}

static struct taken take_from(struct bigcache *cache, struct shard *s,
                              const struct fit *fit,
                              const struct request *request)
{
    struct taken taken = {.counted = true};
    hak_lock_take(&s->lock);
    taken.block = take_one(cache, s, fit, &taken.kept_bytes);
    if (taken.block == NULL && !request->whole &&
        s->bytes >> HAK_GRANULE_SHIFT >= fit->least &&
        fit->align_bytes <= HAK_GRANULE_BYTES)
        taken.block = take_run(cache, s, fit, &taken.kept_bytes);
    if (taken.block != NULL) {
        hak_count(&s->hits, 1);
        taken.counted =
            request->size_bytes == 0 ||
            account_add(&s->account, 1, (int64_t)request->size_bytes);
    }
    hak_lock_drop(&s->lock);
    return taken;
}

/* Without the lock: is it worth taking? */
static bool may_have(const struct shard *s, const struct fit *fit, bool whole)
{
    uint64_t any = 0;
    uint32_t from = bucket_of(fit->least), end = bucket_of(fit->longest) + 1;
    if (!whole)
        return hak_counted(&s->bytes) >> HAK_GRANULE_SHIFT >= fit->least;
    for (uint32_t w = from >> 6; w * 64 < end; w++)
        any |= __atomic_load_n(&s->filled[w], __ATOMIC_RELAXED) &
               hak_bits_mask(w, from, end - from);
    return any != 0;
}

struct taken bigcache_take(struct bigcache *cache, uint32_t shard,
                           const struct request *request)
{
    size_t n = request->ngranules, most = bigcache_most(cache, n);
    struct fit fit = {
        .least = n,
        .most = most,
        .longest = request->whole ? most : bigcache_longest(cache, n),
        .align_bytes = request->align_bytes,
        .huge = request->huge,
    };
    blocks_stock(cache->blocks);
    for (uint32_t i = 0; i < cache->nshards; i++) {
        struct shard *s = &cache->shard[(shard + i) & (cache->nshards - 1)];
        if (!may_have(s, &fit, request->whole))
            continue;
        struct taken taken = take_from(cache, s, &fit, request);
        if (taken.block != NULL)
            return taken;
    }
    return (struct taken){.counted = true};
}

bool bigcache_free(struct bigcache *cache, uint32_t shard, struct block *b,
                   uint64_t now_ms, bool keep)
{
    struct shard *s = &cache->shard[shard];
    b->freed_ms = (uint32_t)now_ms;
    hak_lock_take(&s->lock);
    account_add(&s->account, -1, -(int64_t)b->size_bytes);
    keep = keep && s->bytes + block_bytes(b) <= s->allowance;
    if (keep) {
        insert(cache, s, b);
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
    hak_lock_take(&s->lock);
    insert(cache, s, b);
    hak_count(&s->puts, 1);
    __atomic_store_n(&s->allowance, s->bytes + more, __ATOMIC_RELAXED);
    hak_lock_drop(&s->lock);
}

struct block *bigcache_evict(struct bigcache *cache, uint32_t shard,
                             uint64_t now_ms, uint64_t least_ms,
                             uint64_t most_bytes)
{
    struct shard *s = &cache->shard[shard];
    struct block *b = NULL;
    if (hak_counted(&s->count) == 0)
        return NULL;
    blocks_stock(cache->blocks);
    hak_lock_take(&s->lock);
    if (!hak_link_empty(&s->age)) {
        b = hak_item(s->age.prev, struct block, age);
        size_t most = (size_t)((hak_min(most_bytes, (uint64_t)1 << 62) +
                                HAK_GRANULE_BYTES - 1) >>
                               HAK_GRANULE_SHIFT);
        if (block_held_ms(b, now_ms) < least_ms)
            b = NULL;
        else if (b->ngranules > most && split(cache, s, b, b->ngranules - most))
            b = blocks_right(cache->blocks, b);
        if (b != NULL)
            extract(s, b);
    }
    hak_lock_drop(&s->lock);
    return b;
}

void bigcache_recall(struct bigcache *cache)
{
    for (uint32_t i = 0; i < cache->nshards; i++) {
        struct shard *s = &cache->shard[i];
        if (__atomic_load_n(&s->allowance, __ATOMIC_RELAXED) == 0)
            continue;
        hak_lock_take(&s->lock);
        __atomic_store_n(&s->allowance, 0, __ATOMIC_RELAXED);
        hak_lock_drop(&s->lock);
    }
}

void bigcache_lock(struct bigcache *cache, bool take)
{
    for (uint32_t i = 0; i < cache->nshards; i++)
        (take ? hak_lock_take : hak_lock_drop)(&cache->shard[i].lock);
}

void bigcache_fork(struct bigcache *cache, enum hak_fork_phase phase)
{
    for (uint32_t i = 0; i < cache->nshards; i++)
        hak_lock_fork(&cache->shard[i].lock, phase);
}

/* ---- validator --------------------------------------------------------- */

static void check_bucket(const struct bigcache *cache, const struct shard *s,
                         uint32_t bucket, uint64_t *bytes, uint64_t *count)
{
    const struct hak_link *head = &s->bucket[bucket];
    HAK_ALWAYS(hak_bit(s->filled, bucket) == !hak_link_empty(head));
    for (struct hak_link *at = head->next; at != head; at = at->next) {
        const struct block *b = hak_item(at, struct block, same);
        HAK_ALWAYS(at->next->prev == at && hak_link_in_list(&b->age));
        HAK_ALWAYS(b->state == BLOCK_CACHED && b->place == place_of(cache, s));
        HAK_ALWAYS(bucket_of(b->ngranules) == bucket);
        HAK_ALWAYS(blocks_around(cache->blocks, b->base) == b);
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
            check_bucket(cache, s, k, &bytes, &count);
        struct hak_link *at = s->age.next;
        for (; at != &s->age; at = at->next, aged++)
            HAK_ALWAYS(at->next->prev == at);
        HAK_ALWAYS(s->bytes == bytes && s->count == count && aged == count);
        hak_lock_drop(&s->lock);
    }
}
