/* SPDX-License-Identifier: MIT
 * test_large.c - the operations of the box, on the strict test host. */
#include "large.h"

#include "test.h"
#include "testhost.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
enum { PAGE = 4096, AGE = 1000 /* testhost's purge delay */, PARAMS = 8 };

static struct hak_box *box;
static const char *params[PARAMS + 1] = {"shards=1"};

static void with(const char *param)
{
    size_t i = 0;
    while (params[i] != NULL)
        i++;
    params[i] = param;
}

static void start(void)
{
    EXPECT_EQ(th_open_entry(&hak_box_entry, "large", params, 0, &box), 0);
}

static void check(void)
{
    large_check(large_of(box));
}

static struct hak_box_stats stats(void)
{
    struct hak_box_stats s;
    box->ops->stats(box, &s);
    return s;
}

static uint64_t counter(const char *name)
{
    const struct hak_counters_1 *counters =
        box->ops->get_extension(box, HAK_COUNTERS_1);
    struct hak_counter all[32];
    uint32_t n = counters->read(box, all, 32);
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].value;
    test_fail(__FILE__, __LINE__, "no counter %s", name);
}

static uint64_t host_calls(void)
{
    struct th_counts c = th_counts();
    return c.requests + c.unmaps + c.purges;
}

/* Fill a block with content that shows misplaced pages: a word at the start of
 * each page. */
static void fill(void *p, size_t n, uint64_t tag)
{
    for (size_t at = 0; at + 8 <= n; at += PAGE)
        *(uint64_t *)(void *)((char *)p + at) = tag + at;
}

static void expect_filled(const void *p, size_t n, uint64_t tag)
{
    for (size_t at = 0; at + 8 <= n; at += PAGE)
        EXPECT_EQ(*(const uint64_t *)(const void *)((const char *)p + at),
                  tag + at);
}

static void expect_zero(const char *p, size_t n)
{
    for (size_t at = 0; at < n; at++)
        if (p[at] != 0)
            test_fail(__FILE__, __LINE__, "byte %zu of %zu is %d", at, n,
                      p[at]);
}

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

/* ---- the cache --------------------------------------------------------- */

TEST(a_pair_needs_no_host)
{
    start();
    const size_t sizes[] = {33 * KIB, 40 * KIB, 64 * KIB, MIB, 8 * MIB};
    for (size_t i = 0; i < 5; i++) {
        void *p = th_malloc(box, sizes[i]);
        th_free(p);
        uint64_t calls = host_calls();
        for (int k = 0; k < 1000; k++) {
            void *q = th_malloc(box, sizes[i]);
            EXPECT(q == p);
            th_free(q);
        }
        EXPECT_EQ(host_calls(), calls);
    }
    check();
}

TEST(a_kept_block_is_not_cleared_but_calloc_is)
{
    with("zero_map_bytes=1M");
    start();
    const size_t sizes[] = {33000, 100000, MIB - PAGE, MIB, 3 * MIB};
    for (size_t i = 0; i < 5; i++) {
        char *p = th_malloc(box, sizes[i]);
        memset(p, 0xff, th_usable(p));
        th_free(p);
        uint64_t maps = th_counts().maps;
        p = th_zalloc(box, sizes[i]);
        expect_zero(p, th_usable(p));
        EXPECT_EQ(th_counts().maps - maps, i >= 3);
        th_free(p);
        check();
    }
}

/* purge may leave the content as it was (locked memory). calloc clears then. */
TEST(calloc_does_not_trust_purge)
{
    th_purge_keeps(true);
    start();
    for (size_t size = 100 * KIB; size <= 20 * MIB; size *= 3) {
        char *p = th_malloc(box, size);
        memset(p, 0xff, size);
        th_free(p);
        p = th_zalloc(box, size);
        expect_zero(p, th_usable(p));
        th_free(p);
    }
}

/* calloc above zero_map_bytes maps each time, but kept blocks do not add up. */
TEST(calloc_and_free_keep_one_block)
{
    start();
    for (int i = 0; i < 20; i++)
        th_free(th_zalloc(box, 8 * MIB));
    EXPECT_EQ(stats().cached_bytes, 8 * MIB);
    EXPECT_EQ(th_mapped(box), 8 * MIB);
    check();
}

