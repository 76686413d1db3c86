/* SPDX-License-Identifier: MIT
 * test_magazine.c - TinyHeapV2: what goes in, what comes out, what it counts.
 */
#include "test_tiny.h"

static void *block[4096];
static struct hak_box *box;

#define EXPECT_COUNTS(bytes, c, h, m, p, r, held_now)              \
    do {                                                           \
        struct hak_magazine_counts counts = counts_of(box, bytes); \
        EXPECT_EQ(counts.calls, c);                                \
        EXPECT_EQ(counts.hits, h);                                 \
        EXPECT_EQ(counts.misses, m);                               \
        EXPECT_EQ(counts.pushes, p);                               \
        EXPECT_EQ(counts.refused, r);                              \
        EXPECT_EQ(counts.held, held_now);                          \
    } while (0)

static void open_box(void)
{
    box = OPEN(TH_NO_LANES, "magazine=on");
}

/* ---- the option ---------------------------------------------------------- */

TEST(it_needs_lanes_off)
{
    const char *const params[] = {"magazine=on", NULL};
    EXPECT_EQ(th_open_entry(&hak_box_entry, "tiny", params, 0, &box), -EINVAL);
    EXPECT_CONTAINS(th_last_log(), "magazine = on needs lanes = off");
}

TEST(off_offers_no_extension)
{
    box = OPEN(TH_NO_LANES);
    EXPECT(box->ops->get_extension(box, HAK_MAGAZINE_EXTENSION) == NULL);
    must_get_many(box, block, 100, 64);
    put_many(block, 100);
    check(box);
}

TEST(the_extension_has_one_name)
{
    open_box();
    const struct hak_magazine_extension *extension =
        box->ops->get_extension(box, "hak.magazine/1");
    EXPECT(extension != NULL);
    EXPECT_EQ(extension->struct_size, sizeof *extension);
    EXPECT_EQ(extension->nclasses, MOST / LEAST);
    EXPECT(box->ops->get_extension(box, "hak.magazine/2") == NULL);
    struct hak_magazine_counts counts = {.calls = 1};
    extension->snapshot(box, extension->nclasses, &counts);
    EXPECT_EQ(counts.calls, 0);
}

TEST(the_mask_chooses_classes)
{
    static const char *const masks[] = {
        "magazine_classes=1", "magazine_classes=2", "magazine_classes=4",
        "magazine_classes=8"};
    for (size_t c = 0; c < 4; c++) {
        box = OPEN(TH_NO_LANES, "magazine=on", masks[c]);
        for (size_t bytes = LEAST; bytes <= MOST; bytes += LEAST) {
            must_get_many(box, block, 4, bytes);
            put_many(block, 4);
            size_t class_number = bytes <= 16   ? 0
                                  : bytes <= 32 ? 1
                                  : bytes <= 64 ? 2
                                                : 3;
            uint64_t n = class_number == c ? 4 : 0;
            EXPECT_COUNTS(bytes, n, 0, n, n, 0, n);
        }
        check(box);
    }
}

/* ---- what goes in and out ------------------------------------------------ */

TEST(an_empty_one_lets_the_request_go_on)
{
    open_box();
    must_get_many(box, block, 1000, 64);
    EXPECT_COUNTS(64, 1000, 0, 1000, 0, 0, 0);
    check(box);
}

TEST(frees_supply_it_up_to_16)
{
    open_box();
    must_get_many(box, block, 20, 48);
    put_many(block, 20);
    EXPECT_COUNTS(48, 20, 0, 20, 16, 4, 16);
    EXPECT_EQ(hak_page_out(page_of(box, block[0])), 16);
    check(box);
    for (size_t i = 16; i-- > 0;)
        EXPECT(th_malloc(box, 48) == block[i]);
    EXPECT_COUNTS(48, 36, 16, 20, 16, 4, 0);
    must_get_many(box, block, 1, 48);
    EXPECT_COUNTS(48, 37, 16, 21, 16, 4, 0); /* and it stayed empty */
    check(box);
}

TEST(sizes_do_not_mix)
{
    open_box();
    must_get_many(box, block, 16, 40); /* a slot of 48, C2 as is 64 */
    put_many(block, 16);
    must_get_many(box, block, 16, 64);
    for (size_t i = 0; i < 16; i++)
        EXPECT_EQ(th_usable(block[i]), 64);
    EXPECT_COUNTS(64, 16, 0, 16, 0, 0, 0);
    EXPECT_COUNTS(48, 16, 0, 16, 16, 0, 16);
}

