/* SPDX-License-Identifier: MIT
 * test_large.c - the box through its operations: sizes, parts of blocks,
 * realloc, figures.
 */
#include "test_large.h"

/* ---- sizes ------------------------------------------------------------- */

TEST(sizes_from_1_byte_on)
{
    start();
    for (size_t size = 1; size < 3 * MIB; size = size * 5 / 4 + 1) {
        char *p = th_malloc(box, size);
        EXPECT_EQ(th_usable(p), hak_round_up(size, PAGE));
        EXPECT_EQ(box->ops->slot_size(box, size), th_usable(p));
        p[0] = p[size - 1] = 1;
        EXPECT(th_owner(p) == box && th_owner(p + size - 1) == box);
        th_free(p);
    }
    check();
    EXPECT_EQ(stats().live_count, 0);
}

TEST(more_than_there_is)
{
    start();
    const size_t sizes[] = {PTRDIFF_MAX, PTRDIFF_MAX - 65536,
                            box->host->window_bytes + 1,
                            box->host->window_bytes};
    for (size_t i = 0; i < 4; i++) {
        EXPECT(box->ops->alloc(box, sizes[i]) == NULL || i == 3);
        EXPECT(box->ops->zalloc(box, sizes[i]) == NULL || i == 3);
        EXPECT(box->ops->aligned_alloc(box, GIB, sizes[i]) == NULL);
    }
    EXPECT_EQ(box->ops->slot_size(box, PTRDIFF_MAX), 0);
    EXPECT(box->ops->alloc(box, SIZE_MAX) == NULL);
    EXPECT(box->ops->zalloc(box, SIZE_MAX - 1) == NULL);
}

/* The box owns every address of a block of 1 GiB, and none beside it. */
TEST(one_gib)
{
    start();
    char *before = th_malloc(box, 1), *p = th_malloc(box, GIB);
    if (p == NULL)
        SKIP("no room for a GiB");
    for (size_t at = 0; at < GIB; at += 12345677)
        EXPECT(box->ops->owns(box, p + at));
    EXPECT(box->ops->owns(box, p + GIB - 1));
    EXPECT(!box->ops->owns(box, p + GIB));
    EXPECT_EQ(th_usable(p), GIB);
    EXPECT_LE(th_resident(), 8 * MIB + GIB / 16); /* the host's fill */
    th_free(p);
    EXPECT(!box->ops->owns(box, p + GIB / 2)); /* above direct_bytes */
    th_free(before);
    check();
}

TEST(alignments_up_to_a_gib)
{
    with("near_bytes=0");
    start();
    for (size_t align = 32; align <= GIB; align *= 2) {
        void *p = th_aligned_alloc(box, align, 100 * KIB);
        if (p == NULL && align >= 64 * MIB)
            continue;
        EXPECT(p != NULL && ((uintptr_t)p & (align - 1)) == 0);
        EXPECT_EQ(th_usable(p), 100 * KIB);
        th_free(p);
    }
    check();
    EXPECT_GT(counter("cache_hits"), 10); /* every block is 64 KiB aligned */
}

/* ---- split and joined -------------------------------------------------- */

TEST(parts_of_a_kept_block_and_the_whole_again)
{
    static const size_t size[] = {8 * MIB, 7 * MIB, 5 * MIB - 100};
    char *p[3];
    with("shards=1");
    start();
    char *whole = th_malloc(box, 20 * MIB);
    fill(whole, 20 * MIB, 1);
    th_free(whole);
    uint64_t calls = host_calls();
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 3; i++) {
            p[i] = th_malloc(box, size[i]);
            EXPECT(p[i] >= whole && p[i] + size[i] <= whole + 20 * MIB);
            fill(p[i], size[i], (uint64_t)i);
        }
        check();
        for (int i = 0; i < 3; i++)
            expect_filled(p[i], size[i], (uint64_t)i);
        for (int i = 0; i < 3; i++)
            th_free(p[(round + i) % 3]);
        char *again = th_malloc(box, 19 * MIB);
        EXPECT(again >= whole && again < whole + MIB);
        fill(again, 19 * MIB, 9);
        check();
        th_free(again);
    }
    EXPECT_EQ(host_calls(), calls);
    EXPECT_EQ(counter("maps"), 1);
    EXPECT_EQ(stats().cached_bytes, 20 * MIB);
    EXPECT_EQ(box->ops->trim(box), 20 * MIB);
    EXPECT_EQ(th_mapped(box), 0);
    check();
}

/* A block that was joined from two mappings grows, moves, shrinks and is given
 * back like any other. */
