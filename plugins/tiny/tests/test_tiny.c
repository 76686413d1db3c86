/* SPDX-License-Identifier: MIT
 * test_tiny.c - the tiny box: sizes, SuperSlabs, working sets, threads.
 */
#include "test_tiny.h"

enum {
    SLOTS = (HAK_GRANULE_BYTES - HAK_PAGE_COLOR(MOST, MOST / LEAST - 1)) / MOST,
    SUPER = SLOTS * SLABS,
};

static void *block[1 << 17];

/* ---- sizes --------------------------------------------------------------- */

static void every_size(struct hak_box *box)
{
    for (size_t bytes = 0; bytes <= MOST; bytes++) {
        size_t slot = hak_round_up(hak_max(bytes, 1), LEAST);
        EXPECT_EQ(box->ops->slot_size(box, bytes), slot);
        char *p = th_malloc(box, bytes);
        EXPECT(p != NULL && (uintptr_t)p % LEAST == 0);
        EXPECT_EQ(th_usable(p), slot);
        memset(p, 0x55, slot);
        EXPECT(th_owner(p + slot - 1) == box);
        block[bytes] = p;
    }
    EXPECT_EQ(th_mapped(box), SUPERSLAB_BYTES); /* 8 slabs of 16 */
    check(box);
    put_many(block, MOST + 1);
    check(box);
}

TEST(every_size_with_lanes)
{
    every_size(OPEN(0));
}

TEST(every_size_without_lanes)
{
    every_size(OPEN(TH_NO_LANES));
}

TEST(every_size_with_magazine)
{
    every_size(OPEN(TH_NO_LANES, "magazine=on"));
}

TEST(larger_sizes_are_declined)
{
    struct hak_box *box = OPEN(0);
    static const size_t sizes[] = {MOST + 1, 4096, 32769, PTRDIFF_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        EXPECT(th_malloc(box, sizes[i]) == NULL);
        EXPECT(th_alloc_direct(box, sizes[i]) == NULL);
        EXPECT_EQ(box->ops->slot_size(box, sizes[i]), 0);
    }
    EXPECT(th_aligned_alloc(box, 256, 16) == NULL);
    EXPECT_EQ(th_mapped(box), 0);
}

TEST(aligned)
{
    struct hak_box *box = OPEN(0);
    for (size_t align = 32; align <= MOST; align *= 2)
        for (size_t bytes = 1; bytes <= MOST; bytes++) {
            char *p = th_aligned_alloc(box, align, bytes);
            EXPECT(p != NULL && (uintptr_t)p % align == 0);
            EXPECT_GE(th_usable(p), bytes);
        }
    check(box);
}

TEST(owns_any_value)
{
    struct hak_box *box = OPEN(0);
    const struct hak_host *host = box->host;
    char *p = th_malloc(box, 100);
    uintptr_t wild[] = {0,
                        1,
                        UINTPTR_MAX,
                        host->window_base - 1,
                        host->window_base + host->window_bytes,
                        (uintptr_t)p + SUPERSLAB_BYTES,
                        (uintptr_t)p - SUPERSLAB_BYTES,
                        (uintptr_t)&box};
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++)
        EXPECT(!box->ops->owns(box, (void *)wild[i]));
    EXPECT(box->ops->owns(box, p + 99));
    th_free(p);
}

TEST(two_instances)
{
    struct hak_box *a = OPEN(0), *b = OPEN(TH_NO_LANES, "magazine=on");
    for (size_t i = 0; i < 2000; i++)
        block[i] = th_malloc(i % 2 ? a : b, i % MOST + 1);
    for (size_t i = 0; i < 2000; i++) {
        EXPECT(th_owner(block[i]) == (i % 2 ? a : b));
        th_free(block[i]);
    }
    check(a);
    check(b);
}

/* ---- SuperSlabs ---------------------------------------------------------- */

TEST(a_superslab_is_used_up_before_the_next)
{
    struct hak_box *box = OPEN(0);
    must_get_many(box, block, SUPER, MOST);
    EXPECT_EQ(th_mapped(box), SUPERSLAB_BYTES);
    EXPECT_EQ(stats_of(box).cached_bytes, 0);
    for (size_t i = 0; i < SUPER; i++)
        EXPECT_EQ((uintptr_t)block[i] >> SUPERSLAB_SHIFT,
                  (uintptr_t)block[0] >> SUPERSLAB_SHIFT);
    must_get_many(box, block + SUPER, 1, MOST);
    EXPECT_EQ(th_mapped(box), 2 * SUPERSLAB_BYTES);
    EXPECT_EQ(stats_of(box).cached_bytes, SUPERSLAB_BYTES - SLAB_BYTES);
    check(box);
}

/* Slots of other sizes are asked for until the clock has been looked at. */
static void let_time_pass(struct hak_box *box)
{
    for (int i = 0; i < 4; i++) {
        th_clock_add(th_host()->purge_delay_ms() + 1);
        for (int n = 0; n < 1024; n++) {
            void *p = th_malloc(box, 16);
            th_flush(); /* each malloc is a refill */
            th_free(p);
        }
    }
}

