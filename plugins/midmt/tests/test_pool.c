/* SPDX-License-Identifier: MIT
 * test_pool.c - spans of segments: taken, given back by anybody, aged.
 */
#include "pool.h"

#include <pthread.h>

#include "random.h"
#include "test.h"
#include "testhost.h"

enum { MIB = 1 << 20, DELAY_MS = 1000, SPAN_MAX = MIB >> HAK_GRANULE_SHIFT };

static struct segments segments;
static struct hak_box *box;

static void start(uint32_t keep_empty)
{
    EXPECT_EQ(th_open_entry(&hak_box_entry, "midmt", NULL, 0, &box), 0);
    segments = (struct segments){
        .box = box,
        .min_bytes = MIB,
        .max_bytes = 4 * MIB,
        .keep_empty = keep_empty,
    };
    EXPECT_EQ(segments_init(&segments), 0);
}

/* A page stands in each granule that is taken, as segment_check wants it. */
static struct span_at take(struct pool *pool, uint32_t n)
{
    struct span_at span = pool_take(&segments, pool, n);
    if (span.segment == NULL)
        return span;
    struct hak_page *page = aligned_alloc(64, sizeof *page);
    EXPECT(page != NULL);
    page->start = segment_at(span.segment, span.first);
    page->source = span.segment;
    for (uint32_t g = span.first; g < span.first + n; g++) {
        EXPECT(span.segment->page[g] == NULL);
        span.segment->page[g] = page;
    }
    return span;
}

static void put(struct pool *mine, struct span_at span, uint32_t n)
{
    free(span.segment->page[span.first]);
    for (uint32_t g = span.first; g < span.first + n; g++)
        span.segment->page[g] = NULL;
    uint64_t mask = segment_mask(span.first, n);
    segment_touched(span.segment, mask, mask);
    pool_put(&segments, mine, span.segment, mask);
}

static void check(const struct pool *pool)
{
    segments_check(&segments);
    pool_check(pool);
}

/* Returns bytes given back. */
static uint64_t purge_as(struct pool *mine, bool all)
{
    uint64_t before = segments.given_bytes;
    segments_purge(&segments, mine, all);
    return segments.given_bytes - before;
}

/* ---- one thread -------------------------------------------------------- */

TEST(segments_grow_with_what_is_held)
{
    static const size_t want[] = {1, 2, 4, 8, 12, 16};
    struct pool pool = {0};
    start(1);
    pool_init(&pool);
    size_t step = 0;
    for (int i = 0; i < 16 * 16; i++) {
        size_t before = th_mapped(box);
        EXPECT(take(&pool, 1).segment != NULL);
        if (th_mapped(box) != before)
            EXPECT_EQ(th_mapped(box), want[step++] * MIB);
    }
    EXPECT_EQ(step, 6);
    check(&pool);
}

/* The test host fills with junk what need not be zero. */
TEST(what_the_box_returned_may_come_back_written_to)
{
    struct pool pool = {0};
    start(0);
    pool_init(&pool);
    struct span_at span = take(&pool, 1);
    const uint64_t *word = (uint64_t *)segment_at(span.segment, span.first);
    EXPECT_EQ(*word, 0);
    put(&pool, span, 1); /* the segment is empty, and goes */
    EXPECT_EQ(th_mapped(box), 0);
    span = take(&pool, 1);
    word = (uint64_t *)segment_at(span.segment, span.first);
    EXPECT_NE(*word, 0);
    put(&pool, span, 1);
    for (int i = 0; i < 64; i++) /* so long ago that it is forgotten */
        segments_age(&segments, &pool);
    span = take(&pool, 1);
    word = (uint64_t *)segment_at(span.segment, span.first);
    EXPECT_EQ(*word, 0);
    check(&pool);
}