TEST(a_union_of_mappings_is_resized)
{
    start();
    void *p = th_malloc(box, 5 * MIB), *q = th_malloc(box, 5 * MIB);
    void *barrier = th_malloc(box, 64 * KIB);
    th_free(p);
    th_free(q);
    p = th_malloc(box, 9 * MIB);
    EXPECT_EQ(counter("maps"), 3);
    fill(p, 9 * MIB, 3);
    p = th_realloc(box, p, 40 * MIB);
    EXPECT(p != NULL);
    expect_filled(p, 9 * MIB, 3);
    p = th_realloc(box, p, 2 * MIB);
    EXPECT(p != NULL);
    expect_filled(p, 2 * MIB, 3);
    check();
    th_free(p);
    th_free(barrier);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
}

TEST(requests_up_to_a_mib_take_no_part_of_a_longer_block)
{
    with("near_bytes=0");
    start();
    th_free(th_malloc(box, 4 * MIB));
    void *p = th_malloc(box, MIB);
    EXPECT_EQ(counter("maps"), 2);
    EXPECT_EQ(stats().cached_bytes, 4 * MIB);
    th_free(p);
}

TEST(cache_bytes_bounds_it_all)
{
    void *p[100];
    with("cache_bytes=10M");
    with("shards=4");
    params[0] = "learn=off";
    start();
    for (int i = 0; i < 100; i++)
        p[i] = th_malloc(box, 700 * KIB);
    for (int i = 0; i < 100; i++) {
        th_free(p[i]);
        EXPECT_LE(stats().cached_bytes, 10 * MIB);
    }
    EXPECT_GT(stats().cached_bytes, 9 * MIB);
    EXPECT_EQ(th_set_param(box, "cache_bytes=0"), 0);
    EXPECT_EQ(stats().cached_bytes, 0);
    th_free(th_malloc(box, 64 * KIB));
    EXPECT_EQ(stats().cached_bytes, 0);
    EXPECT_EQ(th_mapped(box), 0);
    check();
}

/* ---- realloc ----------------------------------------------------------- */

TEST(resize_in_place)
{
    start();
    char *p = th_malloc(box, 40 * KIB);
    fill(p, 40 * KIB, 1);
    uint64_t calls = host_calls();
    EXPECT(box->ops->resize(box, p, 60 * KIB) == p);
    EXPECT_EQ(box->ops->usable_size(box, p), 60 * KIB);
    EXPECT_EQ(stats().live_bytes, 60 * KIB);
    EXPECT(box->ops->resize(box, p, 33 * KIB) == p);
    EXPECT(box->ops->resize(box, p, 40 * KIB) == p);
    EXPECT_EQ(host_calls(), calls);
    expect_filled(p, 33 * KIB, 1);
    EXPECT(box->ops->resize(box, p, 100) == NULL);      /* for a smaller box */
    EXPECT(box->ops->resize(box, p, 65 * KIB) == NULL); /* a copy is cheaper */
    EXPECT(box->ops->resize(box, p, SIZE_MAX) == NULL);
    EXPECT(box->ops->resize(box, p, 0) == NULL);
    EXPECT(box->ops->resize(box, p + PAGE, 40 * KIB) == NULL);
    EXPECT_EQ(box->ops->usable_size(box, p), 40 * KIB);
    check();
}

TEST(resize_gives_the_tail_back)
{
    start();
    char *p = th_malloc(box, 10 * MIB);
    fill(p, 10 * MIB, 2);
    p = th_realloc(box, p, 9 * MIB);
    EXPECT_EQ(th_mapped(box), 10 * MIB); /* within `waste`: nothing goes back */
    EXPECT_EQ(stats().live_bytes, 9 * MIB);
    p = th_realloc(box, p, 2 * MIB);
    EXPECT_EQ(th_mapped(box), 2 * MIB);
    EXPECT_EQ(th_usable(p), 2 * MIB);
    EXPECT(!box->ops->owns(box, p + 2 * MIB));
    expect_filled(p, 2 * MIB, 2);
    th_free(p);
    check();
    EXPECT_EQ(stats().cached_bytes, 2 * MIB);
}

TEST(resize_grows_by_remap)
{
    start();
    char *p = th_malloc(box, MIB);
    fill(p, MIB, 3);
    size_t size = MIB, steps = 0;
    for (; size < 40 * MIB; size += 256 * KIB, steps++) {
        p = th_realloc(box, p, size);
        expect_filled(p, MIB, 3);
        EXPECT(th_owner(p + size - 1) == box);
    }
    EXPECT_LT(th_counts().remaps, steps / 3); /* each maps an eighth more */
    EXPECT_EQ(th_counts().maps, 1);
    check();
    th_free(p);
    EXPECT_EQ(stats().live_bytes, 0);
    check();
}

