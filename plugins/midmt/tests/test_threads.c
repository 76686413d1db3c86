/* SPDX-License-Identifier: MIT
 * test_threads.c - the box under threads: remote frees, ended threads, fork.
 */
#include "midmt.h"

#include <sched.h>

#include "random.h"
#include "test.h"
#include "testhost.h"

enum { KIB = 1024, MIB = 1 << 20, MOST = 256 * KIB };

static struct hak_box *box;

static void start_with(const char *const *params, unsigned flags)
{
    if (th_open_entry(&hak_box_entry, "midmt", params, flags, &box) != 0)
        test_fail(__FILE__, __LINE__, "%s", th_error());
}

static void start(unsigned flags)
{
    start_with(NULL, flags);
}

/* Nothing is out: what this thread can reach must be able to go back. */
static void expect_nothing_left(void)
{
    th_flush();
    th_reap();
    EXPECT_EQ(th_live(box, true), 0);
    th_free(th_malloc(box, 1)); /* a heap that adopts */
    th_flush();
    box->ops->trim(box);
    box->ops->trim(box);
    midmt_check(midmt_of(box));
    EXPECT_EQ(th_mapped(box), 0);
}

/* ---- ended threads ----------------------------------------------------- */

static void *use_and_end(void *unused)
{
    void *p[20];
    (void)unused;
    for (size_t i = 0; i < 20; i++)
        EXPECT((p[i] = th_malloc(box, 1500 * (i + 1))) != NULL);
    for (size_t i = 0; i < 20; i++)
        th_free(p[i]);
    return NULL;
}

TEST(a_thousand_threads_in_turn_leave_nothing)
{
    start(0);
    uint64_t metas = 0;
    size_t most = 0;
    for (int i = 0; i < TEST_TURNS(1000); i++) {
        th_join(th_spawn(use_and_end, NULL));
        most = hak_max(most, th_mapped(box));
        if (i == 10)
            metas = th_counts().metas;
    }
    EXPECT_EQ(th_counts().metas, metas);
    EXPECT_EQ(most, 0);
    expect_nothing_left();
}

static void *leave_one(void *number)
{
    static const size_t size[] = {1024, 3000, 9000, 30000};
    void *p[4];
    for (int i = 0; i < 4; i++)
        EXPECT((p[i] = th_malloc(box, size[i])) != NULL);
    int kept = (int)(uintptr_t)number % 4;
    for (int i = 0; i < 4; i++)
        if (i != kept)
            th_free(p[i]);
    return p[kept];
}

/* A block lives on from each thread; the last 64 of them at a time. */
TEST(ten_thousand_threads_that_leave_a_block_each_do_not_pile_up)
{
    static void *left[64];
    start(0);
    size_t early = 0;
    for (uintptr_t i = 0; i < TEST_TURNS(10000); i++) {
        pthread_t thread = th_spawn(leave_one, (void *)i);
        th_free(left[i % 64]);
        pthread_join(thread, &left[i % 64]);
        th_reap();
        if (i == 200)
            early = th_mapped(box);
    }
    EXPECT_LE(th_mapped(box), early + 2 * MIB);
    EXPECT_LE(early, 8 * MIB);
    for (int i = 0; i < 64; i++)
        th_free(left[i]);
    expect_nothing_left();
}

static void *leave_many(void *list)
{
    for (size_t i = 0; i < 500; i++)
        ((void **)list)[i] = th_malloc(box, 1 + i * 61);
    return NULL;
}

TEST(pages_of_one_segment_go_to_several_heaps)
{
    static void *p[500];
    start(0);
    th_join(th_spawn(leave_many, p));
    size_t mapped = th_mapped(box);
    for (int i = 0; i < 500; i += 2)
        th_free(p[i]);
    for (int round = 0; round < 8; round++) { /* each adopts, uses, ends */
        th_join(th_spawn(use_and_end, NULL));
        th_free(th_malloc(box, (size_t)round * 4000));
    }
    EXPECT_LE(th_mapped(box), mapped + MIB);
    EXPECT_GT(midmt_of(box)->segments.shared.held_bytes, 0);
    for (int i = 1; i < 500; i += 2)
        th_free(p[i]);
    expect_nothing_left();
}

/* ---- remote frees ------------------------------------------------------ */

enum { THREADS = 3, PLACES = 256 };

static unsigned char *place[PLACES]; /* blocks change hands here */
static int rounds;

static void *trade(void *number)
{
    uint64_t seed = (uintptr_t)number * 977;
    for (int i = 0; i < rounds; i++) {
        uint64_t r = random_next(&seed);
        size_t size = 1 + r % MOST;
        unsigned char *p = th_malloc(box, size);
        EXPECT(p != NULL);
        p[0] = p[th_usable(p) - 1] = (unsigned char)((uintptr_t)p >> 10);
        p = __atomic_exchange_n(&place[r / MOST % PLACES], p, __ATOMIC_ACQ_REL);
        if (p == NULL)
            continue;
        EXPECT_EQ(p[0], (unsigned char)((uintptr_t)p >> 10));
        EXPECT_EQ(p[th_usable(p) - 1], p[0]);
        (r & 1 ? th_free : th_free_direct)(p);
        if (r % 4096 == 0)
            box->ops->trim(box);
        if (r % 1024 == 0)
            th_clock_add(200);
    }
    return NULL;
}

static void empty_places(void)
{
    for (int i = 0; i < PLACES; i++)
        th_free(place[i]);
    memset(place, 0, sizeof place);
}