TEST(old_blocks_go_with_later_calls)
{
    with("near_bytes=0");
    start();
    void *old[24];
    for (int i = 0; i < 24; i++)
        old[i] = th_malloc(box, (300 + 40 * (size_t)i) * KIB);
    for (int i = 0; i < 24; i++)
        th_free(old[i]);
    uint64_t kept = stats().cached_bytes;
    EXPECT_GT(kept, 5 * MIB);
    th_clock_add(AGE - 1);
    th_free(th_malloc(box, 64 * KIB));
    EXPECT_EQ(stats().cached_bytes, kept + 64 * KIB);
    th_clock_add(AGE / 2);
    void *p = th_malloc(box, 130 * KIB); /* gives back 16 in this call */
    EXPECT_EQ(counter("cache_unused"), 16);
    EXPECT_LT(stats().cached_bytes, kept);
    for (int i = 0; i < 3; i++)
        th_free(th_malloc(box, 20 * KIB));
    EXPECT_EQ(stats().cached_bytes, 64 * KIB);
    th_free(p);
    check();
}

TEST(an_age_of_its_own)
{
    with("cache_age_ms=50");
    start();
    th_free(th_malloc(box, MIB));
    th_clock_add(51);
    th_free(th_malloc(box, 64 * KIB)); /* busy: 1 MiB was requested */
    th_clock_add(25);
    th_free(th_malloc(box, 128 * KIB));
    EXPECT_EQ(stats().cached_bytes, (64 + 128) * KIB);
}

/* cache_min_bytes may always be kept, and more only in proportion to what was
 * live of late. */
TEST(kept_is_bounded_by_what_was_live)
{
    void *p[32];
    with("cache_min_bytes=4M");
    with("direct_bytes=1G");
    start();
    for (int i = 0; i < 32; i++)
        p[i] = th_malloc(box, MIB);
    for (int i = 0; i < 32; i++) {
        th_free(p[i]);
        struct hak_box_stats s = stats();
        EXPECT_LE(s.live_bytes + s.cached_bytes, 40 * MIB);
    }
    EXPECT_EQ(stats().cached_bytes, 32 * MIB); /* all was live just before */
    for (int i = 0; i < 3; i++) {              /* let three stretches pass */
        th_clock_add(AGE / 2);
        th_free(th_malloc(box, MIB));
        th_clock_add(AGE / 2 + 1);
        th_free(th_malloc(box, MIB));
    }
    EXPECT_LE(counter("cache_room_bytes"), 4 * MIB);
    EXPECT_LE(stats().cached_bytes, 4 * MIB);
    check();
}

/* The bound also holds after a block was mapped, not only after a free. */
TEST(kept_gives_way_to_what_becomes_live)
{
    void *p[8] = {0};
    uint64_t seed = 5, most = 0;
    with("cache_min_bytes=4M");
    with("near_bytes=0");
    start();
    for (int i = 0; i < 3000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t k = (size_t)(seed >> 33) % 8;
        th_free(p[k]);
        p[k] = th_malloc(box, 64 * KIB << (seed >> 50) % 8);
        struct hak_box_stats s = stats();
        most = s.peak_bytes + s.peak_bytes / 4;
        most = most > s.live_bytes + 4 * MIB ? most : s.live_bytes + 4 * MIB;
        most += s.peak_bytes / 8; /* blocks may be longer than their slots */
        EXPECT_LE(s.live_bytes + s.cached_bytes, most);
        if (i % 100 == 0)
            check();
    }
    EXPECT_GT(counter("cache_hits"), 1000);
    for (int k = 0; k < 8; k++)
        th_free(p[k]);
    check();
}

/*
 * Replace eight buffers of 5..25 MiB at random. A new buffer is allocated
 * before the old one is freed, and each step takes `step_ms` of the clock.
 * Returns the MiB that were mapped or purged after the first hundred steps: the
 * program must fault these in.
 */
static uint64_t buffers(int steps, uint64_t step_ms)
{
    void *p[8] = {0};
    uint64_t seed = 7, from = 0;
    for (int i = 0; i < steps; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        void **place = &p[(seed >> 33) % 8];
        void *q = th_malloc(box, 5 * MIB + (size_t)(seed >> 40) % (20 * MIB));
        th_free(*place);
        *place = q;
        th_clock_add(step_ms);
        if (i == 100)
            from = counter("mapped_bytes") + counter("cleaned_bytes");
        if (i % 50 == 0)
            check();
    }
    uint64_t nbytes = counter("mapped_bytes") + counter("cleaned_bytes") - from;
    for (int k = 0; k < 8; k++)
        th_free(p[k]);
    return nbytes / MIB;
}

