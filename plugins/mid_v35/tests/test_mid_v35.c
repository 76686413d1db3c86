/* SPDX-License-Identifier: MIT
 * test_mid_v35.c - classes, shared segments, aging, retires.
 */
#include "test_mid_v35.h"

/* ---- classes ----------------------------------------------------------- */

TEST(a_list_of_sizes)
{
    struct classes c;
    const char *at;
    EXPECT(classes_parse(" 384, 512 ,\t1024 ", &c, &at) == NULL);
    EXPECT_EQ(c.n, 3);
    EXPECT_EQ(class_of(&c, 0), 0);
    EXPECT_EQ(class_of(&c, 384), 0);
    EXPECT_EQ(class_of(&c, 385), 1);
    EXPECT_EQ(class_of(&c, 513), 2);
    EXPECT_EQ(class_of(&c, 1025), HAK_CLASS_NONE);
    EXPECT_EQ(class_of(&c, SIZE_MAX), HAK_CLASS_NONE);
    EXPECT_EQ(class_of_aligned(&c, 128, 1), 0);
    EXPECT_EQ(class_of_aligned(&c, 256, 1), 1);
    EXPECT_EQ(class_of_aligned(&c, 1024, 1), 2);
    EXPECT_EQ(class_of_aligned(&c, 2048, 1), HAK_CLASS_NONE);
}

TEST(bad_lists_are_refused_and_said)
{
    static const char *const bad[][2] = {
        {"slots=1024,", "\"\" is not a number"},
        {"slots=,1024", "\",1024\" is not a number"},
        {"slots=384,x", "\"x\" is not a number"},
        {"slots=-16,1024", "\"-16,1024\" is not a number"},
        {"slots=384 512,1024", "\"512,1024\" is not a comma"},
        {"slots=384;1024", "\";1024\" is not a comma"},
        {"slots=0,1024", "\"0,1024\" is not a multiple"},
        {"slots=500,1024", "\"500,1024\" is not a multiple"},
        {"slots=1040", "\"1040\" is above 1024"},
        {"slots=99999999999999999984,1024", "is above 1024"},
        {"slots=512,512,1024", "\"512,1024\" is not above the size"},
        {"slots=512,384,1024", "\"384,1024\" is not above the size"},
        {"slots=384,512", "\"512\" ends the list, which must end with 1024"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct hak_box *box = NULL;
        const char *params[] = {bad[i][0], NULL};
        EXPECT_EQ(th_open_entry(&hak_box_entry, "mid_v35", params, 0, &box),
                  -EINVAL);
        EXPECT_CONTAINS(th_last_log(), bad[i][1]);
    }
}

static void every_size(struct hak_box *box)
{
    for (size_t bytes = 0; bytes <= MOST; bytes++) {
        size_t slot = box->ops->slot_size(box, bytes);
        char *p = th_malloc(box, bytes);
        EXPECT(p != NULL && (uintptr_t)p % HAK_ALIGN_BYTES == 0);
        EXPECT_GE(slot, bytes);
        EXPECT_EQ(th_usable(p), slot);
        memset(p, 0x55, slot);
        EXPECT(th_owner(p) == box && th_owner(p + slot - 1) == box);
        block[bytes] = p;
    }
    EXPECT_LE(th_mapped(box), 2 * SEGMENT_BYTES); /* all classes share them */
    check(box);
    put_many(block, MOST + 1);
    check(box);
    EXPECT(th_malloc(box, MOST + 1) == NULL);
    EXPECT(th_alloc_direct(box, MOST + 1) == NULL);
    EXPECT_EQ(box->ops->slot_size(box, MOST + 1), 0);
}

TEST(every_size_with_lanes)
{
    every_size(OPEN(0));
}

TEST(every_size_without_lanes)
{
    every_size(OPEN(TH_NO_LANES, "slots=384,512,1024"));
}

TEST(every_multiple_of_16_may_be_a_class)
{
    char text[512] = "slots=16";
    for (int i = 32, at = 8; i <= MOST; i += 16)
        at += snprintf(text + at, sizeof text - (size_t)at, ",%d", i);
    struct hak_box *box = OPEN(0, text);
    EXPECT_EQ(mid_v35_of(box)->classes.n, CLASSES_MAX);
    for (size_t i = 1; i <= MOST; i++)
        EXPECT_EQ(th_usable(block[i] = th_malloc(box, i)), hak_round_up(i, 16));
    EXPECT_EQ(get_many(box, block + 2000, 5000, 16), 5000);
    EXPECT_EQ(th_mapped(box), 3 * SEGMENT_BYTES);
    check(box);
}

TEST(slots_a_page_of_the_original_sizes)
{
    struct hak_box *box = OPEN(0, "slots=384,512,1024");
    EXPECT_EQ(page_of(box, th_malloc(box, 257))->capacity, 170);
    EXPECT_EQ(page_of(box, th_malloc(box, 385))->capacity, 128);
    EXPECT_EQ(page_of(box, th_malloc(box, 1024))->capacity, 64);
}

TEST(sizes_of_one_class_share_a_page_and_its_lanes)
{
    struct hak_box *box = OPEN(0, "slots=1024");
    for (size_t i = 0; i < 8 * SLOTS_1K; i++)
        block[i] = th_malloc(box, 1 + i % 1024);
    EXPECT_EQ(page_of(box, block[0])->capacity, SLOTS_1K);
    EXPECT(page_of(box, block[0]) == page_of(box, block[SLOTS_1K - 1]));
    EXPECT(page_of(box, block[0]) != page_of(box, block[SLOTS_1K]));
    check(box);
}

TEST(aligned_blocks)
{
    struct hak_box *box = OPEN(0);
    for (size_t align = 32; align <= 1024; align *= 2)
        for (size_t bytes = 1; bytes <= MOST; bytes += 61) {
            void *p = th_aligned_alloc(box, align, bytes);
            EXPECT(p != NULL && (uintptr_t)p % align == 0);
            EXPECT_GE(th_usable(p), bytes);
        }
    EXPECT(box->ops->aligned_alloc(box, 2048, 100) == NULL);
    check(box);
}

/* ---- segments ---------------------------------------------------------- */

TEST(a_segment_holds_32_pages)
{
    struct hak_box *box = OPEN(0);
    EXPECT_EQ(get_many(box, block, SEGMENT_1K, 1024), SEGMENT_1K);
    EXPECT_EQ(th_mapped(box), SEGMENT_BYTES);
    EXPECT_EQ((uintptr_t)block[0] % SEGMENT_BYTES, 0);
    block[SEGMENT_1K] = th_malloc(box, 1024);
    EXPECT_EQ(th_mapped(box), 2 * SEGMENT_BYTES);
    check(box);
}

TEST(wild_pointers_are_not_owned)
{
    struct hak_box *box = OPEN(0), *other = OPEN(0);
    char *p = th_malloc(box, 1000);
    uintptr_t window = th_host()->window_base;
    size_t bytes = th_host()->window_bytes;
    const uintptr_t wild[] = {0,
                              1,
                              window - 1,
                              window,
                              window + 1,
                              window + bytes - 1,
                              UINTPTR_MAX,
                              window + bytes,
                              (uintptr_t)&wild,
                              (uintptr_t)p + GRANULE,
                              (uintptr_t)p + SEGMENT_BYTES};
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++) {
        if ((wild[i] ^ (uintptr_t)p) >> HAK_GRANULE_SHIFT == 0)
            continue;
        EXPECT(!box->ops->owns(box, (void *)wild[i]));
        EXPECT_EQ(box->ops->usable_size(box, (void *)wild[i]), 0);
    }
    EXPECT(box->ops->owns(box, p) && !other->ops->owns(other, p));
}

