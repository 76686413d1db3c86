/* SPDX-License-Identifier: MIT
 * test_ultra.c - box ultra in one thread: classes, pages, limits, figures.
 */
#include "test_ultra.h"

static void *block[1 << 16];

/* ---- size classes ---------------------------------------------------- */

static void every_size(struct hak_box *box)
{
    size_t mapped = 0;
    for (size_t bytes = 0; bytes <= MOST; bytes++) {
        size_t slot = hak_round_up(hak_max(bytes, 1), LEAST);
        mapped += bytes % LEAST == 1 ? page_bytes(slot) : 0;
        EXPECT_EQ(box->ops->slot_size(box, bytes), slot);
        char *p = th_malloc(box, bytes);
        EXPECT(p != NULL && (uintptr_t)p % LEAST == 0);
        EXPECT_EQ(th_usable(p), slot);
        memset(p, 0x55, slot);
        EXPECT(th_owner(p + slot - 1) == box);
        block[bytes] = p;
    }
    EXPECT_EQ(th_mapped(box), mapped);
    check_pages(box);
    put_many(block, MOST + 1);
    check_pages(box);
}

TEST(every_size_with_lanes)
{
    every_size(OPEN(0));
}

TEST(every_size_without_lanes)
{
    every_size(OPEN(TH_NO_LANES));
}

TEST(larger_sizes_are_declined)
{
    struct hak_box *box = OPEN(0);
    static const size_t sizes[] = {MOST + 1, 4096, 32768, 32769, PTRDIFF_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        EXPECT(th_malloc(box, sizes[i]) == NULL);
        EXPECT(th_alloc_direct(box, sizes[i]) == NULL);
        EXPECT_EQ(box->ops->slot_size(box, sizes[i]), 0);
    }
    EXPECT_EQ(th_mapped(box), 0);
    EXPECT_EQ(th_live(box, true), 0);
}

TEST(aligned)
{
    for (unsigned flags = 0; flags <= TH_NO_LANES; flags++) {
        struct hak_box *box = OPEN(flags);
        for (size_t align = 32; align <= MOST; align *= 2)
            for (size_t bytes = 1; bytes <= MOST; bytes += 13) {
                char *p = th_aligned_alloc(box, align, bytes);
                EXPECT(p != NULL && (uintptr_t)p % align == 0);
                EXPECT_GE(th_usable(p), bytes);
                memset(p, 1, bytes);
                if (bytes % 2)
                    th_free(p);
            }
        check_pages(box);
        EXPECT(th_aligned_alloc(box, MOST * 2, 16) == NULL);
        EXPECT(th_aligned_alloc(box, 64, MOST + 1) == NULL);
    }
}

/* ---- pages ----------------------------------------------------------- */

/* All slots of a page are handed out, side by side, before another page is
 * used.
 */
TEST(a_page_is_used_up_before_the_next)
{
    struct hak_box *box = OPEN(0);
    for (size_t bytes = LEAST; bytes <= MOST; bytes += LEAST) {
        size_t n = slots_a_page(bytes);
        EXPECT_EQ(get_many(box, block, n + 1, bytes), n + 1);
        for (size_t i = 0; i < n; i++)
            EXPECT(block[i] == (char *)block[0] + i * bytes);
        EXPECT_EQ((uintptr_t)block[0] % GRANULE, page_color(bytes));
        EXPECT(page_of(block[n - 1]) == page_of(block[0]));
        EXPECT(th_owner((char *)block[n - 1] + bytes - 1) == box);
        EXPECT_EQ(page_of(block[0])->state, HAK_PAGE_FULL);
        EXPECT_EQ(page_of(block[n])->state, HAK_PAGE_CURRENT);
        EXPECT_EQ(page_of(block[0])->capacity, n);
        check_pages(box);
    }
}

TEST(carve_is_how_much_a_refill_cuts)
{
    static const char *const texts[] = {"carve=16", "carve=4k", "carve=64k"};
    static const size_t carve[] = {1, 64, 1024}; /* slots of 64 bytes */
    for (size_t i = 0; i < 3; i++) {
        struct hak_box *box = OPEN(0, texts[i]);
        uint64_t before = th_counts().refills;
        get_many(box, block, slots_a_page(64), 64);
        size_t refills = (slots_a_page(64) + carve[i] - 1) / carve[i];
        EXPECT_EQ(th_counts().refills - before, refills);
        EXPECT_EQ(page_of(block[0])->carved, slots_a_page(64));
        put_many(block, slots_a_page(64));
    }
}