/* Blocks that a program frees and needs again are kept, however slow it is. */
TEST(what_comes_and_goes_stays)
{
    enum { STEPS = 500, MEAN_MIB = 15 };
    static const uint64_t step_ms[] = {1, 20, AGE / 10, AGE / 4};
    for (size_t i = 0; i < 4; i++) {
        start();
        EXPECT_LT(buffers(STEPS, step_ms[i]), STEPS * MEAN_MIB / 10);
        struct hak_box_stats s = stats();
        EXPECT_LE(s.cached_bytes, s.peak_bytes + s.peak_bytes / 4);
        EXPECT_LE(counter("clean_bytes"), s.peak_bytes / 2);
        EXPECT_GT(box->ops->trim(box), 0);
        EXPECT_EQ(th_mapped(box), 0);
        check();
    }
}

/* They go back when the same program goes on to small requests only. */
TEST(and_goes_when_the_box_is_at_rest)
{
    start();
    buffers(200, 20);
    EXPECT_GT(stats().cached_bytes, 64 * MIB);
    for (int i = 0; i < 8; i++) {
        th_clock_add(AGE / 4 + 1);
        th_free(th_malloc(box, 2 * MIB));
    }
    EXPECT_LE(stats().cached_bytes, 2 * MIB);
    EXPECT_EQ(counter("clean_bytes"), 0);
    EXPECT_LE(th_mapped(box), 2 * MIB);
    check();
}

/* Blocks that were held for long and are freed at the end exceed what was
 * requested of late, so they are not kept. */
TEST(what_did_not_come_of_late_is_not_kept)
{
    void *p[40];
    start();
    for (int i = 0; i < 40; i++)
        p[i] = th_malloc(box, 8 * MIB);
    for (int i = 0; i < 8; i++) {
        th_clock_add(AGE / 2 + 1);
        th_free(th_malloc(box, MIB + 64 * KIB));
    }
    for (int i = 0; i < 40; i++)
        th_free(p[i]);
    EXPECT_LE(stats().cached_bytes, 32 * MIB); /* the default cache_min_bytes */
    check();
}

/* A block that cannot be purged (locked memory) does not become clean: it is
 * unmapped as it is. */