TEST(one_empty_superslab_waits_for_the_purge_delay)
{
    struct hak_box *box = OPEN(0);
    void *small = th_malloc(box, 16);
    must_get_many(box, block, 8 * SUPER, MOST);
    EXPECT_EQ(th_mapped(box), 9 * SUPERSLAB_BYTES);
    put_many(block, 8 * SUPER);
    EXPECT_LE(th_mapped(box), 4 * SUPERSLAB_BYTES);
    EXPECT_EQ(state_of(box)->superslabs.nempty, 1);
    let_time_pass(box);
    EXPECT_EQ(state_of(box)->superslabs.nempty, 0);
    EXPECT_LE(th_mapped(box), 2 * SUPERSLAB_BYTES);
    check(box);
    th_free(small);
}

TEST(no_empty_superslab_is_kept_if_none_may_be)
{
    struct hak_box *box = OPEN(0, "empty_superslabs=0");
    must_get_many(box, block, 4 * SUPER, MOST);
    put_many(block, 4 * SUPER);
    EXPECT_EQ(state_of(box)->superslabs.nempty, 0);
    check(box);
}

TEST(a_superslab_comes_and_goes_without_new_metadata)
{
    struct hak_box *box = OPEN(0);
    uint64_t metas = 0;
    for (int round = 0; round < 20; round++) {
        must_get_many(box, block, 2 * SUPER, MOST);
        put_many(block, 2 * SUPER);
        EXPECT_GE(box->ops->trim(box), SUPERSLAB_BYTES);
        EXPECT_EQ(th_mapped(box), 0);
        EXPECT(page_at(state_of(box), block[0]) == NULL);
        check(box);
        if (round == 0)
            metas = th_counts().metas;
    }
    EXPECT_EQ(th_counts().metas, metas);
}

/* One block a SuperSlab keeps it mapped; the free slabs around it go. */
TEST(trim_purges_what_cannot_be_unmapped)
{
    th_map_junk(false);
    struct hak_box *box = OPEN(0);
    must_get_many(box, block, 4 * SUPER, MOST);
    for (size_t i = 0; i < 4 * SUPER; i++)
        memset(block[i], 1, MOST);
    for (size_t i = 0; i < 4 * SUPER; i++)
        if (i % SUPER != 0)
            th_free(block[i]);
    size_t before = th_resident();
    size_t given = box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 4 * SUPERSLAB_BYTES);
    EXPECT_GE(given, 4 * (SLABS - 1) * SLAB_BYTES - SLAB_BYTES);
    EXPECT_LE(th_resident(), before - given + SLAB_BYTES);
    EXPECT_EQ(box->ops->trim(box), 0);
    check(box);
    must_get_many(box, block + 4 * SUPER, 4 * SUPER - 4 * SLOTS, MOST);
    EXPECT_EQ(th_mapped(box), 4 * SUPERSLAB_BYTES);
    check(box);
}

TEST(old_free_slabs_are_purged_in_time)
{
    struct hak_box *box = OPEN(0);
    must_get_many(box, block, SUPER, MOST);
    put_many(block + 1, SUPER - 1);
    uint64_t purges = th_counts().purges;
    let_time_pass(box);
    EXPECT_GT(th_counts().purges, purges);
    check(box);
    th_free(block[0]);
}

/* ---- working sets -------------------------------------------------------- */

/* Blocks of one size, replaced at random, then all freed, both ways round. */
static void working_set(struct hak_box *box, size_t n, size_t bytes)
{
    uint64_t seed = 0;
    for (int round = 0; round < 3; round++) {
        must_get_many(box, block, n, bytes);
        for (size_t i = 0; i < TEST_TURNS(20000); i++) {
            size_t at = random_below(&seed, n);
            memset(block[at], (int)i, bytes);
            th_free(block[at]);
            must_get_many(box, block + at, 1, bytes);
        }
        EXPECT_EQ(th_live(box, true), n);
        for (size_t i = 0; i < n; i++)
            th_free(block[round % 2 ? i : n - 1 - i]);
    }
    check(box);
    EXPECT_LE(th_mapped(box), 2 * (n * bytes + SUPERSLAB_BYTES));
}

/* 128 first: exactly that many hung the bench of the notes. */
static void working_sets(struct hak_box *box)
{
    for (size_t bytes = LEAST; bytes <= MOST; bytes += LEAST)
        working_set(box, 128, bytes);
    for (size_t n = 1; n <= 1 << 14; n *= 2)
        for (size_t bytes = LEAST; bytes <= MOST; bytes *= 2)
            working_set(box, n, bytes);
}

TEST(working_sets_with_lanes)
{
    working_sets(OPEN(0));
}

TEST(working_sets_without_lanes)
{
    working_sets(OPEN(TH_NO_LANES));
}

TEST(working_sets_with_magazine)
{
    working_sets(OPEN(TH_NO_LANES, "magazine=on"));
}

/* ---- failures ------------------------------------------------------------ */