TEST(last_in_first_out)
{
    struct hak_box *box = OPEN(0);
    get_many(box, block, 100, 48);
    uint64_t refills = th_counts().refills;
    for (size_t i = 0; i < 100; i++)
        th_free(block[i]);
    for (size_t i = 100; i-- > 0;)
        EXPECT(th_malloc(box, 48) == block[i]);
    EXPECT_EQ(th_counts().refills, refills);
}

/* A refill hands over all free slots of the page, wherever they lie. */
TEST(refill_gives_the_whole_list)
{
    struct hak_box *box = OPEN(0);
    size_t n = slots_a_page(32), kept = 0;
    get_many(box, block, n + 1, 32); /* a full page, and a slot of another */
    get_many(box, block + n + 1, n - 1, 32);
    for (size_t i = 0; i < n; i++)
        if (rnd(2))
            th_free(block[i]);
        else
            kept++;
    struct hak_page *page = page_of(block[0]);
    if (page->state == HAK_PAGE_CURRENT)
        SKIP("the slots went elsewhere");
    EXPECT_EQ(page->state, HAK_PAGE_AVAIL);
    EXPECT_EQ(hak_page_out(page), kept);
    uint64_t refills = th_counts().refills;
    get_many(box, block + 2 * n, n - kept, 32);
    EXPECT_EQ(th_counts().refills, refills + 1);
    EXPECT_EQ(hak_page_out(page), n);
    EXPECT_EQ(th_mapped(box), 2 * GRANULE);
    check_pages(box);
}

/* A full page becomes available when 1/32 of its slots came back, not at once.
 */
TEST(a_full_page_waits_for_some_frees)
{
    struct hak_box *box = OPEN(0);
    size_t n = slots_a_page(64), wait = 1 + n / 32;
    get_many(box, block, n + 1, 64);
    struct hak_page *page = page_of(block[0]);
    uint64_t drains = th_counts().drains;
    for (size_t i = 0; i < wait - 1; i++)
        th_free(block[i]);
    EXPECT_EQ(page->state, HAK_PAGE_FULL);
    EXPECT_EQ(th_counts().drains, drains);
    th_free(block[wait - 1]);
    EXPECT_EQ(page->state, HAK_PAGE_AVAIL);
    for (size_t i = wait; i < n - 1; i++)
        th_free(block[i]);
    EXPECT_EQ(th_counts().drains, drains + 1);
    th_free(block[n - 1]);
    EXPECT_EQ(th_counts().drains, drains + 2); /* the page is empty */
    EXPECT(heaps_of(box)->all_heaps->bin[3].kept == page);
    check_pages(box);
}

/* ---- memory goes back ------------------------------------------------ */

static void fill_pages(struct hak_box *box, size_t npages, size_t bytes)
{
    size_t n = npages * slots_a_page(bytes);
    EXPECT_EQ(get_many(box, block, n, bytes), n);
    EXPECT_GE(th_mapped(box), npages * page_bytes(bytes));
}

static void empty_pages(size_t npages, size_t bytes)
{
    for (size_t n = npages * slots_a_page(bytes), i = 0; i < n; i++) {
        size_t k = i + rnd(n - i); /* in any order */
        th_free(block[k]);
        block[k] = block[i];
    }
}

TEST(empty_pages_go_back_to_the_host)
{
    static const size_t sizes[] = {LEAST, 512, 528, MOST};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t bytes = sizes[i], page = page_bytes(bytes);
        struct hak_box *box = OPEN(0, "warm=0", "depot=0");
        fill_pages(box, 15, bytes);
        empty_pages(15, bytes);
        EXPECT_EQ(th_mapped(box), page); /* the current page */
        EXPECT_EQ(stats_of(box).retired_pages, 14);
        check_pages(box);
        fill_pages(box, 15, bytes);
        EXPECT_EQ(th_mapped(box), 15 * page);
        EXPECT_EQ(count_structs(box), 15); /* structs are reused */
        check_pages(box);
    }
}