TEST(figures_leave_out_what_it_holds)
{
    open_box();
    for (size_t bytes = LEAST; bytes <= MOST; bytes += LEAST) {
        must_get_many(box, block, 30, bytes);
        put_many(block, 10);
        check(box); /* stats and walk against the host's record */
        put_many(block + 10, 20);
    }
    struct hak_box_stats s = stats_of(box);
    EXPECT_EQ(s.live_count, 0);
    EXPECT_EQ(s.live_bytes, 0);
    EXPECT_EQ(s.allocs, 0); /* as without lanes */
    check(box);
}

TEST(figures_by_class_leave_it_out_too)
{
    static struct hak_class of[HAK_CLASSES_ROOM];
    open_box();
    const struct hak_classes_1 *classes =
        box->ops->get_extension(box, HAK_CLASSES_1);
    must_get_many(box, block, 30, 48);
    put_many(block, 20);
    must_get_many(box, block, 5, 48); /* out of the magazine */
    EXPECT_EQ(classes->read(box, of, HAK_CLASSES_ROOM), 8);
    EXPECT_EQ(of[2].slot_bytes, 48);
    EXPECT_EQ(of[2].allocs, 35);
    EXPECT_EQ(of[2].frees, 20);
    EXPECT_EQ(of[2].live_count, 15);
    EXPECT_EQ(of[2].live_bytes, 15 * 48);
}

/* ---- memory -------------------------------------------------------------- */

TEST(trim_empties_it)
{
    open_box();
    must_get_many(box, block, 100, 32);
    put_many(block, 100);
    EXPECT_GE(box->ops->trim(box), SUPERSLAB_BYTES);
    EXPECT_COUNTS(32, 100, 0, 100, 16, 84, 0);
    EXPECT_EQ(th_mapped(box), 0);
    check(box);
}

static void *get_and_put(void *argument)
{
    (void)argument;
    must_get_many(box, block, 100, 32);
    put_many(block, 100);
    EXPECT_EQ(counts_of(box, 32).held, 16);
    return NULL;
}

TEST(heap_close_empties_it)
{
    open_box();
    th_join(th_spawn(get_and_put, NULL));
    EXPECT_COUNTS(32, 100, 0, 100, 16, 84, 0); /* counts of the ended stay */
    EXPECT_EQ(state_of(box)->heaps.orphans, 0);
    th_attach();
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
    check(box);
}

TEST(a_failed_request_counts)
{
    open_box();
    th_fail_at(1); /* no heap */
    EXPECT(th_malloc(box, 64) == NULL);
    EXPECT_COUNTS(64, 1, 0, 1, 0, 0, 0);
    EXPECT_EQ(counts_of(box, 64).out_of_memory, 1);
    th_fail_never();
    must_get_many(box, block, 1, 16);
    th_fail_at(1); /* no page */
    EXPECT(th_malloc(box, 64) == NULL);
    EXPECT_COUNTS(64, 2, 0, 2, 0, 0, 0);
    EXPECT_EQ(counts_of(box, 64).out_of_memory, 2);
    EXPECT_EQ(counts_of(box, 16).out_of_memory, 0);
    th_fail_never();
    check(box);
}

TEST(a_draining_box_fills_none)
{
    open_box();
    must_get_many(box, block, 10, 64);
    put_many(block, 3);
    th_drain(box);
    put_many(block + 3, 7);
    EXPECT_COUNTS(64, 10, 0, 10, 3, 0, 3);
    EXPECT_EQ(stats_of(box).live_count, 0);
    check(box);
}

/* ---- threads ------------------------------------------------------------- */

/* Frees blocks of the first thread, gets them again, and leaves some. */
static void *take_over(void *argument)
{
    struct part *part = argument;
    void *own = th_malloc(box, 16); /* so that there is a heap */
    put_many(part->p, part->n);
    EXPECT_COUNTS(64, 40, 0, 40, 16, 24, 16);
    for (size_t i = 16; i-- > 8;)
        EXPECT(th_malloc(box, 64) == part->p[i]);
    th_free(own);
    return NULL;
}

TEST(remote_frees_go_to_the_freeing_thread)
{
    open_box();
    must_get_many(box, block, 40, 64);
    struct part part = {block, 40};
    th_join(th_spawn(take_over, &part));
    EXPECT_COUNTS(64, 48, 8, 40, 16, 24, 0); /* 8 went back at its end */
    check(box);
    put_many(block + 8, 8);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0);
    check(box);
}

TEST(a_thread_without_heap_frees_remotely)
{
    open_box();
    must_get_many(box, block, 40, 64);
    struct part part = {block, 40};
    th_join(th_spawn(free_part, &part));
    EXPECT_COUNTS(64, 40, 0, 40, 0, 0, 0);
    check(box);
}

TEST_MAIN()
