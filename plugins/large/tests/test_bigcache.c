/* SPDX-License-Identifier: MIT
 * test_bigcache.c - fit, split and join, order of eviction, and the ledger of
 * live bytes. */
#include "bigcache.h"

#include <pthread.h>

#include "random.h"
#include "test.h"
#include "testhost.h"

enum { BLOCKS = 64, SHARDS = 4 };

static struct bigcache cache;
static struct ledger ledger;
static struct blocks blocks;
static struct block *block[BLOCKS];
static struct hak_box *box;

static void start(uint32_t nshards)
{
    EXPECT_EQ(th_open_entry(&hak_box_entry, "large", NULL, 0, &box), 0);
    EXPECT_EQ(blocks_init(&blocks, box), 0);
    EXPECT_EQ(bigcache_init(&cache, &blocks, nshards), 0);
    cache.waste_percent = 25;
}

static char *address(size_t at)
{
    return (char *)blocks.base + (at << HAK_GRANULE_SHIFT);
}

/* Enter block i, of n granules, at granule `at` of the window. It is in no
 * list.
 */
static struct block *enter(size_t i, size_t at, size_t n)
{
    struct block *b = block[i] = blocks_new(&blocks);
    EXPECT(b != NULL);
    b->base = address(at);
    b->ngranules = (uint32_t)n;
    b->size_bytes = n << HAK_GRANULE_SHIFT;
    b->state = BLOCK_CACHED;
    blocks_enter(&blocks, b);
    return b;
}

static void check(void)
{
    bigcache_check(&cache);
    blocks_check(&blocks);
}

/* Enter block i and put it in the cache. */
static struct block *put(uint32_t shard, size_t i, size_t at, size_t n,
                         uint64_t now_ms)
{
    bigcache_put(&cache, shard, enter(i, at, n), now_ms, 0);
    bigcache_check(&cache);
    return block[i];
}

/* Take a block out of the table and recycle its struct. */
static void drop(struct block *b)
{
    blocks_leave(&blocks, b);
    blocks_recycle(&blocks, b);
}

/* Take a block for n granules, which stays entered; NULL = none. */
static struct block *ask(uint32_t shard, size_t n, size_t align_bytes,
                         bool whole)
{
    const struct request request = {
        .ngranules = n, .align_bytes = align_bytes, .whole = whole};
    struct taken taken = bigcache_take(&cache, shard, &request);
    EXPECT(taken.counted);
    bigcache_check(&cache);
    return taken.block;
}

/* Take a block as a whole and drop it; NULL = none. */
static struct block *take(uint32_t shard, size_t n)
{
    struct block *b = ask(shard, n, HAK_GRANULE_BYTES, true);
    if (b != NULL)
        drop(b);
    return b;
}

static struct block *evict(uint32_t shard, uint64_t now_ms, uint64_t least_ms)
{
    struct block *b =
        bigcache_evict(&cache, shard, now_ms, least_ms, UINT64_MAX);
    if (b != NULL)
        drop(b);
    return b;
}

static void expect_block(const struct block *b, size_t at, size_t n)
{
    EXPECT(b != NULL && b->base == address(at));
    EXPECT_EQ(b->ngranules, n);
    EXPECT_EQ(b->place, 0);
}

/* ---- what fits --------------------------------------------------------- */

TEST(waste_is_bounded)
{
    start(1);
    put(0, 0, 100, 10, 0);
    EXPECT(take(0, 11) == NULL);
    EXPECT(take(0, 7) == NULL);
    EXPECT(take(0, 8) == block[0]);
    EXPECT(take(0, 8) == NULL);
}

/* Every length against every request of n granules: a block fits when its
 * length is in [n, n * 5/4]. */
TEST(all_sizes)
{
    start(1);
    for (size_t have = 1; have < 300; have++) {
        for (size_t want = 1; want < 300; want++) {
            put(0, 0, 100, have, 0);
            bool fits = have >= want && have <= want + want / 4;
            EXPECT((take(0, want) != NULL) == fits);
            if (!fits)
                EXPECT(evict(0, 0, 0) == block[0]);
        }
    }
}