/* `warm` has room for three pages. Empty pages of another class are not kept
 * when it is used up. */
static void keeps_three(const char *warm, size_t bytes, size_t other_bytes)
{
    size_t page = page_bytes(bytes);
    struct hak_box *box = OPEN(0, warm, "depot=0");
    th_purge_delay(UINT64_MAX); /* kept pages never become too old */
    fill_pages(box, 15, bytes);
    empty_pages(15, bytes);
    EXPECT_EQ(th_mapped(box), (1 + 3) * page);
    EXPECT_GT(stats_of(box).cached_bytes, 3 * page - 4096);
    EXPECT_LE(stats_of(box).cached_bytes, 3 * page);
    fill_pages(box, 3, other_bytes);
    empty_pages(3, other_bytes);
    EXPECT_EQ(th_mapped(box), (1 + 3 + 1) * page);
    fill_pages(box, 4, bytes);
    EXPECT_EQ(th_mapped(box), (1 + 3 + 1) * page);
    EXPECT_EQ(stats_of(box).cached_bytes, 0);
    empty_pages(4, bytes);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 2 * page); /* the two current pages */
    EXPECT_EQ(stats_of(box).cached_bytes, 0);
    check_pages(box);
}

TEST(a_thread_keeps_no_more_than_warm_bytes)
{
    keeps_three("warm=192k", 256, 128);
}

TEST(a_thread_keeps_no_more_than_warm_bytes_of_large_pages)
{
    keeps_three("warm=768k", 1024, 768);
}

TEST(pages_of_two_sizes_are_not_mixed_up)
{
    struct hak_box *box = OPEN(0, "warm=64M");
    for (int i = 0; i < 4; i++) {
        fill_pages(box, 8, 640);
        empty_pages(8, 640);
        fill_pages(box, 8, 64);
        empty_pages(8, 64);
        check_pages(box);
    }
    EXPECT_EQ(th_mapped(box), 8 * (GRANULE + 4 * GRANULE));
}

/* The page that became empty last is used first. */
TEST(a_kept_page_serves_again)
{
    struct hak_box *box = OPEN(0, "warm=64k");
    size_t n = slots_a_page(256);
    th_purge_delay(UINT64_MAX);
    fill_pages(box, 2, 256);
    put_many(block, n); /* the first page is empty and kept */
    struct hak_page *first = page_of(block[n])->heap->bin[15].kept;
    EXPECT(first != NULL && first->state == HAK_PAGE_KEPT);
    EXPECT(first->span.owner == NULL);
    EXPECT(page_of(th_malloc(box, 256)) == first);
    EXPECT_EQ(first->state, HAK_PAGE_CURRENT);
    put_many(block + n, n); /* now the second page is empty and kept */
    EXPECT_EQ(th_mapped(box), 2 * GRANULE);
    EXPECT_EQ(stats_of(box).retired_pages, 0);
    check_pages(box);
}

TEST(trim_says_how_much_went)
{
    struct hak_box *box = OPEN(0, "warm=320k");
    fill_pages(box, 10, 256);
    empty_pages(10, 256);
    size_t mapped = th_mapped(box), resident = th_resident();
    size_t bytes = box->ops->trim(box);
    EXPECT_LT(th_mapped(box), mapped);
    EXPECT_EQ(bytes, resident - th_resident()); /* the current page's too */
    EXPECT_EQ(box->ops->trim(box), 0);
}

TEST(a_kept_page_goes_after_the_purge_delay)
{
    struct hak_box *box = OPEN(0, "depot=0", "carve=16");
    th_purge_delay(100);
    th_clock_add(1000);
    fill_pages(box, 1, 16); /* many refills, so that it looks at the clock */
    empty_pages(1, 16);
    fill_pages(box, 3, 256);
    empty_pages(3, 256);
    EXPECT_EQ(th_mapped(box), 4 * GRANULE); /* one current of 16, 3 of 256 */
    size_t some = slots_a_page(32) / 4;
    get_many(box, block, some, 32);
    EXPECT_EQ(th_mapped(box), 5 * GRANULE); /* no time has passed */
    th_clock_add(75);
    get_many(box, block + some, some, 32);
    EXPECT_EQ(th_mapped(box), 5 * GRANULE); /* a look; too old at the next */
    th_clock_add(75);
    get_many(box, block + 2 * some, some, 32);
    EXPECT_EQ(th_mapped(box), 3 * GRANULE);
    check_pages(box);
}

