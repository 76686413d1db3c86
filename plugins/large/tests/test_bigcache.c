/* SPDX-License-Identifier: MIT
 * test_bigcache.c - what fits, in which order, and what is live. */
#include "bigcache.h"

#include <pthread.h>

#include "test.h"
#include "testhost.h"

enum { BLOCKS = 64, SHARDS = 4 };

static struct bigcache cache;
static struct ledger ledger;
static struct block block[BLOCKS];
static struct hak_box *box;

static void start(uint32_t nshards)
{
    EXPECT_EQ(th_open_entry(&hak_box_entry, "large", NULL, 0, &box), 0);
    EXPECT_EQ(bigcache_init(&cache, box, nshards), 0);
    cache.waste_percent = 25;
}

/* Block i, of n granules at granule `at` of the address space, is kept. */
static struct block *put(uint32_t shard, size_t i, size_t at, size_t n,
                         uint64_t now_ms)
{
    block[i].base = (char *)(uintptr_t)(at << HAK_GRANULE_SHIFT);
    block[i].ngranules = (uint32_t)n;
    block[i].state = BLOCK_CACHED;
    bigcache_put(&cache, shard, &block[i], now_ms, 0);
    bigcache_check(&cache);
    return &block[i];
}

static struct block *take(uint32_t shard, size_t n)
{
    bool counted = false;
    struct block *b =
        bigcache_take(&cache, shard, n, HAK_GRANULE_BYTES, 0, &counted);
    EXPECT(b == NULL || counted);
    bigcache_check(&cache);
    return b;
}

/* ---- what fits --------------------------------------------------------- */

TEST(waste_is_bounded)
{
    start(1);
    put(0, 0, 100, 10, 0);
    EXPECT(take(0, 11) == NULL);
    EXPECT(take(0, 7) == NULL);
    EXPECT(take(0, 8) == &block[0]);
    EXPECT(take(0, 8) == NULL);
}

/* Each size against each: it fits when it is in [n, n * 5/4]. */
TEST(all_sizes)
{
    start(1);
    for (size_t have = 1; have < 300; have++) {
        for (size_t want = 1; want < 300; want++) {
            put(0, 0, 100, have, 0);
            bool fits = have >= want && have <= want + want / 4;
            EXPECT((take(0, want) != NULL) == fits);
            if (!fits)
                EXPECT(bigcache_evict(&cache, 0, 0, 0) == &block[0]);
        }
    }
}

TEST(huge_sizes_share_the_last_bucket)
{
    start(1);
    size_t tib = (size_t)1 << (40 - HAK_GRANULE_SHIFT);
    put(0, 0, 0, tib, 0);
    put(0, 1, 0, tib / 8, 0);
    EXPECT(take(0, tib) == &block[0]);
    EXPECT(take(0, tib / 8) == &block[1]);
    EXPECT_EQ(bigcache_bytes(&cache), 0);
}

TEST(newest_first)
{
    start(1);
    for (size_t i = 0; i < 5; i++)
        put(0, i, 100 * i, 4, i);
    for (size_t i = 5; i-- > 0;)
        EXPECT(take(0, 4) == &block[i]);
}

TEST(exact_before_larger)
{
    start(1);
    put(0, 0, 100, 40, 0);
    put(0, 1, 200, 45, 1);
    EXPECT(take(0, 40) == &block[0]);
    EXPECT(take(0, 40) == &block[1]);
}

TEST(alignment)
{
    start(1);
    bool counted;
    put(0, 0, 16 * 7, 4, 0); /* at a multiple of 1 MiB */
    put(0, 1, 16 * 7 + 4, 4, 0);
    size_t mib = (size_t)1 << 20;
    EXPECT(bigcache_take(&cache, 0, 4, 2 * mib, 0, &counted) == NULL);
    EXPECT(bigcache_take(&cache, 0, 4, mib, 0, &counted) == &block[0]);
    EXPECT(bigcache_take(&cache, 0, 4, mib, 0, &counted) == NULL);
    EXPECT(take(0, 4) == &block[1]);
}