TEST(huge_sizes_share_the_last_bucket)
{
    start(1);
    size_t gib = (size_t)1 << (30 - HAK_GRANULE_SHIFT);
    size_t most = blocks.n / gib / 2 * gib;
    put(0, 0, 0, most, 0);
    put(0, 1, most, most / 2, 0);
    EXPECT(take(0, most) == block[0]);
    EXPECT(take(0, most / 2) == block[1]);
    EXPECT_EQ(bigcache_bytes(&cache), 0);
}

TEST(newest_first)
{
    start(1);
    for (size_t i = 0; i < 5; i++)
        put(0, i, 100 * i, 4, i);
    for (size_t i = 5; i-- > 0;)
        EXPECT(take(0, 4) == block[i]);
}

TEST(exact_before_larger)
{
    start(1);
    put(0, 0, 100, 40, 0);
    put(0, 1, 200, 45, 1);
    EXPECT(take(0, 40) == block[0]);
    EXPECT(take(0, 40) == block[1]);
}

TEST(alignment)
{
    start(1);
    size_t mib = (size_t)1 << 20, g = mib >> HAK_GRANULE_SHIFT;
    size_t odd = (size_t)(mib - (blocks.base & (mib - 1))) >> HAK_GRANULE_SHIFT;
    size_t two =
        (size_t)(2 * mib - (blocks.base & (2 * mib - 1))) >> HAK_GRANULE_SHIFT;
    odd += two % (2 * g) == odd % (2 * g) ? g : 0; /* aligned to 1 MiB, not 2 */
    put(0, 0, odd, 4, 0);
    put(0, 1, odd + 4, 4, 0);
    EXPECT(ask(0, 4, 2 * mib, false) == NULL);
    EXPECT(ask(0, 4, mib, false) == block[0]);
    EXPECT(ask(0, 4, mib, false) == NULL);
    EXPECT(take(0, 4) == block[1]);
}

TEST(own_shard_first_then_any)
{
    start(SHARDS);
    put(3, 0, 100, 4, 0);
    put(1, 1, 200, 4, 0);
    EXPECT(take(1, 4) == block[1]);
    EXPECT(take(1, 4) == block[0]);
    EXPECT(take(1, 4) == NULL);
}

/* ---- age --------------------------------------------------------------- */

TEST(oldest_goes_first)
{
    start(1);
    for (size_t i = 0; i < 4; i++)
        put(0, i, 100 * i, 1 + i, 10 * i);
    EXPECT(evict(0, 100, 101) == NULL);
    EXPECT(evict(0, 100, 100) == block[0]);
    EXPECT(evict(0, 100, 100) == NULL);
    EXPECT(take(0, 2) == block[1]);
    EXPECT(evict(0, 100, 0) == block[2]);
    EXPECT(evict(0, 100, 0) == block[3]);
    EXPECT(evict(0, 100, 0) == NULL);
    EXPECT_EQ(bigcache_bytes(&cache), 0);
}

/* Blocks keep the low half of the clock, which wraps after 49 days. */
TEST(the_clock_wraps)
{
    start(1);
    uint64_t now_ms = ((uint64_t)7 << 32) - 5;
    put(0, 0, 100, 1, now_ms);
    EXPECT(evict(0, now_ms + 50, 51) == NULL);
    EXPECT(evict(0, now_ms + 50, 50) == block[0]);
}

TEST(allowance)
{
    start(SHARDS);
    ledger_add(&ledger, &cache, 1, 2, 8 * (int64_t)HAK_GRANULE_BYTES);
    put(1, 0, 100, 4, 0);
    enter(1, 200, 4);
    enter(2, 300, 4);
    EXPECT(!bigcache_free(&cache, 1, block[1], 0, true)); /* no allowance */
    EXPECT_EQ(ledger_live(&cache), 4 * (int64_t)HAK_GRANULE_BYTES);
    bigcache_put(&cache, 1, block[1], 0, 4 * HAK_GRANULE_BYTES);
    EXPECT(!bigcache_free(&cache, 1, block[2], 0, false));
    ledger_add(&ledger, &cache, 1, 1, 4 * (int64_t)HAK_GRANULE_BYTES);
    EXPECT(bigcache_free(&cache, 1, block[2], 0, true));
    EXPECT_EQ(ledger_live(&cache), 0);
    EXPECT_EQ(ledger_nlive(&cache), 0);
    check();
    ledger_turn(&ledger, &cache);
    EXPECT_EQ(cache.shard[1].allowance, 0);
}

/* While the box is busy, a block is too old only after CACHE_TURNS turns too.
 */