/* ---- the depot --------------------------------------------------------- */

TEST(the_depot_serves_a_class_with_its_own_pages)
{
    struct hak_box *box = OPEN(0, "warm=0");
    th_purge_delay(UINT64_MAX);
    fill_pages(box, 8, 256);
    fill_pages(box, 8, 128); /* overwrites block[]: the 256s stay live */
    struct hak_page *page = page_of(block[0]);
    char *first = block[0];
    uint32_t carved = page->carved;
    empty_pages(8, 128);
    size_t mapped = th_mapped(box);
    EXPECT_EQ(page->state, HAK_PAGE_FREE);
    EXPECT_GT(stats_of(box).cached_bytes, 6 * GRANULE);
    fill_pages(box, 8, 128);
    EXPECT_EQ(th_mapped(box), mapped);
    EXPECT_EQ(page->carved, carved); /* the page was not cut anew */
    EXPECT(page->start == page_of(first)->start);
    check_pages(box);
    EXPECT_EQ(stats_of(box).retired_pages, 7); /* host->retired for each */
}

/* A page of the depot serves another class with pages of the same length, cut
 * anew. */
TEST(the_depot_serves_other_classes_with_pages_as_long)
{
    struct hak_box *box = OPEN(0, "warm=0");
    th_purge_delay(UINT64_MAX);
    fill_pages(box, 4, 128);
    empty_pages(4, 128);
    size_t mapped = th_mapped(box);
    fill_pages(box, 3, 256);
    EXPECT_EQ(th_mapped(box), mapped);
    EXPECT_EQ(th_usable(block[0]), 256);
    empty_pages(3, 256);
    fill_pages(box, 1, 512); /* pages of two granules: not in the depot */
    EXPECT_EQ(th_mapped(box), mapped + 2 * GRANULE);
    check_pages(box);
}

TEST(the_depot_is_bounded)
{
    struct hak_box *box = OPEN(0, "warm=0", "depot=256k");
    th_purge_delay(UINT64_MAX);
    fill_pages(box, 15, 64);
    empty_pages(15, 64);
    EXPECT_EQ(th_mapped(box), (1 + 4) * GRANULE);
    EXPECT_LE(stats_of(box).cached_bytes, 256 * 1024);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), GRANULE);
    EXPECT_EQ(stats_of(box).cached_bytes, 0);
}

TEST(what_the_depot_did_not_need_goes_after_the_delay)
{
    struct hak_box *box = OPEN(0, "warm=0", "carve=16");
    th_purge_delay(100);
    th_clock_add(1000);
    fill_pages(box, 10, 64);
    empty_pages(10, 64);
    EXPECT_EQ(th_mapped(box), 10 * GRANULE);
    for (int i = 0; i < 4; i++) {
        th_clock_add(60);
        fill_pages(box, 4, 64); /* needs three of the nine in the depot */
        empty_pages(4, 64);
    }
    EXPECT_LE(th_mapped(box), 5 * GRANULE);
    EXPECT_GE(th_mapped(box), 4 * GRANULE);
    check_pages(box);
}

TEST(shrink_gives_back_as_much_as_it_is_asked_for)
{
    struct hak_box *box = OPEN(0);
    th_purge_delay(UINT64_MAX);
    fill_pages(box, 60, 64); /* more than `warm`: the rest in the depot */
    empty_pages(60, 64);
    size_t mapped = th_mapped(box);
    EXPECT_GE(box->ops->shrink(box, 10 * GRANULE), 10 * GRANULE - 4096);
    EXPECT_LE(th_mapped(box), mapped - 10 * GRANULE);
    EXPECT_GE(th_mapped(box), mapped - 12 * GRANULE);
    while (box->ops->shrink(box, 1 << 20) != 0)
        ;
    EXPECT_EQ(th_mapped(box), GRANULE);
    check_pages(box);
}