static void free_behind(size_t bytes)
{
    struct hak_box *box = OPEN(0);
    char *p = th_malloc(box, 1024);
    box->ops->free(box, p + bytes);
}

TEST_DIES(free_inside_a_slot, SIGABRT, "not the start of a slot")
{
    free_behind(16);
}

TEST_DIES(free_of_what_is_not_cut, SIGABRT, "nothing was handed out there")
{
    free_behind(60 * 1024);
}

TEST_DIES(free_beside_the_page, SIGABRT, "no slots there")
{
    free_behind(GRANULE);
}

TEST(pages_come_from_the_fullest_segment)
{
    struct hak_box *box = OPEN(0);
    get_many(box, block, 3 * SEGMENT_1K, 1024);
    const struct hak_chunk *first = segment_of(box, block[0]);
    const struct hak_chunk *second = segment_of(box, block[SEGMENT_1K]);
    EXPECT(first != second);
    put_many(block, 2 * SLOTS_1K);              /* one kept, one back */
    put_many(block + SEGMENT_1K, 4 * SLOTS_1K); /* four back */
    EXPECT_EQ(nfree(first), 1);
    EXPECT_EQ(nfree(second), 4);
    get_many(box, block, SLOTS_1K, 1024); /* the kept one */
    get_many(box, block, SLOTS_1K, 1024);
    EXPECT_EQ(nfree(first), 0);
    EXPECT_EQ(nfree(second), 4);
    check(box);
}

TEST(a_page_serves_another_class_next)
{
    struct hak_box *box = OPEN(0);
    get_many(box, block, 3 * SLOTS_1K, 1024);
    struct hak_page *page = page_of(box, block[SLOTS_1K]);
    char *start = hak_page_memory(page);
    put_many(block, 2 * SLOTS_1K); /* the second one goes back */
    EXPECT(!box->ops->owns(box, start));
    void *p = th_malloc(box, 300); /* last in, first out */
    EXPECT(hak_page_memory(page_of(box, p)) == start);
    EXPECT_EQ(th_usable(p), 304);
    check(box);
}

/* ---- aging ------------------------------------------------------------- */

/* Slow paths until the box has looked at the clock. */
static void churn(struct hak_box *box, int rounds)
{
    static void *p[4 * SLOTS_1K];
    for (int i = 0; i < rounds; i++) {
        get_many(box, p, 4 * SLOTS_1K, 1024);
        put_many(p, 4 * SLOTS_1K);
    }
}