TEST(while_busy_it_takes_turns_too)
{
    start(1);
    cache.busy = true;
    cache.turn = 250;
    put(0, 0, 100, 4, 0);
    EXPECT(evict(0, 1000, 100) == NULL);
    cache.turn = (uint8_t)(250 + CACHE_TURNS - 1);
    EXPECT(evict(0, 1000, 100) == NULL);
    cache.turn++;
    EXPECT(evict(0, 99, 100) == NULL);
    EXPECT(evict(0, 100, 100) == block[0]);
    put(0, 1, 100, 4, 0);
    cache.busy = false;
    EXPECT(evict(0, 100, 100) == block[1]);
}

/* ---- clean --------------------------------------------------------------- */

static struct block *put_clean(size_t i, size_t at, size_t n, uint64_t now_ms)
{
    bigcache_put_clean(&cache, 0, enter(i, at, n), now_ms);
    check();
    return block[i];
}

TEST(clean_blocks_have_an_age_and_are_no_bytes_kept)
{
    start(1);
    put_clean(0, 100, 20, 0);
    put_clean(1, 200, 30, 5);
    EXPECT_EQ(bigcache_bytes(&cache), 0);
    EXPECT_EQ(bigcache_clean_bytes(&cache), 50 * HAK_GRANULE_BYTES);
    EXPECT(evict(0, 1000, 0) == NULL);
    EXPECT(ask(0, 20, HAK_GRANULE_BYTES, true) == NULL); /* only in a run */
    EXPECT(bigcache_evict_clean(&cache, 0, 101, 102) == NULL);
    EXPECT(bigcache_evict_clean(&cache, 0, 101, 100) == block[0]);
    EXPECT(bigcache_evict_clean(&cache, 0, 101, 100) == NULL);
    EXPECT(bigcache_evict_clean(&cache, 0, 0, 0) == block[1]);
    EXPECT_EQ(bigcache_clean_bytes(&cache), 0);
    check();
}

/* Of the runs that are long enough, the one with the most dirty bytes is taken.
 */
TEST(clean_ones_fill_up_what_dirty_ones_lack)
{
    start(1);
    put(0, 0, 100, 20, 0);
    put_clean(1, 120, 30, 0); /* a run of 20 dirty and 30 clean */
    put_clean(2, 300, 30, 0);
    put(0, 3, 330, 25, 0); /* a run of 30 clean and 25 dirty: the best */
    put(0, 4, 500, 39, 0); /* more dirty granules, but too short */
    const struct request request = {.ngranules = 40,
                                    .align_bytes = HAK_GRANULE_BYTES};
    struct taken taken = bigcache_take(&cache, 0, &request);
    check();
    expect_block(taken.block, 315, 40);
    EXPECT_EQ(taken.block->state, BLOCK_CACHED);
    EXPECT(!taken.dirty);
    EXPECT_EQ(bigcache_clean_bytes(&cache), (15 + 30) * HAK_GRANULE_BYTES);
    expect_block(ask(0, 44, HAK_GRANULE_BYTES, false), 100, 44);
    check();
    EXPECT_EQ(bigcache_bytes(&cache), 39 * HAK_GRANULE_BYTES);
    EXPECT_EQ(bigcache_clean_bytes(&cache), 21 * HAK_GRANULE_BYTES);
    taken = bigcache_take(&cache, 0, &(struct request){.ngranules = 15});
    EXPECT(taken.dirty); /* a dirty block is preferred */
    expect_block(taken.block, 500, 15);
    check();
}

TEST(clean_ones_alone_are_better_than_none)
{
    start(1);
    put_clean(0, 100, 20, 0);
    put_clean(1, 120, 20, 0);
    struct block *b = ask(0, 32, HAK_GRANULE_BYTES, false);
    expect_block(b, 108, 32);
    EXPECT_EQ(b->state, BLOCK_CACHED);
    check();
}

/* ---- split and joined -------------------------------------------------- */

TEST(a_long_block_is_split_and_the_rest_stays)
{
    start(1);
    put(0, 0, 100, 100, 7);
    put(0, 1, 300, 500, 9);
    struct block *b = ask(0, 20, HAK_GRANULE_BYTES, false);
    EXPECT(b == block[0]);
    expect_block(b, 100, 20);
    EXPECT_EQ(bigcache_bytes(&cache), (80 + 500) * HAK_GRANULE_BYTES);
    struct block *rest = evict(0, 100, 93); /* the rest keeps its age */
    expect_block(rest, 120, 80);
    check();
    EXPECT(evict(0, 100, 93) == NULL);
}

