/* SPDX-License-Identifier: MIT
 * test_near.c - the box through its operations: where slots start, and the
 * blocks that a thread keeps near.
 */
#include "test_large.h"

/* ---- where slots start --------------------------------------------------- */

TEST(slots_start_in_different_sets)
{
    enum { BLOCKS = 64, LINES = PAGE / 64 };
    bool seen[LINES] = {false};
    char *p[BLOCKS];
    size_t different = 0;
    start();
    for (size_t i = 0; i < BLOCKS; i++) {
        p[i] = th_malloc(box, 40 * KIB);
        EXPECT_EQ((uintptr_t)p[i] % 64, 0);
        different += !seen[(uintptr_t)p[i] % PAGE / 64];
        seen[(uintptr_t)p[i] % PAGE / 64] = true;
        fill(p[i], 40 * KIB, i << 32);
    }
    EXPECT_GE(different, LINES / 2);
    check();
    for (size_t i = 0; i < BLOCKS; i++) {
        expect_filled(p[i], 40 * KIB, i << 32);
        EXPECT(!box->ops->usable_size(box, p[i] + PAGE));
        th_free(p[i]);
    }
    check();
}

TEST(slots_of_whole_granules_are_aligned_to_them)
{
    start();
    for (size_t size = 64 * KIB; size <= MIB; size *= 2) {
        char *p = th_malloc(box, size);
        EXPECT_EQ((uintptr_t)p % (64 * KIB), 0);
        th_free(p);
        p = th_malloc(box, size - 100); /* needs its granule's last page too */
        EXPECT_EQ((uintptr_t)p % (64 * KIB), 0);
        th_free(p);
    }
}

TEST(growth_keeps_a_shifted_slot_whole)
{
    char *block[8];
    start();
    for (size_t i = 0; i < 8; i++) {
        char *p = th_malloc(box, MIB + 8 * KIB);
        fill(p, MIB + 8 * KIB, 7);
        p = th_realloc(box, p, 3 * MIB + 60 * KIB);
        expect_filled(p, MIB + 8 * KIB, 7);
        fill(p, 3 * MIB + 60 * KIB, 8);
        check();
        block[i] = p;
    }
    for (size_t i = 0; i < 8; i++) {
        expect_filled(block[i], 3 * MIB + 60 * KIB, 8);
        th_free(block[i]);
    }
    check();
}

/* ---- near blocks --------------------------------------------------------- */

TEST(a_thread_gets_its_own_block_back)
{
    start();
    th_free(th_malloc(box, 40 * KIB)); /* the only call of the host */
    uint64_t calls = host_calls(), hits = counter("cache_hits");
    char *p = th_malloc(box, 40 * KIB);
    for (int i = 0; i < 1000; i++) {
        fill(p, 32 * KIB, 5);
        th_free(p);
        EXPECT_EQ(stats().live_count, 0);
        EXPECT_EQ(stats().live_bytes, 0);
        char *q = th_malloc(box, (33 + (size_t)i % 30) * KIB);
        EXPECT_EQ((uintptr_t)p >> 16, (uintptr_t)q >> 16);
        EXPECT_EQ(stats().live_bytes, th_usable(q));
        p = q;
        if (i % 100 == 0)
            check();
    }
    EXPECT_EQ(host_calls(), calls);
    EXPECT_EQ(counter("cache_hits"), hits);
    th_free(p);
    check();
    EXPECT_EQ(box->ops->trim(box), 64 * KIB);
    EXPECT_EQ(th_mapped(box), 0);
}

TEST(near_blocks_are_bounded)
{
    char *p[64];
    with("near_bytes=256k");
    start();
    for (size_t i = 0; i < 64; i++)
        p[i] = th_malloc(box, 100 * KIB);
    uint64_t puts = counter("cache_puts");
    for (size_t i = 0; i < 64; i++)
        th_free(p[i]);
    EXPECT_EQ(counter("cache_puts"), puts + 64 - 2);
    check();
}

static void *use_and_leave(void *unused)
{
    th_free(th_malloc(box, 100 * KIB));
    return unused;
}

TEST(near_blocks_of_an_ended_thread_are_not_lost)
{
    start();
    for (int i = 0; i < 50; i++) {
        th_join(th_spawn(use_and_leave, NULL));
        th_reap();
        check();
    }
    EXPECT_EQ(th_mapped(box), 128 * KIB);
    EXPECT_EQ(counter("cache_hits"), 49);
}

TEST(near_blocks_that_are_not_needed_go_on)
{
    void *p[10];
    start();
    for (size_t i = 0; i < 10; i++)
        p[i] = th_malloc(box, 40 * KIB);
    for (size_t i = 0; i < 10; i++)
        th_free(p[i]);
    uint64_t puts = counter("cache_puts");
    for (int i = 0; i < 1024; i++) { /* this needs two of the ten */
        th_clock_add(AGE / 64);
        void *a = th_malloc(box, 40 * KIB), *b = th_malloc(box, 40 * KIB);
        th_free(a);
        th_free(b);
    }
    EXPECT_GE(counter("cache_puts"), puts + 8);
    check();
}

TEST_MAIN()