static void fill_and_empty(struct hak_box *box, size_t nsegments)
{
    size_t n = nsegments * SEGMENT_1K;
    EXPECT_EQ(get_many(box, block, n, 1024), n);
    put_many(block, n);
    check(box);
}

TEST(empty_segments_are_kept_up_to_the_parameter)
{
    struct hak_box *box = OPEN(0, "empty_segments=2");
    fill_and_empty(box, 8);
    EXPECT_LE(th_mapped(box), 4 * SEGMENT_BYTES); /* 2 and those in use */
    EXPECT_GE(th_mapped(box), 3 * SEGMENT_BYTES);
    EXPECT_EQ(mid_v35_of(box)->segments.nempty, 2);
    EXPECT_EQ(th_set_param(box, "empty_segments=0"), 0);
    fill_and_empty(box, 8);
    EXPECT_LE(th_mapped(box), 3 * SEGMENT_BYTES);
}

TEST(kept_segments_go_after_a_purge_delay)
{
    struct hak_box *box = OPEN(0, "empty_segments=8");
    fill_and_empty(box, 6);
    EXPECT_GE(mid_v35_of(box)->segments.nempty, 4);
    th_clock_add(999);
    churn(box, 2);
    EXPECT_GE(mid_v35_of(box)->segments.nempty, 3);
    for (int i = 0; i < 4; i++) {
        th_clock_add(500);
        churn(box, 4);
        check(box);
    }
    EXPECT_LE(th_mapped(box), 2 * SEGMENT_BYTES);
}

TEST(free_pages_are_purged_after_a_purge_delay)
{
    struct hak_box *box = OPEN(0);
    get_many(box, block, 30 * SLOTS_1K, 1024);
    put_many(block + SLOTS_1K, 28 * SLOTS_1K); /* one kept, 27 back */
    EXPECT_EQ(stats_of(box).cached_bytes, 27 * GRANULE);
    for (int i = 0; i < 4; i++) {
        th_clock_add(600);
        churn(box, 4);
        check(box);
    }
    EXPECT_GE(th_counts().purges, 1);
    EXPECT_LE(stats_of(box).cached_bytes, 5 * GRANULE);
    EXPECT_EQ(th_mapped(box), SEGMENT_BYTES);
    memset(block[0], 1, 1024); /* the living stay */
}

TEST(trim_gives_all_back)
{
    struct hak_box *box = OPEN(0, "empty_segments=100");
    fill_and_empty(box, 5);
    EXPECT_GE(th_mapped(box), 5 * SEGMENT_BYTES);
    EXPECT_GE(box->ops->trim(box), 5 * SEGMENT_BYTES);
    EXPECT_EQ(th_mapped(box), 0);
    EXPECT_EQ(stats_of(box).cached_bytes, 0);
    check(box);
    fill_and_empty(box, 1);
    get_many(box, block, SLOTS_1K / 2, 1024);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), SEGMENT_BYTES);
    EXPECT_EQ(stats_of(box).cached_bytes, 0);
    check(box);
    EXPECT_EQ(box->ops->trim(box), 0);
}

/* ---- retires ----------------------------------------------------------- */

static void *free_some(void *argument)
{
    put_many(argument, SLOTS_1K / 4);
    return NULL;
}

TEST(a_retire_is_told)
{
    struct hak_box *box = OPEN(0, "slots=512,1024", "carve=1024");
    EXPECT_EQ(th_retires().n, 0);
    for (int i = 0; i < 100; i++)
        th_free(th_malloc(box, 600)); /* 100 pairs in the first page */
    get_many(box, block, SLOTS_1K / 2, 1024);
    put_many(block + SLOTS_1K / 4, SLOTS_1K / 4);
    th_join(th_spawn(free_some, block)); /* the other half, by another */
    box->ops->trim(box);
    struct hak_retire one = th_retires().last;
    EXPECT_EQ(th_retires().n, 1);
    EXPECT_EQ(one.slot_bytes, 1024);
    EXPECT_EQ(one.capacity, SLOTS_1K);
    EXPECT_EQ(one.used, SLOTS_1K / 2);
    EXPECT_EQ(one.allocations, 100 + SLOTS_1K / 2);
    EXPECT_EQ(one.frees, one.allocations);
    EXPECT_EQ(one.local_frees, 116);
}

TEST(a_page_used_again_starts_from_nothing)
{
    struct hak_box *box = OPEN(0);
    get_many(box, block, SLOTS_1K / 4, 1024);
    th_join(th_spawn(free_some, block));
    box->ops->trim(box);
    EXPECT_EQ(th_retires().last.allocations, SLOTS_1K / 4);
    EXPECT_EQ(th_retires().last.local_frees, 0);
    get_many(box, block, 8, 1024);
    put_many(block, 8);
    box->ops->trim(box);
    EXPECT_EQ(th_retires().n, 2);
    EXPECT_EQ(th_retires().last.allocations, 8);
    EXPECT_EQ(th_retires().last.local_frees, 8);
}

TEST_MAIN()
