/* SPDX-License-Identifier: MIT
 * test_elo.c - what is learned from patterns whose right answer is known. */
#include "elo.h"

#include "test.h"

#define MIB ((uint64_t)1 << 20)
enum { AGE = 100, START_MS = 1000000 };

static struct elo elo;
static uint64_t now_ms = START_MS;

static void start(uint64_t direct_bytes)
{
    elo_start(&elo, true, 20, direct_bytes);
    now_ms = START_MS;
    elo_check(&elo);
}

/*
 * One block of nbytes is freed, and asked for again after wait_ms. As the box
 * does it: kept or given back by the threshold, and what comes of it told.
 */
static void freed_then_asked(uint64_t nbytes, uint64_t wait_ms)
{
    bool direct = elo_direct(&elo, nbytes);
    if (direct)
        elo_given_back(&elo, nbytes, now_ms);
    now_ms += wait_ms;
    if (!direct && wait_ms < AGE)
        elo_reused(&elo, nbytes);
    else if (!direct)
        elo_unused(&elo, nbytes, AGE, AGE);
    elo_tick(&elo, now_ms, AGE);
    if (direct)
        elo_asked(&elo, nbytes, nbytes, now_ms, AGE);
    elo_check(&elo);
}

/* Returns how many blocks until the answer was `direct`, for good. */
static int learn(uint64_t nbytes, uint64_t wait_ms, bool direct)
{
    int last_wrong = 0;
    for (int i = 1; i <= 200; i++) {
        freed_then_asked(nbytes, wait_ms);
        if (elo_direct(&elo, nbytes) != direct)
            last_wrong = i;
    }
    return last_wrong + 1;
}

/* By hand: D = 50 points, E = 37451/65536; a win is 2 K (1 - E) points. */
TEST(the_formula)
{
    start(64 * MIB);
    elo_reused(&elo, 2 * MIB);
    int32_t d = elo.difference[5];
    EXPECT_EQ(d, 50 * ELO_POINT + 40 * ELO_POINT * (65536 - 37451) / 65536);
    elo_unused(&elo, 8 * MIB, AGE, AGE); /* costs 1: loses 2 K E */
    d = elo.difference[7];
    EXPECT_LE(d - (50 * ELO_POINT - 40 * ELO_POINT * 37451 / 65536), 1);
    EXPECT_GE(d - (50 * ELO_POINT - 40 * ELO_POINT * 37451 / 65536), -1);
    EXPECT_EQ(elo.wins, 1);
    EXPECT_EQ(elo.losses, 1);
}

/* Held half as long, or half as large, is half the cost. */
TEST(cost_is_bytes_times_time)
{
    int32_t lost[4];
    const struct {
        uint64_t nbytes, held_ms;
    } game[4] = {
        {8 * MIB, AGE}, {8 * MIB, AGE / 2}, {4 * MIB, AGE}, {1024 * MIB, AGE}};
    for (int i = 0; i < 4; i++) {
        start(2048 * MIB);
        elo_unused(&elo, game[i].nbytes, game[i].held_ms, AGE);
        lost[i] = 0;
        for (int b = 0; b < ELO_BANDS; b++)
            if (elo.played[b])
                lost[i] = ELO_PRIOR - elo.difference[b];
    }
    EXPECT_GT(lost[0], 20 * ELO_POINT);
    EXPECT_LE(abs(lost[0] - 2 * lost[1]), 2);
    EXPECT_LE(abs(lost[0] - 2 * lost[2]), 2);
    EXPECT_LE(abs(lost[3] - ELO_COST_MOST * lost[0]), 4);
}

TEST(a_loop_over_8_mib_is_kept)
{
    start(32 * MIB);
    EXPECT_EQ(learn(8 * MIB, 1, false), 1);
}

TEST(a_loop_over_8_mib_comes_to_be_kept)
{
    start(1 * MIB);
    EXPECT(elo_direct(&elo, 8 * MIB));
    int games = learn(8 * MIB, 1, false);
    EXPECT_LE(games, 5);
    EXPECT_GT(games, 1);
}

TEST(blocks_of_64_mib_never_asked_again_go_direct)
{
    start(1024 * MIB);
    EXPECT(!elo_direct(&elo, 64 * MIB));
    EXPECT_LE(learn(64 * MIB, 10 * AGE, true), 3);
    EXPECT_EQ(elo.direct_bytes, 64 * MIB); /* not lower */
}

TEST(blocks_of_64_mib_come_to_be_asked_again)
{
    start(1024 * MIB);
    learn(64 * MIB, 10 * AGE, true);
    EXPECT_EQ(elo.difference[10], -ELO_LIMIT);
    EXPECT_LE(learn(64 * MIB, 1, false), 20);
}

