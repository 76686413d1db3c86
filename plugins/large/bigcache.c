/* SPDX-License-Identifier: MIT
 * bigcache.c - the cache of freed blocks, see bigcache.h. */
#include "bigcache.h"

#include <kit/bits.h>
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
        hak_link_init(&s->clean);
        for (size_t k = 0; k < CACHE_BUCKETS; k++)
            hak_link_init(&s->bucket[k]);
    }
    return 0;
}

/* The bucket of blocks of n >= 1 granules: one each for 1..8, then 8 to a
 * doubling. A bucket begins with the shortest blocks that it holds. */
static uint32_t bucket_of(size_t n)
{
    if (n <= 8)
        return (uint32_t)n - 1;
    uint32_t log2 = 63 - (uint32_t)__builtin_clzll(n); /* 3 or more */
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

static bool is_clean(const struct block *b)
{
    return b->state == BLOCK_CLEAN;
}

/* Link b behind `newer` in the list by age, and in its bucket as the newest, or
 * as the oldest when it comes from a split. */
static void link_in(struct bigcache *cache, struct shard *s, struct block *b,
                    struct hak_link *newer, bool newest)
{
    bool clean = is_clean(b);
    hak_link_after(newer, &b->age);
    hak_count(clean ? &s->clean_bytes : &s->bytes, block_bytes(b));
    hak_count(clean ? &s->clean_count : &s->count, 1);
    __atomic_store_n(&b->place, place_of(cache, s), __ATOMIC_RELAXED);
    if (clean)
        return;
    uint32_t bucket = bucket_of(b->ngranules);
    struct hak_link *head = &s->bucket[bucket];
    hak_link_after(newest ? head : head->prev, &b->same);
    set_filled(s, bucket, true);
}

static void insert(struct bigcache *cache, struct shard *s, struct block *b,
                   uint64_t now_ms)
{
    b->freed_ms = (uint32_t)now_ms;
    b->freed_turn = __atomic_load_n(&cache->turn, __ATOMIC_RELAXED);
    link_in(cache, s, b, is_clean(b) ? &s->clean : &s->age, true);
}

static void extract(struct shard *s, struct block *b)
{
    bool clean = is_clean(b);
    __atomic_store_n(&b->place, 0, __ATOMIC_RELAXED);
    hak_link_remove(&b->age);
    hak_count(clean ? &s->clean_bytes : &s->bytes,
              (uint64_t)0 - block_bytes(b));
    hak_count(clean ? &s->clean_count : &s->count, (uint64_t)-1);
    if (clean)
        return;
    uint32_t bucket = bucket_of(b->ngranules);
    hak_link_remove(&b->same);
    if (hak_link_empty(&s->bucket[bucket]))
        set_filled(s, bucket, false);
}

/*
 * Split b, which is in the shard: b keeps ngranules, the rest becomes a block
 * of its own. Both stay where b was in the list by age. Returns the rest; NULL:
 * no spare struct, nothing changed.
 */
static struct block *split(struct bigcache *cache, struct shard *s,
                           struct block *b, size_t ngranules)
{
    struct hak_link *newer = b->age.prev;
    extract(s, b);
    struct block *rest = blocks_split(cache->blocks, b, ngranules);
    link_in(cache, s, b, newer, false);
    if (rest != NULL)
        link_in(cache, s, rest, &b->age, false);
    return rest;
}

/* ---- one block --------------------------------------------------------- */

/* A request as one shard sees it. */
struct fit {
    /* In granules: what is asked for; the longest block that is given whole;
     * the longest block that is considered, to be split when above `most`. */
    size_t least, most, longest;
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

/* ---- blocks that adjoin -------------------------------------------------- */

/*
 * A run of adjoining blocks from `from` to `end`, towards higher addresses when
 * `right` is set, else towards lower ones.
 *
 * sum    granules, at least as many as are asked for
 * dirty  dirty granules that remain after what is too much is cut off `end`.
 *        The cut is always shorter than `end`
 *
 * A run to the left has at least two blocks.
 */
struct run {
    struct block *from, *end;
    size_t sum, dirty;
    bool right;
};

/* Returns b when it is in shard s, whose lock is held, and may be part of a run
 * for this request; else NULL. */
static struct block *part(const struct bigcache *cache, const struct shard *s,
                          const struct fit *fit, struct block *b)
{
    bool is =
        b != NULL &&
        __atomic_load_n(&b->place, __ATOMIC_RELAXED) == place_of(cache, s) &&
        b->huge == fit->huge && b->ngranules <= fit->longest;
    return is ? b : NULL;
}

static size_t dirty_granules(const struct block *b)
{
    return is_clean(b) ? 0 : b->ngranules;
}

/* The run that starts at b; its sum is 0 when the blocks do not suffice. */
static struct run run_from(const struct bigcache *cache, const struct shard *s,
                           const struct fit *fit, struct block *b, bool right)
{
    struct run w = {b, b, b->ngranules, dirty_granules(b), right};
    for (int i = 1; i < CACHE_RUN_SCAN && w.sum < fit->least; i++) {
        struct block *next = right ? blocks_right(cache->blocks, w.end)
                                   : blocks_left(cache->blocks, w.end);
        next = part(cache, s, fit, next);
        if (next == NULL)
            break;
        w.end = next;
        w.sum += next->ngranules;
        w.dirty += dirty_granules(next);
    }
    if (w.sum < fit->least)
        w.sum = 0;
    else if (!is_clean(w.end))
        w.dirty -= w.sum - fit->least;
    return w;
}

/* A run is better when it has more dirty granules, or as many and less to cut
 * off. */
static bool is_better(const struct run *w, const struct run *best)
{
    return w->sum != 0 && (best->sum == 0 || w->dirty > best->dirty ||
                           (w->dirty == best->dirty && w->sum < best->sum));
}

/* The best of the runs that start at the newest blocks of a list. Stops at the
 * first run that is all dirty and needs no cut. */
static struct run best_run(const struct bigcache *cache, const struct shard *s,
                           const struct fit *fit, const struct hak_link *list)
{
    struct run best = {0};
    struct hak_link *at = list->next;
    for (int i = 0; i < CACHE_RUN_SCAN && at != list; i++, at = at->next) {
        struct block *b = part(cache, s, fit, hak_item(at, struct block, age));
        if (b == NULL)
            continue;
        struct run w = run_from(cache, s, fit, b, true);
        best = is_better(&w, &best) ? w : best;
        if (b->ngranules < fit->least) {
            w = run_from(cache, s, fit, b, false);
            best = is_better(&w, &best) ? w : best;
        }
        if (best.dirty == fit->least && best.sum <= fit->most)
            break;
    }
    return best;
}

/* Take the blocks from first to last out of the shard and join them to one
 * dirty block. */
static struct block *join(struct bigcache *cache, struct shard *s,
                          struct block *first, const struct block *last)
{
    const char *end = last->base + block_bytes(last);
    extract(s, first);
    while (first->base + block_bytes(first) != end) {
        struct block *right = blocks_right(cache->blocks, first);
        HAK_ALWAYS(right != NULL); /* run_from saw it under the same lock */
        extract(s, right);
        blocks_join(cache->blocks, first, right);
    }
    __atomic_store_n(&first->state, BLOCK_CACHED, __ATOMIC_RELAXED);
    return first;
}

/* ---- entry points ------------------------------------------------------ */

static struct block *take_one(struct bigcache *cache, struct shard *s,
                              const struct fit *fit)
{
    struct block *b = find_one(s, fit);
    if (b == NULL ||
        (b->ngranules > fit->most && split(cache, s, b, fit->least) == NULL))
        return NULL;
    extract(s, b);
    return b;
}

static struct block *take_run(struct bigcache *cache, struct shard *s,
                              const struct fit *fit, bool *dirty)
{
    struct run w = best_run(cache, s, fit, &s->age);
    if (w.sum == 0)
        w = best_run(cache, s, fit, &s->clean);
    if (w.sum == 0)
        return NULL;
    *dirty = w.dirty == fit->least;
    size_t excess = w.sum - fit->least;
    if (w.sum > fit->most) {
        size_t cut = w.right ? w.end->ngranules - excess : excess;
        struct block *rest = split(cache, s, w.end, cut);
        if (rest == NULL)
            return NULL;
        w.end = w.right ? w.end : rest;
    }
    return w.right ? join(cache, s, w.from, w.end)
                   : join(cache, s, w.end, w.from);
}

static struct taken take_from(struct bigcache *cache, struct shard *s,
                              const struct fit *fit,
                              const struct request *request)
{
    struct taken taken = {.counted = true, .dirty = true};
    hak_lock_take(&s->lock);
    bool one = request->whole || fit->align_bytes > HAK_GRANULE_BYTES;
    taken.block =
        one ? take_one(cache, s, fit) : take_run(cache, s, fit, &taken.dirty);
    if (taken.block != NULL) {
        hak_count(&s->hits, 1);
        taken.counted =
            request->size_bytes == 0 ||
            account_add(&s->account, 1, (int64_t)request->size_bytes);
    }
    hak_lock_drop(&s->lock);
    return taken;
}

/* May the shard have a block for this request? Only a hint, read without the
 * lock. */
static bool may_have(const struct shard *s, const struct fit *fit, bool whole)
{
    uint64_t any = 0;
    uint32_t from = bucket_of(fit->least), end = bucket_of(fit->longest) + 1;
    if (!whole)
        return (hak_counted(&s->bytes) + hak_counted(&s->clean_bytes)) >>
               HAK_GRANULE_SHIFT >= fit->least;
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
        .most = request->whole ? most : n + (most - n) / 2,
        .longest = request->whole ? most : cache->blocks->n,
        .align_bytes = request->align_bytes,
        .huge = request->huge,
    };
    blocks_stock(cache->blocks);
    for (uint32_t i = 0; i < cache->nshards; i++) {
        struct shard *s = &cache->shard[(shard + i) % cache->nshards];
        if (!may_have(s, &fit, request->whole))
            continue;
        struct taken taken = take_from(cache, s, &fit, request);
        if (taken.block != NULL)
            return taken;
    }
    return (struct taken){.counted = true, .dirty = true};
}

bool bigcache_free(struct bigcache *cache, uint32_t shard, struct block *b,
                   uint64_t now_ms, bool keep)
{
    struct shard *s = &cache->shard[shard];
    hak_lock_take(&s->lock);
    account_add(&s->account, -1, -(int64_t)b->size_bytes);
    keep = keep && s->bytes + block_bytes(b) <= s->allowance;
    if (keep) {
        insert(cache, s, b, now_ms);
        hak_count(&s->puts, 1);
    }
    hak_lock_drop(&s->lock);
    return keep;
}

void bigcache_put(struct bigcache *cache, uint32_t shard, struct block *b,
                  uint64_t now_ms, uint64_t more)
{
    struct shard *s = &cache->shard[shard];
    hak_lock_take(&s->lock);
    insert(cache, s, b, now_ms);
    hak_count(&s->puts, 1);
    __atomic_store_n(&s->allowance, s->bytes + more, __ATOMIC_RELAXED);
    hak_lock_drop(&s->lock);
}

void bigcache_put_clean(struct bigcache *cache, uint32_t shard, struct block *b,
                        uint64_t now_ms)
{
    struct shard *s = &cache->shard[shard];
    hak_lock_take(&s->lock);
    __atomic_store_n(&b->state, BLOCK_CLEAN, __ATOMIC_RELAXED);
    insert(cache, s, b, now_ms);
    hak_lock_drop(&s->lock);
}

/* The oldest block of a list if it is too old, else NULL. */
static struct block *oldest(const struct bigcache *cache,
                            const struct hak_link *list, uint64_t now_ms,
                            uint64_t age_ms)
{
    if (hak_link_empty(list))
        return NULL;
    struct block *b = hak_item(list->prev, struct block, age);
    return bigcache_is_old(cache, b->freed_ms, b->freed_turn, now_ms, age_ms)
               ? b
               : NULL;
}

struct block *bigcache_evict(struct bigcache *cache, uint32_t shard,
                             uint64_t now_ms, uint64_t age_ms,
                             uint64_t most_bytes)
{
    struct shard *s = &cache->shard[shard];
    size_t most = (size_t)((hak_min(most_bytes, (uint64_t)1 << 62) +
                            HAK_GRANULE_BYTES - 1) >>
                           HAK_GRANULE_SHIFT);
    if (hak_counted(&s->count) == 0)
        return NULL;
    blocks_stock(cache->blocks);
    hak_lock_take(&s->lock);
    struct block *b = oldest(cache, &s->age, now_ms, age_ms);
    if (b != NULL && b->ngranules > most) {
        struct block *end = split(cache, s, b, b->ngranules - most);
        b = end != NULL ? end : b;
    }
    if (b != NULL)
        extract(s, b);
    hak_lock_drop(&s->lock);
    return b;
}

struct block *bigcache_evict_clean(struct bigcache *cache, uint32_t shard,
                                   uint64_t now_ms, uint64_t age_ms)
{
    struct shard *s = &cache->shard[shard];
    if (hak_counted(&s->clean_count) == 0)
        return NULL;
    hak_lock_take(&s->lock);
    struct block *b = oldest(cache, &s->clean, now_ms, age_ms);
    if (b != NULL)
        extract(s, b);
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

void bigcache_lock(struct bigcache *cache)
{
    for (uint32_t i = 0; i < cache->nshards; i++)
        hak_lock_take(&cache->shard[i].lock);
}

void bigcache_unlock(struct bigcache *cache)
{
    for (uint32_t i = 0; i < cache->nshards; i++)
        hak_lock_drop(&cache->shard[i].lock);
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

/* Check a list by age, whose blocks must all be clean or all be dirty. Returns
 * their number. */
static uint64_t check_list(const struct bigcache *cache, const struct shard *s,
                           const struct hak_link *list, bool clean,
                           uint64_t *bytes)
{
    uint64_t count = 0;
    for (struct hak_link *at = list->next; at != list; at = at->next, count++) {
        const struct block *b = hak_item(at, struct block, age);
        HAK_ALWAYS(at->next->prev == at && is_clean(b) == clean);
        HAK_ALWAYS(b->place == place_of(cache, s));
        HAK_ALWAYS(blocks_around(cache->blocks, b->base) == b);
        *bytes += block_bytes(b);
    }
    return count;
}

void bigcache_check(struct bigcache *cache)
{
    for (uint32_t i = 0; i < cache->nshards; i++) {
        struct shard *s = &cache->shard[i];
        uint64_t bytes = 0, count = 0, aged_bytes = 0, clean_bytes = 0;
        hak_lock_take(&s->lock);
        for (uint32_t k = 0; k < CACHE_BUCKETS; k++)
            check_bucket(cache, s, k, &bytes, &count);
        HAK_ALWAYS(s->bytes == bytes && s->count == count);
        HAK_ALWAYS(check_list(cache, s, &s->age, false, &aged_bytes) == count);
        HAK_ALWAYS(aged_bytes == bytes);
        HAK_ALWAYS(check_list(cache, s, &s->clean, true, &clean_bytes) ==
                   s->clean_count);
        HAK_ALWAYS(clean_bytes == s->clean_bytes);
        hak_lock_drop(&s->lock);
    }
}
