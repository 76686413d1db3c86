/* SPDX-License-Identifier: MIT
 * test_midmt.c - the box in one thread: sizes, reuse, giving memory back.
 */
#include "midmt.h"

#include "test.h"
#include "testhost.h"

enum { KIB = 1024, MIB = 1 << 20, MOST = 256 * KIB };

static struct hak_box *start(const char *const *params, unsigned flags)
{
    struct hak_box *box = NULL;
    if (th_open_entry(&hak_box_entry, "midmt", params, flags, &box) != 0)
        test_fail(__FILE__, __LINE__, "%s", th_error());
    return box;
}

static void check(struct hak_box *box)
{
    midmt_check(midmt_of(box));
}

static struct hak_box_stats stats_of(struct hak_box *box)
{
    struct hak_box_stats stats = {0};
    box->ops->stats(box, &stats);
    return stats;
}

static size_t first_segment(const struct hak_box *box)
{
    return midmt_of(box)->segments.min_bytes;
}

/* Slots of a page for the largest requests. */
static int most_slots(void)
{
    return (int)((midmt_page_granules(MOST) << HAK_GRANULE_SHIFT) / MOST);
}

static uint64_t free_map(const void *p, const struct hak_box *box)
{
    return segments_find(&midmt_of(box)->segments, p)->free;
}

/* ---- sizes ------------------------------------------------------------- */

TEST(classes_waste_an_eighth_and_a_line_at_most)
{
    struct hak_box *box = start(NULL, 0);
    for (size_t size = 1; size <= MOST; size++) {
        size_t slot = box->ops->slot_size(box, size);
        EXPECT_GE(slot, size);
        EXPECT_EQ(slot % HAK_ALIGN_BYTES, 0);
        if (size > KIB) /* 9 of 8 steps: less than 1/8 of it, and a line */
            EXPECT_LT(slot * 8, size * 9 + 8 * 64);
        else
            EXPECT_EQ(slot, KIB);
    }
    EXPECT_EQ(box->ops->slot_size(box, MOST + 1), 0);
}

TEST(slots_begin_in_every_set_of_a_cache)
{
    enum { LINE = 64, SETS = 64, ENOUGH = SETS / 2 };
    for (size_t size = KIB + 1; size <= MOST; size += 64) {
        size_t slot = midmt_slot_bytes(midmt_class(size));
        uint64_t sets = 0;
        for (size_t i = 0; i < SETS; i++)
            sets |= 1ull << (i * slot / LINE % SETS);
        EXPECT_GE(__builtin_popcountll(sets), ENOUGH);
    }
}

TEST(pages_have_slots_enough_and_little_tail)
{
    for (uint32_t c = 0; c < MIDMT_CLASSES; c++) {
        uint32_t slot = midmt_slot_bytes(c);
        uint32_t n = midmt_page_granules(slot);
        uint32_t bytes = n << HAK_GRANULE_SHIFT;
        EXPECT_LE(n, SEGMENT_RUN_MAX);
        EXPECT_GE(bytes / slot, 7);
        EXPECT_LE(bytes / slot, HAK_PAGE_SLOTS_MAX);
        if (n < SEGMENT_RUN_MAX)
            EXPECT_LE(bytes % slot, bytes / 16);
    }
}

static void every_size(unsigned flags)
{
    static void *held[MOST + 1];
    struct hak_box *box = start(NULL, flags);
    for (size_t size = 1; size <= MOST; size += 13 + size / 64) {
        char *p = held[size] = th_malloc(box, size);
        EXPECT(p != NULL);
        EXPECT_EQ(th_usable(p), box->ops->slot_size(box, size));
        EXPECT_EQ((uintptr_t)th_owner(p), (uintptr_t)box);
        memset(p, (int)size, th_usable(p));
    }
    check(box);
    for (size_t size = 1; size <= MOST; size++) {
        const char *p = held[size];
        if (p == NULL)
            continue;
        EXPECT_EQ(p[0], (char)size);
        EXPECT_EQ(p[size - 1], (char)size);
        th_free(held[size]);
    }
    check(box);
    th_flush();
    EXPECT_EQ(stats_of(box).live_count, th_live(box, true));
    EXPECT(th_malloc(box, MOST + 1) == NULL);
}