/* ---- figures and visits ---------------------------------------------- */

struct seen {
    size_t n, bytes, most;
};

static bool see(void *context, void *p, size_t slot_bytes)
{
    struct seen *seen = context;
    EXPECT_EQ(th_usable(p), slot_bytes); /* aborts unless p is live */
    EXPECT_EQ(*(unsigned char *)p, 0xee);
    *(unsigned char *)p = 0xdd; /* a second visit would fail above */
    seen->n++;
    seen->bytes += slot_bytes;
    return seen->n < seen->most;
}

static void walk_and_figures(unsigned flags)
{
    struct hak_box *box = OPEN(flags);
    size_t live = 0, bytes = 0;
    for (size_t i = 0; i < 20000; i++) {
        block[i] = th_malloc(box, rnd(MOST + 1));
        *(unsigned char *)block[i] = 0xee;
    }
    for (size_t i = 0; i < 20000; i++)
        if (rnd(3) != 0) {
            th_free(block[i]);
        } else {
            live++;
            bytes += th_usable(block[i]);
        }
    struct seen seen = {.most = SIZE_MAX};
    box->ops->visit_slots(box, see, &seen);
    EXPECT_EQ(seen.n, live);
    EXPECT_EQ(seen.bytes, bytes);
    struct hak_box_stats s = stats_of(box);
    EXPECT_EQ(s.live_count, live);
    EXPECT_EQ(s.live_bytes, bytes);
    EXPECT_EQ(s.allocs, 20000);
    EXPECT_EQ(s.frees, 20000 - live);
    EXPECT_GE(s.peak_bytes, 20000 * (uint64_t)(MOST / 2 - 100));
    EXPECT_EQ(s.adopted_pages, 0);
    check_pages(box);
}

TEST(walk_and_figures_with_lanes)
{
    walk_and_figures(0);
}

TEST(walk_and_figures_without_lanes)
{
    walk_and_figures(TH_NO_LANES);
}

TEST(walk_stops_when_asked)
{
    struct hak_box *box = OPEN(0);
    get_many(box, block, 3000, 16);
    for (size_t i = 0; i < 3000; i++)
        *(unsigned char *)block[i] = 0xee;
    struct seen seen = {.most = 7};
    box->ops->visit_slots(box, see, &seen);
    EXPECT_EQ(seen.n, 7);
}

/* Calls of alloc and free past the lanes, as aligned requests make them, are
 * counted as well. */
TEST(calls_and_lanes_together)
{
    struct hak_box *box = OPEN(0);
    for (size_t i = 0; i < 6000; i++)
        block[i] = rnd(2) ? th_malloc(box, 64) : th_alloc_direct(box, 64);
    EXPECT_EQ(count_visited(box), 6000);
    for (size_t i = 0; i < 6000; i++)
        (rnd(2) ? th_free : th_free_direct)(block[i]);
    EXPECT_EQ(count_visited(box), 0);
    check_pages(box);
}

/* ---- everything at random -------------------------------------------- */

struct held {
    unsigned char *p, mark;
    size_t bytes;
};

static void step(struct hak_box *box, struct held *h)
{
    if (h->p != NULL) {
        for (size_t i = 0; i < h->bytes; i++)
            EXPECT_EQ(h->p[i], h->mark);
        (rnd(8) == 0 ? th_free_direct : th_free)(h->p);
        h->p = NULL;
        return;
    }
    h->bytes = rnd(rnd(4) == 0 ? MOST + 1 : 129);
    h->mark = (unsigned char)rnd(256);
    h->p =
        rnd(8) == 0 ? th_alloc_direct(box, h->bytes) : th_malloc(box, h->bytes);
    EXPECT(h->p != NULL);
    memset(h->p, h->mark, h->bytes);
}