TEST(tightest_segment_is_taken_first)
{
    struct pool pool = {0};
    struct span_at span[32];
    start(1);
    pool_init(&pool);
    for (int i = 0; i < 32; i++)
        span[i] = take(&pool, 1);
    EXPECT_NE((uintptr_t)span[0].segment, (uintptr_t)span[16].segment);
    for (int i = 0; i < 8; i++) /* a run of 8 in the first */
        put(&pool, span[i], 1);
    for (int i = 20; i < 22; i++) /* one of 2 in the second */
        put(&pool, span[i], 1);
    struct span_at got = take(&pool, 2);
    EXPECT_EQ((uintptr_t)got.segment, (uintptr_t)span[16].segment);
    EXPECT_EQ(got.first, span[20].first);
    got = take(&pool, 4);
    EXPECT_EQ((uintptr_t)got.segment, (uintptr_t)span[0].segment);
    EXPECT_EQ(th_mapped(box), 2 * MIB);
    check(&pool);
}

TEST(random_spans_never_overlap)
{
    struct pool pool = {0};
    struct span_at held[600];
    uint32_t n[600] = {0};
    start(1);
    pool_init(&pool);
    for (int round = 0; round < 60000; round++) {
        /* the working set swells and shrinks */
        uint32_t i = (uint32_t)rnd(round / 10000 % 2 ? 20 : 600);
        if (n[i] != 0) {
            put(&pool, held[i], n[i]);
            n[i] = 0;
        } else {
            n[i] = 1 + (uint32_t)rnd(SPAN_MAX);
            held[i] = take(&pool, n[i]); /* page[] finds overlaps */
            EXPECT(held[i].segment != NULL);
        }
        if (round % 64 == 0)
            check(&pool);
    }
    for (int i = 0; i < 600; i++)
        if (n[i] != 0)
            put(&pool, held[i], n[i]);
    check(&pool);
    EXPECT_EQ(pool.nempty, 1);
    pool_age(&segments, &pool, UINT64_MAX);
    EXPECT_EQ(th_mapped(box), 0);
}

TEST(empty_segments_beyond_those_kept_go_back)
{
    struct pool pool = {0};
    struct span_at span[64];
    start(1);
    pool_init(&pool);
    for (int i = 0; i < 64; i++) /* 1, 1, 2 MiB */
        span[i] = take(&pool, 1);
    for (int i = 0; i < 64; i++)
        put(&pool, span[i], 1);
    EXPECT_EQ(pool.nempty, 1);
    EXPECT_EQ(th_mapped(box), 2 * MIB);
    uint64_t maps = th_counts().maps;
    put(&pool, take(&pool, 4), 4);
    EXPECT_EQ(th_counts().maps, maps);
    check(&pool);
}

TEST(the_kept_segment_goes_when_it_is_old)
{
    struct pool pool = {0};
    start(1);
    pool_init(&pool);
    uint64_t now_ms = box->host->now_ms();
    put(&pool, take(&pool, 1), 1);
    pool_age(&segments, &pool, now_ms - 1);
    EXPECT_EQ(th_mapped(box), MIB);
    pool_age(&segments, &pool, now_ms);
    EXPECT_EQ(th_mapped(box), 0);
    check(&pool);
}

TEST(none_kept_when_none_are_to_be)
{
    struct pool pool = {0};
    start(0);
    pool_init(&pool);
    put(&pool, take(&pool, 3), 3);
    EXPECT_EQ(th_mapped(box), 0);
    check(&pool);
}

/* ---- shared and foreign ------------------------------------------------ */

TEST(closed_pools_segments_are_adopted)
{
    struct pool ended = {0}, other = {0};
    start(1);
    pool_init(&ended);
    pool_init(&other);
    struct span_at live = take(&ended, 2);
    pool_close(&segments, &ended);
    check(&ended);
    EXPECT_EQ(ended.held_bytes, 0);
    EXPECT_EQ(segments.shared.held_bytes, MIB);
    struct span_at got = take(&other, 2);
    EXPECT_EQ((uintptr_t)got.segment, (uintptr_t)live.segment);
    EXPECT_EQ(th_mapped(box), MIB);
    check(&other);
    put(&other, live, 2);
    put(&other, got, 2);
    EXPECT_EQ(other.nempty, 1);
    check(&other);
}