TEST(every_size_with_lanes)
{
    every_size(0);
}

TEST(every_size_without_lanes)
{
    every_size(TH_NO_LANES);
}

TEST(aligned_where_a_slot_allows)
{
    struct hak_box *box = start(NULL, 0);
    for (size_t align = 32; align <= 2 * MOST; align *= 2)
        for (size_t size = 1; size <= MOST; size += 97 + size / 32) {
            void *p = th_aligned_alloc(box, align, size);
            EXPECT_EQ(p != NULL, align <= HAK_GRANULE_BYTES); /* the host
                                                         checks the rest */
            if (size % 3 == 0)
                th_free(p);
        }
    EXPECT(th_aligned_alloc(box, 64, MOST + 1) == NULL);
    EXPECT(box->ops->aligned_alloc(box, 64, PTRDIFF_MAX) == NULL);
    check(box);
}

TEST(wrong_parameters_are_refused)
{
    static const char *const params[] = {"segment_min=3M", "segment_max=2M",
                                         NULL};
    struct hak_box *box;
    EXPECT_EQ(th_open_entry(&hak_box_entry, "midmt", params, 0, &box), -EINVAL);
    EXPECT_CONTAINS(th_last_log(), "segment_min 3145728 is above");
}

TEST(odd_parameters_work)
{
    static const char *const params[] = {"segment_min=2200000",
                                         "segment_max=2200001",
                                         "empty_segments=0",
                                         "carve=262144",
                                         "warm=0",
                                         NULL};
    struct hak_box *box = start(params, 0);
    void *p[200];
    for (int i = 0; i < 200; i++)
        EXPECT((p[i] = th_malloc(box, MOST)) != NULL);
    check(box);
    for (int i = 0; i < 200; i++)
        th_free(p[i]);
    th_flush();
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
    check(box);
}

/* ---- little is taken, and kept ----------------------------------------- */

TEST(a_small_program_takes_one_small_segment)
{
    struct hak_box *box = start(NULL, 0);
    EXPECT_EQ(th_mapped(box), 0);
    EXPECT(th_malloc(box, 2000) != NULL);
    EXPECT(th_malloc(box, 9000) != NULL);
    EXPECT_EQ(th_mapped(box), first_segment(box));
    EXPECT_EQ(th_counts().maps, 1);
}

/* The host fills what it maps; purged, only what was used comes back. */
TEST(what_is_not_used_is_not_touched)
{
    struct hak_box *box = start(NULL, 0);
    EXPECT(th_malloc(box, KIB) != NULL);
    box->ops->trim(box);
    size_t before = th_resident();
    for (int i = 0; i < 4; i++) /* one page, slots with 3 OS pages each */
        EXPECT(th_malloc(box, 12 * KIB) != NULL);
    EXPECT_EQ(th_mapped(box), first_segment(box));
    EXPECT_EQ(th_resident() - before, 4 * 4096);
}

TEST(one_block_in_a_loop_costs_nothing_but_its_page)
{
    struct hak_box *box = start(NULL, 0);
    th_free(th_malloc(box, MOST));
    void *p = th_malloc(box, MOST);
    uint64_t map = free_map(p, box);
    struct th_counts before = th_counts();
    for (int i = 0; i < 10000; i++) {
        th_free(p);
        p = th_malloc(box, MOST);
        EXPECT_EQ(free_map(p, box), map);
    }
    struct th_counts now = th_counts();
    EXPECT_EQ(now.maps + now.unmaps + now.purges + now.metas,
              before.maps + before.unmaps + before.purges + before.metas);
    EXPECT_EQ(stats_of(box).retired_pages, 0);
}

