/* SPDX-License-Identifier: MIT
 * test_space_purge.c - the window: when free granules are given back, and what
 * is mapped ahead.
 */
#include "space.h"

/* ---- purge ----------------------------------------------------------- */

static void sleep_ms(unsigned ms)
{
    uint64_t until = hak_os_now_ms() + ms;
    while (hak_os_now_ms() < until)
        usleep(2000);
}

TEST(short_runs_are_purged_in_place_after_the_delay)
{
    start(200);
    char *p = take(3, 0, 0), *kept = take(1, 0, 0);
    write_to(p, 3 * G, 1);
    write_to(kept, G, 2);
    hak_space_give(p, 3 * G);
    hak_space_tick();
    EXPECT_EQ(resident(p, 3 * G), 3 * G / OS_PAGE); /* not yet */
    EXPECT_EQ(figures().purged_bytes, 0);
    sleep_ms(105);
    hak_space_tick(); /* marks it old */
    EXPECT_GT(resident(p, 3 * G), 0);
    sleep_ms(105);
    hak_space_tick();
    EXPECT_EQ(resident(p, 3 * G), 0);
    EXPECT_EQ(figures().purged_bytes, 3 * G);
    EXPECT_GE(figures().free_bytes, 3 * G); /* still mapped */
    expect_all(kept, G, 2);
}

TEST(long_runs_are_unmapped)
{
    start(40);
    char *p = take(200, 0, 0), *kept = take(1, 0, 0);
    write_to(p, 200 * G, 1);
    write_to(kept, G, 2);
    uint64_t free_before = figures().free_bytes;
    hak_space_give(p, 200 * G);
    EXPECT_EQ(figures().free_bytes, free_before + 200 * G);
    for (int i = 0; i < 3; i++) {
        sleep_ms(25);
        for (int k = 0; k < 200; k++)
            hak_space_tick();
    }
    EXPECT_EQ(resident(p, G), -1);
    EXPECT_EQ(figures().free_bytes, free_before);
    EXPECT_EQ(figures().purged_bytes, 200 * G);
    EXPECT(take(200, 0, 0) == p); /* the hole serves again */
    expect_all(p, 200 * G, 0);
    expect_all(kept, G, 2);
}

/* Any thread's malloc may make it. */
TEST(a_tick_gives_back_so_much)
{
    enum { N = 3000, TICK_MOST = 512 };
    start(20);
    char *p = take(N, 0, 0);
    take(1, 0, 0);
    hak_space_give(p, N * G);
    uint64_t gone = 0;
    int nticks = 0;
    for (; gone < N * G; nticks++) {
        EXPECT_LT(nticks, 2 * N);
        if (gone == 0)
            sleep_ms(12);
        hak_space_tick();
        uint64_t now = figures().purged_bytes;
        EXPECT_LE(now - gone, TICK_MOST * G);
        gone = now;
    }
    EXPECT_GE(nticks, N / TICK_MOST);
    EXPECT_EQ(resident(p, G), -1);
}

TEST(who_gives_much_gives_back_much)
{
    enum { N = 3000 };
    start(20);
    char *p = take(N, 0, 0), *q = take(N, 0, 0);
    take(1, 0, 0);
    hak_space_give(p, N * G);
    for (int i = 0; i < 2 && figures().purged_bytes == 0; i++) {
        sleep_ms(12); /* old now, or a little gone */
        hak_space_tick();
    }
    sleep_ms(12);
    hak_space_give(q, N * G);
    EXPECT_GE(figures().purged_bytes, N * G);
}

TEST(beyond_so_much_it_goes_at_once)
{
    enum { N = 12000, DIRTY_MOST = 8192 };
    start(NEVER_MS);
    char *p = take(N, 0, 0);
    take(1, 0, 0);
    hak_space_give(p, DIRTY_MOST * G);
    EXPECT_EQ(figures().purged_bytes, 0);
    hak_space_give(p + DIRTY_MOST * G, (N - DIRTY_MOST) * G);
    EXPECT_EQ(figures().purged_bytes, (N - DIRTY_MOST) * G);
}

TEST(what_is_taken_again_is_not_purged)
{
    start(200);
    char *p = take(2, 0, 0);
    hak_space_give(p, 2 * G);
    sleep_ms(105);
    hak_space_tick();
    EXPECT(take(1, 0, 0) == p);
    write_to(p, G, 7);
    write_to(p + G, G, 8); /* free: nobody's business but the test's */
    for (int i = 0; i < 2; i++) {
        sleep_ms(105);
        hak_space_tick();
    }
    expect_all(p, G, 7);
    EXPECT_EQ(resident(p + G, G), 0);
}

TEST(trim_purges_at_once)
{
    start(NEVER_MS);
    char *p = take(5, 0, 0), *big = take(100, 0, 0), *kept = take(1, 0, 0);
    write_to(p, 5 * G, 1);
    write_to(big, 100 * G, 1);
    EXPECT_EQ(hak_space_trim(), 0);
    hak_space_give(p, 5 * G);
    EXPECT_EQ(hak_space_trim(), 5 * G);
    hak_space_give(big, 100 * G);
    EXPECT_EQ(hak_space_trim(), 100 * G);
    EXPECT_EQ(hak_space_trim(), 0);
    EXPECT_EQ(resident(p, 5 * G), 0);
    EXPECT_EQ(resident(big, 100 * G), -1);
    EXPECT_EQ(figures().purged_bytes, 105 * G);
    EXPECT_EQ(figures().used_bytes, G);
    hak_space_purge(kept, G); /* by the box that has it */
    EXPECT_EQ(resident(kept, G), 0);
    EXPECT_EQ(figures().purged_bytes, 106 * G);
    EXPECT_EQ(figures().used_bytes, G);
    hak_space_give(kept, G);
}

/* ---- the frontier ---------------------------------------------------- */

TEST(growth_maps_ahead)
{
    start(NEVER_MS);
    uint64_t mapped = 0, growths = 0;
    for (size_t i = 1; i <= 4096; i++) {
        EXPECT(take(1, 0, 0) != NULL);
        struct hak_space_figures f = figures();
        EXPECT_EQ(f.used_bytes, i * G);
        if (f.used_bytes + f.free_bytes == mapped)
            continue;
        uint64_t more = f.used_bytes + f.free_bytes - mapped;
        EXPECT_GE(more, 16 * G); /* 1 MiB .. 32 MiB, an eighth between */
        EXPECT_LE(more, 512 * G);
        EXPECT_LE(more, hak_max(16 * G, mapped / 8));
        mapped += more;
        growths++;
    }
    EXPECT_LT(growths, 60);
    char *p = take(3000, 0, 0); /* more than the step */
    EXPECT(p != NULL);
    EXPECT_EQ(figures().used_bytes, 7096 * G);
}

TEST_MAIN()