static void any_host_call_fails(unsigned flags, const char *param)
{
    for (uint64_t n = 1; n < 12; n++) {
        struct hak_box *box = OPEN(flags, param);
        th_fail_at(n);
        size_t got = 0;
        while (got < 3 * SUPER && (block[got] = th_malloc(box, MOST)) != NULL)
            got++;
        EXPECT(got < 3 * SUPER);
        th_fail_never();
        check(box);
        must_get_many(box, block + got, SUPER, MOST);
        put_many(block, got + SUPER);
        check(box);
        box->ops->trim(box);
        EXPECT_EQ(th_mapped(box), 0);
    }
}

TEST(any_host_call_may_fail)
{
    any_host_call_fails(0, "magazine=off");
}

TEST(any_host_call_may_fail_with_magazine)
{
    any_host_call_fails(TH_NO_LANES, "magazine=on");
}

TEST(init_without_memory_says_so)
{
    for (uint64_t n = 1; n <= 2; n++) {
        struct hak_box *box;
        th_fail_at(n);
        EXPECT_EQ(th_open_entry(&hak_box_entry, "tiny", NULL, 0, &box),
                  -ENOMEM);
        EXPECT_CONTAINS(th_last_log(), "no memory for the SuperSlab table");
        th_fail_never();
    }
}

/* ---- threads ------------------------------------------------------------- */

static struct hak_box *shared;

TEST(what_others_freed_is_found_again)
{
    struct hak_box *box = OPEN(0);
    must_get_many(box, block, 2 * SUPER, MOST);
    struct part part = {block, 2 * SUPER};
    th_join(th_spawn(free_part, &part));
    check(box);
    must_get_many(box, block, 2 * SUPER, MOST);
    EXPECT_EQ(th_mapped(box), 2 * SUPERSLAB_BYTES);
    put_many(block, 2 * SUPER);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
}

static void *get_and_end(void *argument)
{
    struct part *part = argument;
    must_get_many(shared, part->p, part->n, MOST);
    return NULL;
}

TEST(pages_of_ended_threads_are_adopted)
{
    shared = OPEN(0);
    struct part part = {block, 2 * SUPER};
    th_join(th_spawn(get_and_end, &part));
    check(shared);
    th_attach();
    th_free(th_malloc(shared, 16));
    put_many(block, 2 * SUPER);
    shared->ops->trim(shared);
    EXPECT_EQ(th_mapped(shared), 0);
    EXPECT_GT(stats_of(shared).adopted_pages, 0);
    check(shared);
}

enum { CROWD = 4, SHELF = 512, MOVES = 60000 };
static void *shelf[SHELF];

/* Blocks lie on a shelf that all take from and put on; some are left there. */
static void *crowd(void *argument)
{
    uint64_t seed = (uintptr_t)argument;
    void *mine[64] = {0};
    for (int i = 0; i < MOVES; i++) {
        size_t at = random_below(&seed, 64);
        size_t bytes = 1 + random_below(&seed, MOST);
        void *p = th_malloc(shared, bytes);
        EXPECT(p != NULL);
        memset(p, i, bytes);
        p = __atomic_exchange_n(&shelf[random_below(&seed, SHELF)], p,
                                __ATOMIC_ACQ_REL);
        if (mine[at] != NULL)
            th_free(mine[at]);
        mine[at] = p;
        if (i % 4096 == 0)
            shared->ops->trim(shared);
        if (i % 512 == 0)
            th_clock_add(300);
    }
    for (size_t i = 0; i < 64; i++)
        if (mine[i] != NULL)
            th_free(mine[i]);
    return NULL;
}

static void crowds(struct hak_box *box)
{
    shared = box;
    for (int round = 0; round < 3; round++) {
        pthread_t thread[CROWD];
        for (uintptr_t i = 0; i < CROWD; i++)
            thread[i] = th_spawn(crowd, (void *)i);
        for (int i = 0; i < CROWD; i++)
            th_join(thread[i]);
        check(box);
    }
    for (size_t i = 0; i < SHELF; i++)
        if (shelf[i] != NULL)
            th_free(shelf[i]);
    th_free(th_malloc(box, 1)); /* a heap, to adopt into */
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
    check(box);
}

TEST(a_crowd_with_lanes)
{
    crowds(OPEN(0));
}

TEST(a_crowd_with_magazine)
{
    crowds(OPEN(TH_NO_LANES, "magazine=on"));
}

static bool stop;

static void *churn(void *argument)
{
    struct part *part = argument;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        must_get_many(shared, part->p, part->n, MOST);
        put_many(part->p, part->n);
        shared->ops->trim(shared);
    }
    return NULL;
}

/* A child that stands at a lock would never end: the harness has an alarm. */
TEST(fork_while_superslabs_come_and_go)
{
    shared = OPEN(0);
    struct part part = {block, 2 * SUPER};
    pthread_t thread = th_spawn(churn, &part);
    for (int i = 0; i < 50; i++) {
        pid_t pid = th_fork();
        if (pid == 0) {
            alarm(10);
            must_get_many(shared, block + 4 * SUPER, 2 * SUPER, MOST);
            put_many(block + 4 * SUPER, 2 * SUPER);
            _exit(0);
        }
        int status;
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    th_join(thread);
    check(shared);
}

TEST_MAIN()