TEST(both_at_once)
{
    start(32 * MIB);
    for (int i = 0; i < 100; i++) {
        freed_then_asked(64 * MIB, 10 * AGE);
        for (int k = 0; k < 3; k++)
            freed_then_asked(8 * MIB, 1);
        EXPECT(!elo_direct(&elo, 8 * MIB));
        EXPECT(elo_direct(&elo, 64 * MIB));
    }
}

/* The balance of elo.h: 8 MiB pays when every second one is used again. */
static uint64_t threshold_at(uint64_t nbytes, int percent_used)
{
    uint64_t seed = 1;
    int kept = 0;
    start(64 * MIB);
    for (int i = 0; i < 4000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        bool used = (int)((seed >> 33) % 100) < percent_used;
        freed_then_asked(nbytes, used ? 1 : 2 * AGE);
        kept += !elo_direct(&elo, nbytes);
    }
    return (uint64_t)kept * 100 / 4000;
}

TEST(the_balance_of_a_band)
{
    EXPECT_GT(threshold_at(8 * MIB, 70), 90);
    EXPECT_LT(threshold_at(8 * MIB, 30), 10);
    EXPECT_GT(threshold_at(1 * MIB, 25), 90);
    EXPECT_LT(threshold_at(1 * MIB, 3), 25);
    EXPECT_LT(threshold_at(32 * MIB, 60), 10);
}

TEST(small_blocks_are_never_direct)
{
    start(32 * MIB);
    for (int i = 0; i < 500; i++)
        freed_then_asked(MIB / 2, 10 * AGE);
    EXPECT_EQ(elo.losses, 0);
    EXPECT_EQ(elo.direct_bytes, 32 * MIB);
    for (int i = 0; i < 500; i++)
        freed_then_asked(MIB, 10 * AGE);
    EXPECT_GE(elo.direct_bytes, ELO_LEAST_BYTES);
    EXPECT(!elo_direct(&elo, ELO_LEAST_BYTES - 1));
}

/* Bands that have not played do not vote, however many they are. */
TEST(silence_is_no_vote)
{
    start((uint64_t)1 << 46);
    EXPECT_LE(learn(64 * MIB, 10 * AGE, true), 3);
}

TEST(off_means_fixed)
{
    elo_start(&elo, false, 20, 5 * MIB);
    for (int i = 0; i < 100; i++) {
        freed_then_asked(2 * MIB, 10 * AGE);
        freed_then_asked(64 * MIB, 1);
    }
    EXPECT_EQ(elo.direct_bytes, 5 * MIB);
    EXPECT_EQ(elo.wins + elo.losses, 0);
    EXPECT_EQ(elo.nghosts, 0);
}

TEST(a_threshold_between_powers_of_two_stays_until_evidence)
{
    start(48 * MIB);
    learn(8 * MIB, 1, false);
    EXPECT_EQ(elo.direct_bytes, 48 * MIB);
    EXPECT_EQ(elo.moves, 0);
}

TEST(ghosts_are_few_and_judged_once)
{
    start(1 * MIB);
    for (int i = 0; i < 3 * ELO_GHOSTS; i++)
        elo_given_back(&elo, 2 * MIB, now_ms);
    EXPECT_EQ(elo.nghosts, ELO_GHOSTS);
    elo_asked(&elo, 2 * MIB, 2 * MIB, now_ms + 1, AGE);
    EXPECT_EQ(elo.wins, 1);
    elo_asked(&elo, 3 * MIB, 3 * MIB, now_ms + 1, AGE); /* none so large */
    EXPECT_EQ(elo.wins, 1);
    elo_tick(&elo, now_ms + AGE, AGE);
    EXPECT_EQ(elo.losses, 0);
    elo_tick(&elo, now_ms + AGE + 1, AGE);
    EXPECT_EQ(elo.losses, ELO_GHOSTS - 1);
    EXPECT_EQ(elo.nghosts, 0);
    elo_check(&elo);
}

/* The same games, the same ratings: nothing of it is random. */
TEST(deterministic)
{
    static struct elo first;
    for (int round = 0; round < 2; round++) {
        uint64_t seed = 7;
        start(32 * MIB);
        for (int i = 0; i < 1000; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            freed_then_asked(MIB << ((seed >> 40) % 8), (seed >> 50) % 200);
        }
        if (round == 0)
            memcpy(first.difference, elo.difference, sizeof elo.difference);
    }
    EXPECT_EQ(memcmp(first.difference, elo.difference, sizeof elo.difference),
              0);
}

TEST(no_age_at_all)
{
    start(32 * MIB);
    elo_unused(&elo, 8 * MIB, 0, 0);
    EXPECT_EQ(elo.losses, 1);
    elo_check(&elo);
}

TEST(the_largest_sizes)
{
    start(UINT64_MAX);
    elo_unused(&elo, UINT64_MAX, AGE, AGE);
    elo_reused(&elo, UINT64_MAX);
    elo_given_back(&elo, (uint64_t)1 << 63, now_ms);
    elo_tick(&elo, now_ms + 2 * AGE, AGE);
    elo_check(&elo);
}

TEST_MAIN()