TEST(own_shard_first_then_any)
{
    start(SHARDS);
    put(3, 0, 100, 4, 0);
    put(1, 1, 200, 4, 0);
    EXPECT(take(1, 4) == &block[1]);
    EXPECT(take(1, 4) == &block[0]);
    EXPECT(take(1, 4) == NULL);
}

/* ---- age --------------------------------------------------------------- */

TEST(oldest_goes_first)
{
    start(1);
    for (size_t i = 0; i < 4; i++)
        put(0, i, 100 * i, 1 + i, 10 * i);
    EXPECT(bigcache_evict(&cache, 0, 100, 101) == NULL);
    EXPECT(bigcache_evict(&cache, 0, 100, 100) == &block[0]);
    EXPECT(bigcache_evict(&cache, 0, 100, 100) == NULL);
    EXPECT(take(0, 2) == &block[1]);
    EXPECT(bigcache_evict(&cache, 0, 100, 0) == &block[2]);
    EXPECT(bigcache_evict(&cache, 0, 100, 0) == &block[3]);
    EXPECT(bigcache_evict(&cache, 0, 100, 0) == NULL);
    EXPECT_EQ(bigcache_bytes(&cache), 0);
}

/* The clock's low half: 49 days later it begins again. */
TEST(the_clock_wraps)
{
    start(1);
    uint64_t now_ms = ((uint64_t)7 << 32) - 5;
    put(0, 0, 100, 1, now_ms);
    EXPECT_EQ(block_held_ms(&block[0], now_ms + 50), 50);
    EXPECT(bigcache_evict(&cache, 0, now_ms + 50, 51) == NULL);
    EXPECT(bigcache_evict(&cache, 0, now_ms + 50, 50) == &block[0]);
}

TEST(allowance)
{
    start(SHARDS);
    ledger_add(&ledger, &cache, 1, 2, 8 * (int64_t)HAK_GRANULE_BYTES);
    put(1, 0, 100, 4, 0);
    block[1] = block[2] = block[0];
    block[1].size_bytes = block[2].size_bytes = 4 * HAK_GRANULE_BYTES;
    EXPECT(!bigcache_free(&cache, 1, &block[1], 0, true)); /* none granted */
    EXPECT_EQ(ledger_live(&cache), 4 * (int64_t)HAK_GRANULE_BYTES);
    bigcache_put(&cache, 1, &block[1], 0, 4 * HAK_GRANULE_BYTES);
    EXPECT(!bigcache_free(&cache, 1, &block[2], 0, false));
    ledger_add(&ledger, &cache, 1, 1, 4 * (int64_t)HAK_GRANULE_BYTES);
    EXPECT(bigcache_free(&cache, 1, &block[2], 0, true));
    EXPECT_EQ(ledger_live(&cache), 0);
    EXPECT_EQ(ledger_nlive(&cache), 0);
    bigcache_check(&cache);
    ledger_turn(&ledger, &cache);
    EXPECT_EQ(cache.shard[1].allowance, 0);
}

/* ---- live and peak ----------------------------------------------------- */

TEST(peak_is_exact)
{
    uint64_t seed = 3;
    int64_t live = 0, high = 0, peak = 0;
    start(SHARDS);
    for (int i = 0; i < 200000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t shard = (uint32_t)(seed >> 40) % SHARDS;
        int64_t n = (int64_t)((seed >> 50) % 100) - (live > 1000 ? 60 : 40);
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

/* What a thread frees elsewhere is not lost to those that allocate. */
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
    pthread_barrier_wait(&barrier); /* here all four hold 500 */
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
    EXPECT_EQ(ledger.peak, 2000); /* no moment had more */
    EXPECT_EQ(ledger_live(&cache), 0);
    ledger_check(&ledger, &cache);
}

TEST_MAIN()