TEST(what_adjoins_is_joined)
{
    start(1);
    put(0, 0, 140, 30, 1);
    put(0, 1, 100, 20, 5);
    put(0, 2, 120, 20, 3);
    EXPECT(ask(0, 71, HAK_GRANULE_BYTES, false) == NULL);
    EXPECT(ask(0, 60, HAK_GRANULE_BYTES, true) == NULL);
    const struct request request = {.ngranules = 50,
                                    .align_bytes = HAK_GRANULE_BYTES};
    struct taken taken = bigcache_take(&cache, 0, &request);
    check();
    expect_block(taken.block, 120, 50); /* the run that needs no cut */
    EXPECT(taken.dirty);
    EXPECT(blocks_around(&blocks, address(169)) == taken.block);
    EXPECT(blocks_around(&blocks, address(170)) == NULL);
    put(0, 3, 170, 20, 7);
    drop(taken.block);
    put(0, 4, 120, 50, 6);
    expect_block(ask(0, 80, HAK_GRANULE_BYTES, false), 100, 90);
    EXPECT(evict(0, 10, 0) == NULL);
}

TEST(all_of_a_run)
{
    start(1);
    for (size_t i = 0; i < 5; i++)
        put(0, i, 100 + 10 * i, 10, i);
    expect_block(ask(0, 45, HAK_GRANULE_BYTES, false), 100, 50);
    EXPECT_EQ(bigcache_bytes(&cache), 0);
    EXPECT_EQ(blocks.entered, 1);
    check();
}

TEST(only_blocks_of_one_shard_are_joined)
{
    start(SHARDS);
    put(0, 0, 100, 10, 0);
    put(1, 1, 110, 10, 0);
    put(0, 2, 120, 10, 0);
    enter(3, 130, 10); /* in no shard */
    EXPECT(ask(0, 20, HAK_GRANULE_BYTES, false) == NULL);
    put(1, 4, 90, 10, 0);
    EXPECT(ask(1, 20, HAK_GRANULE_BYTES, false) == NULL);
    put(0, 5, 80, 10, 0);
    put(0, 6, 70, 10, 0);
    expect_block(ask(1, 20, HAK_GRANULE_BYTES, false), 70, 20);
}

TEST(huge_pages_are_not_mixed)
{
    start(1);
    put(0, 0, 100, 20, 0)->huge = true;
    put(0, 1, 120, 20, 0);
    const struct request request = {
        .ngranules = 20, .align_bytes = HAK_GRANULE_BYTES, .huge = true};
    EXPECT(ask(0, 40, HAK_GRANULE_BYTES, false) == NULL);
    EXPECT(bigcache_take(&cache, 0, &request).block == block[0]);
    EXPECT(bigcache_take(&cache, 0, &request).block == NULL);
    EXPECT(ask(0, 20, HAK_GRANULE_BYTES, false) == block[1]);
}

TEST(a_part_is_evicted)
{
    start(1);
    put(0, 0, 100, 100, 0);
    uint64_t most = 30 * HAK_GRANULE_BYTES - 1;
    struct block *b = bigcache_evict(&cache, 0, 0, 0, most);
    expect_block(b, 170, 30);
    check();
    b = bigcache_evict(&cache, 0, 0, 0, 70 * HAK_GRANULE_BYTES);
    EXPECT(b == block[0]);
    expect_block(b, 100, 70);
}

/* Random puts and takes: no granule is in two blocks, none is lost, and every
 * block is found at its address. */