TEST(what_cannot_be_purged_goes_back)
{
    start();
    th_purge_keeps(true);
    buffers(200, 1);
    EXPECT_EQ(counter("clean_bytes"), 0);
    th_purge_keeps(false);
    check();
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

/* ---- the threshold, through the box ------------------------------------- */

TEST(a_loop_over_64_mib_comes_to_be_kept)
{
    start();
    uint64_t calls = 0;
    for (int i = 0; i < 20; i++) {
        calls = host_calls();
        th_free(th_malloc(box, 64 * MIB));
        th_clock_add(5);
    }
    EXPECT_EQ(host_calls(), calls);
    EXPECT_GT(counter("direct_bytes"), 64 * MIB);
    check();
}

TEST(blocks_of_64_mib_never_asked_again_go_direct)
{
    start();
    for (size_t i = 0; i < 8; i++) {
        th_free(th_malloc(box, 64 * MIB + i * MIB));
        EXPECT_EQ(stats().cached_bytes, i == 0 ? 0 : 64 * KIB);
        th_clock_add(4 * AGE);
        th_free(th_malloc(box, 64 * KIB));
    }
    EXPECT_EQ(counter("direct_moves"), 0);
    check();
}

TEST(direct_bytes_without_learning)
{
    with("learn=off");
    with("direct_bytes=1M");
    start();
    th_free(th_malloc(box, MIB));
    EXPECT_EQ(th_mapped(box), 0);
    th_free(th_malloc(box, MIB - 64 * KIB));
    EXPECT_EQ(th_mapped(box), MIB - 64 * KIB);
    EXPECT_EQ(th_set_param(box, "direct_bytes=2M"), 0);
    th_free(th_malloc(box, MIB));
    EXPECT_EQ(stats().cached_bytes, MIB);
    EXPECT_NE(th_set_param(box, "shards=2"), 0);
}

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
    uint64_t seed = 5;
    with("remap_bytes=256k");
    start();
    for (int i = 0; i < 3000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t k = (seed >> 33) % BLOCKS;
        size_t size = 1 + (seed >> 20) % (32 * KIB << ((seed >> 45) % 8));
        expect_filled(p[k], n[k], k);
        p[k] = th_realloc(box, p[k], size);
        expect_filled(p[k], hak_min(n[k], size), k);
        fill(p[k], size, k);
        n[k] = size;
        th_clock_add(seed >> 61 == 0 ? 100 : 0);
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

/* ---- faults ------------------------------------------------------------ */

/* Whichever call of the host fails, the box returns NULL and stays sound. */
TEST(the_nth_call_fails)
{
    start();
    for (uint64_t n = 1; n < 30; n++) {
        void *p[8] = {NULL};
        th_fail_at(n);
        for (int i = 0; i < 8; i++)
            p[i] = i % 2 ? th_zalloc(box, (size_t)i * MIB)
                         : th_malloc(box, 40 * KIB + (size_t)i * MIB / 2);
        for (int i = 0; i < 8; i++)
            if (p[i] != NULL)
                p[i] = th_realloc(box, p[i], 3 * MIB) ?: p[i];
        check();
        th_fail_never();
        for (int i = 0; i < 8; i++)
            th_free(p[i]);
        check();
        EXPECT_EQ(stats().live_count, 0);
        box->ops->trim(box);
        EXPECT_EQ(th_mapped(box), 0);
    }
}

TEST(the_cache_is_given_back_before_giving_up)
{
    start();
    th_free(th_malloc(box, 10 * MIB));
    th_fail_at(1);
    EXPECT(th_malloc(box, 20 * MIB) == NULL);
    EXPECT_EQ(th_mapped(box), 0);
    th_fail_never();
    check();
}

/* When kept blocks fill the window, they make room for a live one. */
TEST(a_full_window)
{
    with("cache_bytes=1T");
    with("cache_min_bytes=1T");
    with("learn=off");
    with("direct_bytes=1T");
    start();
    size_t half = box->host->window_bytes / 2;
    if (half > 4 * GIB)
        SKIP("the window is too large to fill");
    th_free(th_malloc(box, half));
    EXPECT_GE(stats().cached_bytes, half);
    EXPECT(th_malloc(box, half + 64 * KIB) != NULL);
    check();
}

TEST(init_without_memory)
{
    for (uint64_t n = 1; n <= 4; n++) {
        th_fail_at(n);
        EXPECT_EQ(th_open_entry(&hak_box_entry, "large", NULL, 0, &box),
                  -ENOMEM);
    }
    th_fail_never();
    start();
    th_free(th_malloc(box, MIB));
}

TEST_DIES(freed_twice, SIGABRT, "not a live slot")
{
    start();
    void *p = th_malloc(box, MIB);
    box->ops->free(box, p);
    box->ops->free(box, p);
}

TEST_DIES(freed_inside, SIGABRT, "not a live slot")
{
    start();
    char *p = th_malloc(box, MIB);
    box->ops->free(box, p + 64 * KIB);
}

TEST_DIES(freed_after_it_went_back, SIGABRT, "not a live slot")
{
    start();
    void *p = box->ops->alloc(box, 100 * MIB);
    box->ops->free(box, p);
    box->ops->free(box, p);
}

TEST_DIES(freed_after_it_was_joined, SIGABRT, "not a live slot")
{
    start();
    void *p = th_malloc(box, 3 * MIB), *q = th_malloc(box, 3 * MIB);
    th_free(p);
    th_free(q);
    th_malloc(box, 6 * MIB);
    EXPECT_EQ(counter("maps"), 2);
    box->ops->free(box, p < q ? q : p);
}

TEST(owns_any_pointer)
{
    start();
    const uintptr_t wild[] = {0,
                              1,
                              UINTPTR_MAX,
                              (uintptr_t)1 << 47,
                              (uintptr_t)&box,
                              0xdeadbeefdeadbeef};
    for (size_t i = 0; i < 6; i++) {
        EXPECT(!box->ops->owns(box, (void *)wild[i]));
        EXPECT_EQ(box->ops->usable_size(box, (void *)wild[i]), 0);
    }
}

TEST_MAIN()
