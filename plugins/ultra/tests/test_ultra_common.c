/* SPDX-License-Identifier: MIT
 * test_ultra_common.c - box ultra: pages that many threads share.
 */
#include "test_ultra.h"

enum { MANY = 40, FEW = 16, EACH = 5, BYTES = 64 };

static struct hak_box *box;
static pthread_barrier_t meet;
static struct worker {
    pthread_t thread;
    void *block[EACH];
    void *more[100]; /* the first nmore are used */
    size_t nmore;
    bool stays; /* its blocks outlive the thread */
} worker[MANY];

static void *work(void *argument)
{
    struct worker *w = argument;
    EXPECT_EQ(get_many(box, w->block, EACH, BYTES), EACH);
    for (size_t i = 0; i < EACH; i++)
        memset(w->block[i], (int)(w - worker), BYTES);
    EXPECT_EQ(get_many(box, w->more, w->nmore, BYTES), w->nmore);
    pthread_barrier_wait(&meet); /* all workers have blocks */
    pthread_barrier_wait(&meet); /* the test has looked at them */
    for (size_t i = 0; i < EACH; i++)
        for (size_t k = 0; k < BYTES; k++)
            EXPECT_EQ(((unsigned char *)w->block[i])[k], w - worker);
    if (!w->stays)
        put_many(w->block, EACH);
    put_many(w->more, w->nmore);
    return NULL;
}

/* Start all workers. The first FEW get pages of their own; those that come when
 * more than FEW heaps are open share common pages. */
static void start_all(void)
{
    pthread_barrier_init(&meet, NULL, MANY + 1);
    for (size_t i = 0; i < MANY; i++)
        worker[i].thread = th_spawn(work, &worker[i]);
    pthread_barrier_wait(&meet);
}

static void end_all(void)
{
    pthread_barrier_wait(&meet);
    for (size_t i = 0; i < MANY; i++)
        pthread_join(worker[i].thread, NULL);
    th_reap();
}

static bool is_common(const void *p)
{
    return page_of(p)->heap == heaps_of(box)->common;
}

static size_t count_common(void)
{
    size_t n = 0;
    for (size_t i = 0; i < MANY; i++)
        for (size_t k = 0; k < EACH; k++)
            n += is_common(worker[i].block[k]);
    return n;
}

TEST(the_first_slots_of_many_threads_share_a_page)
{
    box = OPEN(0);
    start_all();
    EXPECT_GE(count_common(), (size_t)(MANY - FEW - 1) * EACH);
    EXPECT_LE(th_mapped(box), (size_t)(FEW + 2) * GRANULE);
    EXPECT_EQ(stats_of(box).live_count, MANY * EACH);
    EXPECT_EQ(count_visited(box), MANY * EACH);
    end_all();
    EXPECT_EQ(stats_of(box).live_count, 0);
    check_pages(box);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
}

TEST(few_threads_have_pages_of_their_own)
{
    box = OPEN(0);
    void *p = th_malloc(box, BYTES);
    EXPECT(page_of(p)->span.owner == th_self());
    th_free(p);
}

TEST(nobody_shares_if_the_parameter_says_so)
{
    box = OPEN(0, "common=0");
    start_all();
    EXPECT(heaps_of(box)->common == NULL);
    EXPECT_EQ(th_mapped(box), (size_t)MANY * GRANULE);
    end_all();
    check_pages(box);
}

/* 100 more slots of 64 bytes exceed the 4 KiB of common slots. */
TEST(who_needs_more_of_a_size_gets_a_page)
{
    box = OPEN(0);
    struct worker *last = &worker[MANY - 1];
    for (size_t i = 0; i < MANY; i++)
        worker[i].nmore = sizeof last->more / sizeof last->more[0];
    start_all();
    for (size_t i = 0; i < MANY; i++) {
        const struct hak_page *own = page_of(worker[i].more[99]);
        EXPECT(own->span.owner != NULL);
        EXPECT(i == 0 || own != page_of(worker[i - 1].more[99]));
    }
    end_all();
    check_pages(box);
}

TEST(slots_of_other_sizes_are_not_mixed_up)
{
    void *p[64], *q[64];
    box = OPEN(0);
    start_all();
    for (size_t i = 0; i < 64; i++) {
        p[i] = th_malloc(box, (i + 1) * LEAST);
        q[i] = th_malloc(box, (64 - i) * LEAST);
        EXPECT_EQ(th_usable(p[i]), (i + 1) * LEAST);
        EXPECT_EQ(th_usable(q[i]), (64 - i) * LEAST);
        EXPECT(is_common(p[i]) && is_common(q[i]));
        memset(p[i], 1, (i + 1) * LEAST);
        memset(q[i], 2, (64 - i) * LEAST);
    }
    put_many(p, 64);
    put_many(q, 64);
    end_all();
    check_pages(box);
}

TEST(common_blocks_outlive_their_threads)
{
    box = OPEN(0);
    for (size_t i = 0; i < MANY; i++)
        worker[i].stays = true;
    start_all();
    size_t n = count_common();
    end_all();
    EXPECT_EQ(count_common(), n);
    for (size_t i = 0; i < MANY; i++)
        put_many(worker[i].block, EACH);
    check_pages(box);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
}

/* Slots that return to a full common page are handed out again. */
TEST(a_common_page_comes_back)
{
    enum { SLOTS = 1024 };
    static void *p[2 * SLOTS];
    box = OPEN(0, "common=64k");
    start_all();
    EXPECT_EQ(get_many(box, p, 900, BYTES), 900);
    EXPECT(is_common(p[0]) && is_common(p[899]));
    size_t mapped = th_mapped(box);
    put_many(p, 900);
    for (int i = 0; i < 100; i++) {
        p[0] = th_malloc(box, BYTES);
        EXPECT(is_common(p[0]));
        th_free(p[0]);
    }
    EXPECT_EQ(th_mapped(box), mapped);
    end_all();
    check_pages(box);
}

TEST_DIES(a_common_slot_freed_twice, SIGABRT, "freed twice")
{
    box = OPEN(0);
    start_all();
    void *p = th_malloc(box, BYTES);
    EXPECT(is_common(p));
    box->ops->free(box, p);
    box->ops->free(box, p);
}

TEST_MAIN()
