/* SPDX-License-Identifier: MIT
 * test_threshold.c - the threshold that is learned from known patterns of use.
 */
#include "threshold.h"

#include "test.h"

#define MIB ((uint64_t)1 << 20)
enum { AGE = 100, START_MS = 1000000 };

static struct threshold t;
static struct bigcache cache; /* only for its `busy` and `turn` */
static uint64_t now_ms = START_MS;

static void start(bool on)
{
    threshold_start(&t, on, 32 * MIB);
}

/*
 * Free a block of nbytes and ask for it again after wait_ms. As in the box, the
 * threshold decides whether it is kept, and is told what comes of it. Returns
 * whether it was kept.
 */
static bool freed_then_asked(uint64_t nbytes, uint64_t wait_ms)
{
    bool direct = threshold_direct(&t, nbytes);
    if (direct)
        threshold_gone(&t, &cache, nbytes, now_ms);
    now_ms += wait_ms;
    if (direct)
        threshold_missed(&t, &cache, nbytes, now_ms, AGE);
    else if (wait_ms >= AGE)
        threshold_unused(&t, nbytes);
    return !direct;
}

TEST(a_loop_over_64_mib_is_kept_from_the_second_on)
{
    start(true);
    EXPECT(!freed_then_asked(64 * MIB, 1));
    EXPECT_EQ(t.direct_bytes, 128 * MIB);
    for (int i = 0; i < 10; i++)
        EXPECT(freed_then_asked(64 * MIB, 1));
    EXPECT_EQ(t.moves, 1);
}

TEST(what_is_not_asked_for_in_time_stays_direct)
{
    start(true);
    for (int i = 0; i < 10; i++)
        EXPECT(!freed_then_asked(64 * MIB, AGE));
    EXPECT_EQ(t.direct_bytes, 32 * MIB);
    EXPECT_EQ(t.moves, 0);
}

TEST(and_is_direct_again_when_it_is_not_asked_for_any_more)
{
    start(true);
    freed_then_asked(200 * MIB, 1);
    EXPECT_EQ(t.direct_bytes, 256 * MIB);
    EXPECT(freed_then_asked(100 * MIB, 2 * AGE));
    EXPECT_EQ(t.direct_bytes, 100 * MIB);
    EXPECT(freed_then_asked(64 * MIB, 1)); /* shorter: it is still kept */
    EXPECT(!freed_then_asked(100 * MIB, 2 * AGE));
}

TEST(never_below_the_parameter)
{
    start(true);
    for (int i = 0; i < 10; i++)
        EXPECT(freed_then_asked(20 * MIB, 2 * AGE));
    freed_then_asked(64 * MIB, 1);
    EXPECT(freed_then_asked(20 * MIB, 2 * AGE));
    EXPECT_EQ(t.direct_bytes, 128 * MIB);
    threshold_unused(&t, 32 * MIB);
    EXPECT_EQ(t.direct_bytes, 32 * MIB);
}

/* Only a request of half to twice the size could have used the block, joined
 * with its neighbours. */
TEST(a_request_of_another_size_says_nothing)
{
    start(true);
    threshold_gone(&t, &cache, 64 * MIB, now_ms);
    threshold_missed(&t, &cache, 130 * MIB, now_ms, AGE);
    threshold_missed(&t, &cache, 31 * MIB, now_ms, AGE);
    threshold_missed(&t, &cache, 1, now_ms, AGE);
    EXPECT_EQ(t.moves, 0);
    threshold_missed(&t, &cache, 128 * MIB, now_ms, AGE);
    EXPECT_EQ(t.moves, 1);
    threshold_missed(&t, &cache, 64 * MIB, now_ms, AGE); /* learned already */
    EXPECT_EQ(t.moves, 1);
    start(true);
    threshold_gone(&t, &cache, 64 * MIB, now_ms);
    threshold_missed(&t, &cache, 32 * MIB, now_ms, AGE);
    EXPECT_EQ(t.direct_bytes, 128 * MIB);
}

/* While the box is busy, a request is too late only after CACHE_TURNS turns
 * too.
 */
TEST(age_is_by_use_as_well)
{
    start(true);
    cache.busy = true;
    for (uint8_t turns = 1; turns <= CACHE_TURNS; turns++) {
        start(true);
        threshold_gone(&t, &cache, 64 * MIB, now_ms);
        cache.turn = (uint8_t)(cache.turn + turns);
        threshold_missed(&t, &cache, 64 * MIB, now_ms + 50 * AGE, AGE);
        EXPECT_EQ(threshold_direct(&t, 64 * MIB), turns == CACHE_TURNS);
    }
}

TEST(off_means_fixed)
{
    start(false);
    for (int i = 0; i < 10; i++)
        EXPECT(!freed_then_asked(64 * MIB, 1));
    EXPECT_EQ(t.direct_bytes, 32 * MIB);
}

TEST(the_largest_sizes)
{
    start(true);
    threshold_gone(&t, &cache, (uint64_t)1 << 63, now_ms);
    threshold_missed(&t, &cache, (uint64_t)1 << 63, now_ms, AGE);
    EXPECT(!threshold_direct(&t, UINT64_MAX - 1));
    threshold_start(&t, true, 0); /* no block is kept */
    EXPECT(threshold_direct(&t, 1));
    threshold_start(&t, true, UINT64_MAX);
    threshold_unused(&t, UINT64_MAX - 1);
    EXPECT(!threshold_direct(&t, UINT64_MAX - 1));
}

TEST_MAIN()