/* One slot more than a page has, so that a page fills and empties each time. */
TEST(a_page_that_comes_and_goes_keeps_its_span)
{
    struct hak_box *box = start(NULL, 0);
    const int n = most_slots() + 1;
    void *p[64];
    struct th_counts before = {0};
    uint64_t map = 0;
    for (int round = 0; round < 1000; round++) {
        for (int i = 0; i < n; i++)
            p[i] = th_malloc(box, MOST);
        if (round == 0) {
            map = free_map(p[0], box);
            before = th_counts();
        }
        EXPECT_EQ(free_map(p[0], box), map);
        for (int i = 0; i < n; i++)
            th_free(p[i]);
    }
    EXPECT_EQ(th_counts().requests, before.requests);
    EXPECT_LE(stats_of(box).retired_pages, 2);
    check(box);
}

TEST(segments_come_and_go_without_the_host)
{
    struct hak_box *box = start(NULL, 0);
    static void *p[28];
    for (int i = 0; i < 28; i++)
        p[i] = th_malloc(box, 32 * KIB);
    EXPECT_EQ(th_mapped(box), first_segment(box));
    uint64_t maps = 0;
    for (int round = 0; round < 100; round++) {
        void *more[28];
        for (int i = 0; i < 28; i++)
            more[i] = th_malloc(box, 28 * KIB);
        for (int i = 0; i < 28; i++)
            th_free(more[i]);
        if (round == 0)
            maps = th_counts().maps;
    }
    EXPECT_EQ(th_counts().maps, maps);
    for (int i = 0; i < 28; i++)
        th_free(p[i]);
    check(box);
}

/* ---- memory goes back -------------------------------------------------- */

static void burst_of(struct hak_box *box, size_t size_bytes, size_t n)
{
    void *p[512];
    for (size_t i = 0; i < n; i++)
        EXPECT((p[i] = th_malloc(box, size_bytes)) != NULL);
    for (size_t i = 0; i < n; i++)
        th_free(p[i]);
}

static void burst(struct hak_box *box, size_t total)
{
    static void *p[65536];
    size_t n = total / (64 * KIB);
    for (size_t i = 0; i < n; i++)
        EXPECT((p[i] = th_malloc(box, 1 + i * 7919 % MOST)) != NULL);
    for (size_t i = 0; i < n; i++)
        th_free(p[i]);
    th_flush();
}

TEST(trim_leaves_nothing)
{
    struct hak_box *box = start(NULL, 0);
    burst(box, 64 * MIB);
    size_t mapped = th_mapped(box);
    EXPECT_GT(mapped, 0);
    EXPECT_GE(box->ops->trim(box), mapped);
    EXPECT_EQ(th_mapped(box), 0);
    EXPECT_EQ(th_live(box, true), 0);
    EXPECT_EQ(stats_of(box).live_count, 0);
    EXPECT_EQ(stats_of(box).cached_bytes, 0);
    EXPECT_EQ(box->ops->trim(box), 0);
    check(box);
}

TEST(trim_without_lanes_leaves_nothing)
{
    struct hak_box *box = start(NULL, TH_NO_LANES);
    burst(box, 16 * MIB);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
    check(box);
}

static void let_age(struct hak_box *box)
{
    for (int i = 0; i < 4; i++) {
        void *p[1200]; /* refills enough for a tick and for the kit's aging */
        th_clock_add(600);
        for (int j = 0; j < 1200; j++)
            p[j] = th_malloc(box, KIB);
        for (int j = 0; j < 1200; j++)
            th_free(p[j]);
    }
}