static void at_random(unsigned flags)
{
    static struct held held[5000];
    struct hak_box *box = OPEN(flags, "warm=128k", "carve=1k");
    for (size_t n = 5000; n >= 5; n /= 10)
        for (int i = 0; i < 60000; i++) {
            step(box, &held[rnd(n)]);
            if (rnd(4000) == 0)
                th_flush(); /* drops all lanes, as a change of routes does */
            if (rnd(4000) == 0)
                box->ops->trim(box);
            if (i % 10000 == 0)
                check_pages(box);
            if (i % 100 == 0)
                th_clock_add(5);
        }
    check_pages(box);
}

TEST(at_random_with_lanes)
{
    at_random(0);
}

TEST(at_random_without_lanes)
{
    at_random(TH_NO_LANES);
}

/* ---- instances, states ----------------------------------------------- */

TEST(two_instances)
{
    struct hak_box *a = OPEN(0), *b = OPEN(TH_NO_LANES, "warm=0");
    for (size_t i = 0; i < 4000; i += 2) {
        block[i] = th_malloc(a, 100);
        block[i + 1] = th_malloc(b, 100);
        EXPECT(th_owner(block[i]) == a && th_owner(block[i + 1]) == b);
    }
    EXPECT_EQ(stats_of(a).live_count, 2000);
    EXPECT_EQ(count_visited(b), 2000);
    put_many(block, 4000);
    check_pages(a);
    check_pages(b);
}

TEST(a_draining_box_takes_frees)
{
    struct hak_box *box = OPEN(0, "warm=0");
    fill_pages(box, 5, 64);
    th_drain(box);
    empty_pages(5, 64);
    EXPECT_EQ(stats_of(box).live_count, 0);
    box->ops->trim(box);
    EXPECT_LE(th_mapped(box), GRANULE);
    check_pages(box);
}

TEST(parameters)
{
    struct hak_box *box = NULL;
    static const char *const bad[][2] = {{"warm=-1"},     {"warm=1025M"},
                                         {"carve=15"},    {"carve=64k1"},
                                         {"carve=65537"}, {"pages=1"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        EXPECT_EQ(th_open_entry(&hak_box_entry, "ultra", bad[i], 0, &box),
                  -EINVAL);
    EXPECT_EQ(th_set_param(OPEN(0), "carve=16"), -EPERM);
}

/* ---- no memory ------------------------------------------------------- */

TEST(init_without_memory)
{
    for (uint64_t n = 1; n <= 2; n++) {
        struct hak_box *box = NULL;
        th_fail_at(n);
        EXPECT_EQ(th_open_entry(&hak_box_entry, "ultra", NULL, 0, &box),
                  -ENOMEM);
        th_fail_never();
    }
    EXPECT(th_malloc(OPEN(0), 16) != NULL);
}

/* The host has no memory from its nth request on; at the end it has again. */
static void exhausted_at(struct hak_box *box, uint64_t n)
{
    th_fail_at(n);
    size_t got = get_many(box, block, 4096, 1000);
    EXPECT_LT(got, 4096);
    for (int i = 0; i < 100; i++) {
        EXPECT(th_malloc(box, 1000) == NULL);
        EXPECT(th_alloc_direct(box, 1000) == NULL);
    }
    for (size_t i = 0; i < got; i++)
        memset(block[i], 0x11, 1000);
    check_pages(box);
    EXPECT_EQ(count_visited(box), got);
    put_many(block, got);
    EXPECT_EQ(get_many(box, block, got, 1000), got); /* as many as before */
    th_fail_never();
    EXPECT_EQ(get_many(box, block + got, 4096 - got, 1000), 4096 - got);
    check_pages(box);
    put_many(block, 4096);
    EXPECT_EQ(th_live(box, true), 0);
    EXPECT_EQ(count_heaps(box), 1); /* failures left no further heap */
    EXPECT_EQ(count_structs(box), (4096 + 259) / 260); /* 260 slots a page */
}

TEST(exhaustion_at_the_nth_request)
{
    for (uint64_t n = 1; n <= 12; n++)
        exhausted_at(OPEN(n % 2 ? 0 : TH_NO_LANES), n);
}

TEST(exhaustion_again_and_again)
{
    struct hak_box *box = OPEN(0, "warm=1G");
    for (uint64_t n = 1; n <= 15; n++) {
        exhausted_at(box, n);
        box->ops->trim(box);
    }
}

TEST_MAIN()