TEST(resize_fails_whole)
{
    start();
    char *p = th_malloc(box, 2 * MIB);
    fill(p, 2 * MIB, 4);
    th_free(th_malloc(box, MIB)); /* goes back before the second try of remap */
    th_fail_at(1);
    EXPECT(th_realloc(box, p, 8 * MIB) == NULL);
    EXPECT_EQ(stats().cached_bytes, 0);
    EXPECT(th_realloc(box, p, MIB) == p); /* remap fails, so the tail stays */
    EXPECT_EQ(th_mapped(box), 2 * MIB);
    th_fail_never();
    expect_filled(p, 2 * MIB, 4);
    check();
    uint64_t maps = th_counts().maps;
    p = th_realloc(box, p, 8 * MIB);
    EXPECT(p != NULL && th_counts().maps == maps);
    expect_filled(p, MIB, 4);
    check();
}

/* realloc to random sizes keeps the content. */
TEST(realloc_keeps_content)
{
    enum { BLOCKS = 12 };
    char *p[BLOCKS] = {NULL};
    size_t n[BLOCKS] = {0};
    with("remap_bytes=256k");
    start();
    for (int i = 0; i < 3000; i++) {
        size_t k = rnd(BLOCKS);
        size_t size = 1 + rnd(32 * KIB << rnd(8));
        expect_filled(p[k], n[k], k);
        p[k] = th_realloc(box, p[k], size);
        expect_filled(p[k], hak_min(n[k], size), k);
        fill(p[k], size, k);
        n[k] = size;
        th_clock_add(rnd(8) == 0 ? 100 : 0);
        if (i % 50 == 0)
            check();
    }
    for (int k = 0; k < BLOCKS; k++)
        th_free(p[k]);
    check();
}

/* ---- figures ----------------------------------------------------------- */

static bool sum_slots(void *context, void *p, size_t slot_bytes)
{
    EXPECT_EQ(box->ops->usable_size(box, p), slot_bytes);
    *(size_t *)context += slot_bytes;
    return true;
}

static bool stop_at_once(void *context, void *p, size_t slot_bytes)
{
    (void)p;
    (void)slot_bytes;
    ++*(size_t *)context;
    return false;
}

TEST(stats_and_visits)
{
    start();
    void *a = th_malloc(box, 100 * KIB), *b = th_malloc(box, 5 * MIB);
    void *c = th_malloc(box, 40 * KIB);
    struct hak_box_stats s = stats();
    EXPECT_EQ(s.live_count, 3);
    EXPECT_EQ(s.live_bytes, 140 * KIB + 5 * MIB);
    EXPECT_EQ(s.peak_bytes, s.live_bytes);
    EXPECT_EQ(s.cached_bytes, 0);
    th_free(b);
    size_t sum = 0, visits = 0;
    box->ops->visit_slots(box, sum_slots, &sum);
    box->ops->visit_slots(box, stop_at_once, &visits);
    EXPECT_EQ(visits, 1);
    EXPECT_EQ(sum, 140 * KIB);
    s = stats();
    EXPECT_EQ(s.live_count, 2);
    EXPECT_EQ(s.live_bytes, 140 * KIB);
    EXPECT_EQ(s.peak_bytes, 140 * KIB + 5 * MIB);
    EXPECT_EQ(s.cached_bytes, 5 * MIB);
    EXPECT_EQ(box->ops->trim(box), 5 * MIB);
    EXPECT_EQ(box->ops->trim(box), 0);
    EXPECT_EQ(stats().retired_pages, 1);
    EXPECT_EQ(th_mapped(box), 192 * KIB);
    th_free(a);
    th_free(c);
    check();
    EXPECT(box->ops->get_extension(box, "hak.counters/2") == NULL);
}

TEST(draining_keeps_nothing)
{
    start();
    void *a = th_malloc(box, 100 * KIB), *b = th_malloc(box, 100 * KIB);
    th_free(a);
    th_drain(box);
    EXPECT_EQ(stats().cached_bytes, 0);
    EXPECT(box->ops->owns(box, b));
    th_free(b);
    EXPECT_EQ(th_mapped(box), 0);
    check();
}

TEST(two_instances)
{
    struct hak_box *other;
    start();
    EXPECT_EQ(th_open_entry(&hak_box_entry, "second", NULL, 0, &other), 0);
    void *p = th_malloc(box, MIB), *q = th_malloc(other, MIB);
    EXPECT(th_owner(p) == box && th_owner(q) == other);
    th_free(p);
    th_free(q);
    check();
    large_check(large_of(other));
}

/* In a child the thread that swept does not exist, so another one must sweep.
 */
TEST(a_child_sweeps_though_its_parent_was_at_it)
{
    start();
    large_of(box)->next_sweep_ms = UINT64_MAX;
    th_free(th_malloc(box, MIB));
    EXPECT_EQ(large_of(box)->next_sweep_ms, UINT64_MAX);
    box->ops->fork(box, HAK_FORK_PREPARE);
    box->ops->fork(box, HAK_FORK_CHILD);
    th_free(th_malloc(box, MIB));
    EXPECT_NE(large_of(box)->next_sweep_ms, UINT64_MAX);
    check();
}

TEST_MAIN()