TEST(warm_pages_serve_again_or_go)
{
    struct hak_box *box = start(NULL, 0);
    burst_of(box, 4 * KIB, 512);
    struct hak_heap *heap = box->host->heap(box, false);
    uint64_t warm_bytes = heap->kept_bytes, sets = th_counts().metas;
    EXPECT_GE(warm_bytes, MIB / 2);
    EXPECT_LE(warm_bytes, 2 * MIB);
    burst_of(box, 4 * KIB, 512);
    EXPECT_EQ(heap->kept_bytes, warm_bytes);
    EXPECT_EQ(th_counts().metas, sets);
    check(box);
    let_age(box);
    EXPECT_EQ(heap->bin[midmt_class(4 * KIB)].nkept, 0);
    check(box);
}

/* A block here and there holds its segment; the rest leaves memory. */
TEST(free_spans_leave_memory_after_the_delay)
{
    struct hak_box *box = start(NULL, 0);
    static char *p[8192]; /* 16 of them stay, each in a page of its own */
    size_t page_bytes = midmt_page_granules(8 * KIB) << HAK_GRANULE_SHIFT;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 8192; i++) {
            if (round != 0 && i % 512 == 0)
                continue;
            p[i] = th_malloc(box, 8 * KIB);
            memset(p[i], 1, 8 * KIB);
        }
        EXPECT_GE(th_resident(), 64 * MIB);
        for (int i = 0; i < 8192; i++)
            if (i % 512 != 0)
                th_free(p[i]);
        EXPECT_GE(th_mapped(box), 32 * MIB);
        let_age(box);
        EXPECT_LE(th_resident(), 16 * page_bytes + 3 * MIB);
    }
    EXPECT_EQ(p[512][8 * KIB - 1], 1);
    check(box);
}

/* One of them is out, so that their page stays; the link's page stays, too. */
static void free_slots_leave(void (*after)(struct hak_box *))
{
    struct hak_box *box = start(NULL, 0);
    char *p[8];
    after(box); /* its own blocks */
    for (int i = 0; i < 8; i++) {
        p[i] = th_malloc(box, 200 * KIB);
        memset(p[i], i, 200 * KIB);
    }
    size_t full = th_resident();
    EXPECT_GE(full, 1600 * KIB);
    for (int i = 1; i < 8; i++)
        th_free(p[i]);
    after(box);
    EXPECT_LE(th_resident(), full - (7 * 196 - 32) * KIB);
    EXPECT_EQ(p[0][200 * KIB - 1], 0);
    struct th_counts counts = th_counts();
    after(box); /* once is enough */
    EXPECT_EQ(th_counts().purges, counts.purges);
    memset(p[1] = th_malloc(box, 200 * KIB), 1, 200 * KIB);
    th_free(p[1]);
    after(box);
    EXPECT_GT(th_counts().purges, counts.purges);
    check(box);
}

TEST(free_large_slots_leave_memory_after_the_delay)
{
    free_slots_leave(let_age);
}

static void trim(struct hak_box *box)
{
    box->ops->trim(box);
}

TEST(free_large_slots_leave_memory_by_trim)
{
    free_slots_leave(trim);
}

TEST(ticks_come_with_refills_too)
{
    struct hak_box *box = start(NULL, 0);
    burst(box, 8 * MIB);
    uint64_t purges = th_counts().purges;
    for (int i = 0; i < 4 * 64; i++) {
        const int n = 2 * most_slots() + 1; /* three pages: refills */
        void *p[128];
        th_clock_add(50);
        for (int j = 0; j < n; j++)
            p[j] = th_malloc(box, MOST);
        for (int j = 0; j < n; j++)
            th_free(p[j]);
    }
    EXPECT_GT(th_counts().purges, purges);
    EXPECT_LE(stats_of(box).cached_bytes, 8 * MIB); /* one empty, one not */
    check(box);
}