TEST(closing_gives_empty_segments_back)
{
    struct pool pool = {0};
    start(4);
    pool_init(&pool);
    put(&pool, take(&pool, 2), 2);
    EXPECT_EQ(th_mapped(box), MIB);
    pool_close(&segments, &pool);
    EXPECT_EQ(th_mapped(box), 0);
    check(&pool);
}

TEST(the_last_span_of_a_shared_segment_gives_it_back)
{
    struct pool ended = {0}, other = {0};
    start(1);
    pool_init(&ended);
    pool_init(&other);
    struct span_at a = take(&ended, 1), b = take(&ended, 4);
    pool_close(&segments, &ended);
    put(&other, a, 1);
    check(&other);
    EXPECT_EQ(th_mapped(box), MIB);
    put(NULL, b, 4);
    EXPECT_EQ(th_mapped(box), 0);
    check(&other);
}

TEST(the_owner_finds_what_others_gave_back)
{
    struct pool owner = {0}, other = {0};
    struct span_at span[16];
    start(1);
    pool_init(&owner);
    pool_init(&other);
    for (int i = 0; i < 16; i++)
        span[i] = take(&owner, 1);
    EXPECT_EQ(owner.bin[0].next != &owner.bin[0], 1);
    for (int i = 0; i < 4; i++)
        put(i % 2 ? &other : NULL, span[i], 1);
    EXPECT_EQ(owner.returned, 1);
    EXPECT_EQ((uintptr_t)take(&owner, 4).segment, (uintptr_t)span[0].segment);
    EXPECT_EQ(th_mapped(box), MIB);
    check(&owner);
}

/* ---- purge ------------------------------------------------------------- */

TEST(free_granules_are_purged_at_the_second_tick)
{
    struct pool pool = {0};
    start(1);
    pool_init(&pool);
    struct span_at a = take(&pool, 1), b = take(&pool, 1), c = take(&pool, 2);
    EXPECT_EQ(purge_as(&pool, false), 0);
    EXPECT_EQ(purge_as(&pool, false), MIB - (4 << 16));
    EXPECT_EQ(purge_as(&pool, false), 0);
    put(&pool, b, 1);
    EXPECT_EQ(purge_as(&pool, false), 0);
    put(&pool, take(&pool, 1), 1); /* used again: young again */
    EXPECT_EQ(purge_as(&pool, false), 0);
    EXPECT_EQ(purge_as(&pool, false), 1 << 16);
    put(&pool, c, 2);
    EXPECT_EQ(purge_as(&pool, true), 2 << 16);
    EXPECT_EQ(purge_as(&pool, true), 0);
    EXPECT_EQ(segments_free_bytes(&segments), MIB - (1 << 16));
    put(&pool, a, 1);
    check(&pool);
}

TEST(anybody_may_purge)
{
    struct pool owner = {0};
    start(1);
    pool_init(&owner);
    struct span_at a = take(&owner, 1);
    uint64_t purges = th_counts().purges;
    EXPECT_EQ(purge_as(NULL, true), 15 << 16);
    EXPECT_EQ(th_counts().purges, purges + 1);
    EXPECT_EQ(take(&owner, 4).first, 1);
    EXPECT_EQ(th_mapped(box), MIB);
    put(&owner, a, 1);
    check(&owner);
}

/* ---- no memory --------------------------------------------------------- */

TEST(nothing_is_lost_when_the_host_fails)
{
    struct pool pool = {0};
    start(1);
    pool_init(&pool);
    for (uint64_t nth = 1; nth <= 2; nth++) { /* meta, map */
        th_fail_at(nth);
        EXPECT(take(&pool, 1).segment == NULL);
        th_fail_never();
        check(&pool);
        EXPECT_EQ(th_mapped(box), 0);
    }
    uint64_t metas = th_counts().metas;
    EXPECT(take(&pool, 1).segment != NULL);
    EXPECT_EQ(th_counts().metas, metas); /* the struct was kept */
    check(&pool);
}

static void *map_one_mib(struct hak_box *b, size_t size_bytes, size_t align,
                         uint32_t flags)
{
    return size_bytes > MIB ? NULL
                            : th_host()->map(b, size_bytes, align, flags);
}