TEST(random_replacement)
{
    enum { LIVE = 24, WINDOW = 4000 };
    struct block *live[LIVE] = {0};
    static const struct block *owner[WINDOW];
    size_t fresh = 0, granules = 0;
    start(2);
    for (int i = 0; i < 20000; i++) {
        size_t k = rnd(LIVE), n = 1 + rnd(150);
        uint32_t shard = (uint32_t)rnd(2);
        struct block *b = live[k];
        for (size_t g = 0; b != NULL && g < b->ngranules; g++)
            owner[(size_t)(b->base - address(0)) / HAK_GRANULE_BYTES + g] = 0;
        if (b != NULL)
            bigcache_put(&cache, shard, b, (uint64_t)i, 0);
        b = i % 3 == 0 ? bigcache_evict(&cache, shard, 0, 0, rnd(1 << 24))
                       : NULL;
        if (b != NULL)
            bigcache_put_clean(&cache, shard, b, (uint64_t)i);
        const struct request request = {.ngranules = n,
                                        .align_bytes = HAK_GRANULE_BYTES};
        live[k] = b = bigcache_take(&cache, shard, &request).block;
        if (b == NULL && fresh + n <= WINDOW) {
            live[k] = b = enter(0, fresh, n);
            fresh += n;
            granules += n;
        }
        EXPECT(b == NULL || (b->ngranules >= n && b->ngranules <= n + n / 4));
        for (size_t g = 0; b != NULL && g < b->ngranules; g++) {
            size_t at = (size_t)(b->base - address(0)) / HAK_GRANULE_BYTES + g;
            EXPECT(owner[at] == NULL);
            EXPECT(blocks_around(&blocks, address(at)) == b);
            owner[at] = b;
        }
        if (i % 64 == 0)
            check();
    }
    size_t sum = (bigcache_bytes(&cache) + bigcache_clean_bytes(&cache)) /
                 HAK_GRANULE_BYTES;
    for (size_t k = 0; k < LIVE; k++)
        sum += live[k] != NULL ? live[k]->ngranules : 0;
    EXPECT_EQ(sum, granules);
    EXPECT_GT(cache.shard[0].hits + cache.shard[1].hits, 7000);
}

/* ---- live and peak ----------------------------------------------------- */

TEST(peak_is_exact)
{
    int64_t live = 0, high = 0, peak = 0;
    start(SHARDS);
    for (int i = 0; i < 200000; i++) {
        uint32_t shard = (uint32_t)rnd(SHARDS);
        int64_t n = (int64_t)rnd(100) - (live > 1000 ? 60 : 40);
        n = live + n < 0 ? -live : n;
        ledger_add(&ledger, &cache, shard, n > 0 ? 1 : 0, n);
        live += n;
        high = live > high ? live : high;
        peak = live > peak ? live : peak;
        if (i % 1000 == 0) {
            ledger_turn(&ledger, &cache);
            high = live;
        }
        EXPECT_EQ(ledger.high, high);
        EXPECT_EQ(ledger.peak, peak);
        if (i % 100 == 0)
            ledger_check(&ledger, &cache);
    }
    EXPECT_EQ(ledger_live(&cache), live);
}

/* The reserve of a shard that only frees goes to the shard that allocates. */
TEST(one_shard_allocates_another_frees)
{
    start(SHARDS);
    for (int i = 0; i < 10000; i++) {
        ledger_add(&ledger, &cache, 0, 1, 64);
        ledger_add(&ledger, &cache, 2, -1, -64);
    }
    EXPECT_EQ(ledger.peak, 64);
    EXPECT_EQ(ledger_nlive(&cache), 0);
    ledger_check(&ledger, &cache);
}

static pthread_barrier_t barrier;

static void *count_up_and_down(void *argument)
{
    uint32_t shard = *(uint32_t *)argument;
    for (int i = 0; i < 50000; i++) {
        ledger_add(&ledger, &cache, shard, 1, 100);
        ledger_add(&ledger, &cache, (shard + 1) % SHARDS, -1, -100);
    }
    ledger_add(&ledger, &cache, shard, 5, 500);
    pthread_barrier_wait(&barrier); /* here all four threads hold 500 */
    ledger_add(&ledger, &cache, shard, -5, -500);
    return NULL;
}

TEST(peak_among_threads)
{
    pthread_t thread[SHARDS];
    uint32_t shard[SHARDS];
    start(SHARDS);
    pthread_barrier_init(&barrier, NULL, SHARDS);
    for (uint32_t i = 0; i < SHARDS; i++) {
        shard[i] = i;
        pthread_create(&thread[i], NULL, count_up_and_down, &shard[i]);
    }
    for (int i = 0; i < SHARDS; i++)
        pthread_join(thread[i], NULL);
    EXPECT_EQ(ledger.peak, 2000); /* 4 threads of 500, never more */
    EXPECT_EQ(ledger_live(&cache), 0);
    ledger_check(&ledger, &cache);
}

TEST_MAIN()