TEST(parameters_change_while_it_runs)
{
    struct hak_box *box = start(NULL, 0);
    EXPECT_EQ(th_set_param(box, "empty_segments=8"), 0);
    EXPECT_EQ(th_set_param(box, "carve=8192"), -EPERM);
    EXPECT_EQ(th_set_param(box, "warm=64k"), 0);
    burst(box, 32 * MIB);
    EXPECT_GE(th_mapped(box), 8 * MIB);
    struct hak_heap *heap = box->host->heap(box, false);
    struct midmt_heap *own = heap->own;
    EXPECT_GE(own->pool.nempty, 2);
    EXPECT_LE(heap->kept_bytes, 64 * KIB);
    check(box);
}

/* ---- figures, walks ---------------------------------------------------- */

struct seen {
    size_t n, bytes;
    void *stop_at;
};

static bool see(void *context, void *p, size_t slot_bytes)
{
    struct seen *seen = context;
    seen->n++;
    seen->bytes += slot_bytes;
    return p != seen->stop_at;
}

TEST(walk_and_stats_agree)
{
    struct hak_box *box = start(NULL, 0);
    static void *p[3000];
    for (size_t i = 0; i < 3000; i++)
        p[i] = i % 5 == 0 ? th_aligned_alloc(box, 256, 1 + i * 37 % 30000)
                          : th_malloc(box, 1 + i * 37 % 30000);
    for (size_t i = 0; i < 3000; i += 3)
        th_free(p[i]);
    th_flush();
    struct seen seen = {0};
    box->ops->visit_slots(box, see, &seen);
    EXPECT_EQ(seen.n, th_live(box, true));
    EXPECT_EQ(stats_of(box).live_count, seen.n);
    EXPECT_GE(stats_of(box).peak_bytes, stats_of(box).live_bytes);
    EXPECT_GE(th_mapped(box),
              stats_of(box).live_bytes + stats_of(box).cached_bytes);
    seen = (struct seen){.stop_at = p[1]};
    box->ops->visit_slots(box, see, &seen);
    EXPECT_LT(seen.n, 3000);
}

TEST(two_instances_do_not_meet)
{
    struct hak_box *a = start(NULL, 0), *b = NULL;
    EXPECT_EQ(th_open_entry(&hak_box_entry, "other", NULL, 0, &b), 0);
    for (size_t i = 1; i < 2000; i++) {
        void *p = th_malloc(i % 2 ? a : b, i * 16);
        EXPECT_EQ((uintptr_t)th_owner(p), (uintptr_t)(i % 2 ? a : b));
        if (i % 3)
            th_free(p);
    }
    check(a);
    check(b);
}

TEST_DIES(a_stale_free, SIGABRT, "no slots there")
{
    struct hak_box *box = start(NULL, 0);
    char *p = th_malloc(box, 5000);
    th_malloc(box, 20000);
    th_free(p);
    th_flush();
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), first_segment(box));
    EXPECT(box->host->span_of(p) == NULL);
    EXPECT_EQ(box->ops->usable_size(box, p), 0);
    box->ops->free(box, p); /* its page is gone */
}

/* ---- no memory --------------------------------------------------------- */

/* Everything that can fail does, at every point; what was out stays whole. */
static void fail_everywhere(unsigned flags)
{
    struct hak_box *box = start(NULL, flags);
    static unsigned char *p[400];
    for (uint64_t nth = 1; nth < 60; nth += TEST_TSAN ? 7 : 1) {
        th_fail_at(nth);
        size_t n = 0;
        while (n < 400 && (p[n] = th_malloc(box, 1 + n * 83)) != NULL) {
            memset(p[n], (int)n, 1 + n * 83);
            n++;
        }
        check(box);
        th_fail_never();
        while (n-- != 0) {
            EXPECT_EQ(p[n][n * 83], (unsigned char)n);
            th_free(p[n]);
        }
        th_flush();
        box->ops->trim(box);
        EXPECT_EQ(th_mapped(box), 0);
        check(box);
    }
}

TEST(the_host_fails_everywhere)
{
    fail_everywhere(0);
}

TEST(the_host_fails_everywhere_without_lanes)
{
    fail_everywhere(TH_NO_LANES);
}

TEST_MAIN()