static void trade_in_threads(int generations)
{
    pthread_t thread[THREADS];
    for (int g = 0; g < generations; g++) {
        for (int i = 0; i < THREADS; i++)
            thread[i] =
                th_spawn(trade, (void *)(uintptr_t)(g * THREADS + i + 1));
        for (int i = 0; i < THREADS; i++)
            pthread_join(thread[i], NULL);
        if (g % 2 == 0) /* every second time by threads that go on */
            th_reap();
    }
    empty_places();
    expect_nothing_left();
}

TEST(blocks_change_hands)
{
    start(0);
    rounds = TEST_TURNS(100000);
    trade_in_threads(3);
}

TEST(blocks_change_hands_without_lanes)
{
    start(TH_NO_LANES);
    rounds = TEST_TURNS(50000);
    trade_in_threads(2);
}

TEST(blocks_outlive_many_short_threads)
{
    start(0);
    rounds = 300;
    trade_in_threads(TEST_TURNS(100));
}

/* Heaps are closed while others free into their pages. */
static bool stop;

static void *free_forever(void *unused)
{
    uint64_t seed = 11;
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        void *p = __atomic_exchange_n(&place[random_below(&seed, PLACES)], NULL,
                                      __ATOMIC_ACQ_REL);
        th_free(p);
        if (p == NULL)
            sched_yield();
    }
    return NULL;
}

static void *fill_and_end(void *number)
{
    uint64_t seed = (uintptr_t)number;
    for (int i = 0; i < 400; i++) {
        uint64_t r = random_next(&seed);
        void *p = th_malloc(box, 1 + r % 3000);
        th_free(__atomic_exchange_n(&place[r / MOST % PLACES], p,
                                    __ATOMIC_ACQ_REL));
        if (i % 50 == 0)
            box->ops->trim(box);
    }
    return NULL;
}

TEST(threads_end_while_others_free_their_blocks)
{
    start(0);
    pthread_t freer = th_spawn(free_forever, NULL);
    for (uintptr_t i = 1; i < TEST_TURNS(1500); i++)
        th_join(th_spawn(fill_and_end, (void *)i));
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    th_join(freer);
    empty_places();
    expect_nothing_left();
}

/* ---- owns -------------------------------------------------------------- */

TEST(owns_is_right_while_segments_come_and_go)
{
    start(0);
    rounds = TEST_TURNS(60000);
    void *mine[64];
    for (size_t i = 0; i < 64; i++)
        mine[i] = th_malloc(box, 1 + i * 500);
    pthread_t a = th_spawn(trade, (void *)1), b = th_spawn(trade, (void *)2);
    int on_stack;
    for (int i = 0; i < TEST_TURNS(500000); i++) {
        EXPECT(box->ops->owns(box, mine[i % 64]));
        EXPECT_EQ(box->ops->usable_size(box, mine[i % 64]) >= 1024, 1);
        EXPECT(!box->ops->owns(box, &on_stack));
        box->ops->owns(
            box, (const void *)(box->host->window_base + (uintptr_t)i * 4096));
    }
    th_join(a);
    th_join(b);
    for (size_t i = 0; i < 64; i++)
        th_free(mine[i]);
    empty_places();
    expect_nothing_left();
}

/* ---- fork -------------------------------------------------------------- */

static void use_as_child(void)
{
    alarm(20);
    void *p[300];
    for (size_t i = 0; i < 300; i++)
        if ((p[i] = th_malloc(box, 1 + i * 100)) == NULL)
            _exit(2);
    for (size_t i = 0; i < 300; i++)
        th_free(p[i]);
    for (int i = 0; i < PLACES; i++) /* blocks of threads that are no more */
        th_free(__atomic_exchange_n(&place[i], NULL, __ATOMIC_RELAXED));
    box->ops->trim(box);
    _exit(0);
}

TEST(fork_while_threads_allocate)
{
    start(0);
    rounds = TEST_TURNS(40000);
    pthread_t a = th_spawn(trade, (void *)3), b = th_spawn(trade, (void *)4);
    for (int i = 0; i < TEST_TURNS(60); i++) {
        th_free(th_malloc(box, 5000));
        pid_t pid = th_fork();
        if (pid == 0)
            use_as_child();
        int status = 0;
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    th_join(a);
    th_join(b);
    empty_places();
    expect_nothing_left();
}

/* Frees go on while a fork is prepared; here each few take a lock. */
static void *lock_often(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        void *p[100];
        for (size_t i = 0; i < 100; i++)
            p[i] = th_malloc(box, MOST);
        for (size_t i = 0; i < 100; i++)
            th_free(p[i]);
    }
    return NULL;
}

TEST(no_child_inherits_a_lock)
{
    static const char *const params[] = {"segment_min=2M", "segment_max=2M",
                                         "empty_segments=0", NULL};
    start_with(params, 0);
    pthread_t a = th_spawn(lock_often, NULL), b = th_spawn(lock_often, NULL);
    for (int i = 0; i < TEST_TURNS(400); i++) {
        pid_t pid = th_fork();
        if (pid == 0) {
            alarm(5);
            for (size_t j = 0; j < 10; j++)
                th_malloc(box, MOST);
            th_detach();
            th_reap();
            box->ops->trim(box);
            _exit(0);
        }
        int status = 0;
        EXPECT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    th_join(a);
    th_join(b);
    expect_nothing_left();
}

TEST_MAIN()