TEST(a_small_segment_when_there_is_no_large_one)
{
    struct pool pool = {0};
    start(1);
    pool_init(&pool);
    struct hak_host host = *box->host;
    host.map = map_one_mib;
    box->host = &host;
    for (int i = 0; i < 6 * 16; i++)
        EXPECT(take(&pool, 1).segment != NULL);
    EXPECT_EQ(th_mapped(box), 6 * MIB);
    check(&pool);
}

/* ---- two givers of one segment ------------------------------------------- */

static void *put_one(void *span)
{
    put(NULL, *(struct span_at *)span, 1);
    return NULL;
}

/*
 * Both have given the last granules of a shared segment and wait for the lock.
 * The first to get it disposes of the segment, while the second comes to it.
 */
static void give_last_two(struct span_at span[2])
{
    pthread_t giver[2];
    struct segment *segment = span[0].segment;
    EXPECT_EQ((uintptr_t)segment, (uintptr_t)span[1].segment);
    uint64_t whole = segment_whole(segment);
    hak_lock_take(&segments.lock);
    for (int i = 0; i < 2; i++)
        pthread_create(&giver[i], NULL, put_one, &span[i]);
    while (__atomic_load_n(&segment->free, __ATOMIC_RELAXED) != whole)
        usleep(100);
    usleep(5000); /* to the lock; else this round shows nothing */
    hak_lock_drop(&segments.lock);
    for (int i = 0; i < 2; i++)
        pthread_join(giver[i], NULL);
}

TEST(two_give_the_last_spans_of_a_shared_segment_at_once)
{
    start(1);
    for (int round = 0; round < 100; round++) {
        struct pool ended = {0};
        struct span_at span[2];
        pool_init(&ended);
        for (int i = 0; i < 2; i++)
            span[i] = take(&ended, 1);
        pool_close(&segments, &ended);
        give_last_two(span);
        segments_check(&segments);
        EXPECT_EQ(th_mapped(box), 0);
    }
}

/* ---- threads ----------------------------------------------------------- */

enum { THREADS = 3, SLOTS = 64, ROUNDS = TEST_TURNS(30000) };

static struct {
    pthread_mutex_t lock;
    struct span_at span[SLOTS];
    uint32_t n[SLOTS];
} exchange = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Swap what is in a slot of the exchange for what this thread has. */
static void swap(uint32_t at, struct span_at *span, uint32_t *n)
{
    pthread_mutex_lock(&exchange.lock);
    struct span_at other = exchange.span[at];
    uint32_t other_n = exchange.n[at];
    exchange.span[at] = *span;
    exchange.n[at] = *n;
    *span = other;
    *n = other_n;
    pthread_mutex_unlock(&exchange.lock);
}

static void *work(void *number)
{
    struct pool pool = {0};
    uint64_t seed = (uintptr_t)number;
    pool_init(&pool);
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t n = 1 + (uint32_t)random_below(&seed, SPAN_MAX);
        struct span_at span = take(&pool, n);
        EXPECT(span.segment != NULL);
        swap((uint32_t)random_below(&seed, SLOTS), &span, &n);
        if (n != 0)
            put(&pool, span, n);
        if (round % 1000 == 0)
            pool_age(&segments, &pool, UINT64_MAX);
        if (round % 3000 == 0)
            pool_close(&segments, &pool);
    }
    pool_close(&segments, &pool);
    return NULL;
}

static bool stop;

static void *purge(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        segments_purge(&segments, NULL, true);
    return NULL;
}

TEST(spans_given_back_by_other_threads_leave_no_segment)
{
    pthread_t thread[THREADS], purger;
    start(1);
    pthread_create(&purger, NULL, purge, NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(purger, NULL);
    segments_check(&segments);
    for (int i = 0; i < SLOTS; i++)
        if (exchange.n[i] != 0)
            put(NULL, exchange.span[i], exchange.n[i]);
    segments_check(&segments);
    EXPECT_EQ(th_mapped(box), 0);
}

TEST_MAIN()
