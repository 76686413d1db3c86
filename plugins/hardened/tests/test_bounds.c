/* SPDX-License-Identifier: MIT
 * test_bounds.c - canaries and guards: overflows, underflows, blocks of no
 * bytes.
 */
#include "test_hardened.h"

/* ---- bounds ----------------------------------------------------------------
 */

static void overflow(size_t size_bytes)
{
    struct hak_box *box = OPEN();
    char *p = get(box, size_bytes);
    p[size_bytes] = 0;
    put(box, p);
}

TEST_DIES(overflow_of_the_smallest, SIGABRT, "of 1 bytes")
{
    overflow(1);
}

TEST_DIES(overflow_of_the_largest_slot, SIGABRT, "overflow")
{
    overflow(SLOT_MOST_BYTES - BORDER_BYTES);
}

TEST_DIES(overflow_in_what_rounding_leaves, SIGABRT, "of 4096 bytes")
{
    overflow(4096);
}

TEST_DIES(overflow_of_a_block_inside_of_its_page, SIGABRT, "overflow")
{
    overflow(131059);
}

TEST_DIES(overflow_of_an_aligned_slot, SIGABRT, "overflow")
{
    struct hak_box *box = OPEN();
    char *p = box->ops->aligned_alloc(box, 4096, 100);
    p[300] = 1;
    put(box, p);
}

TEST_DIES(behind_the_page_of_an_aligned_block, SIGSEGV, NULL)
{
    char *p = OPEN()->ops->aligned_alloc(OPEN(), 1 << 20, 100);
    p[4096] = 1;
}

static void underflow(size_t size_bytes, int by)
{
    struct hak_box *box = OPEN();
    char *p = get(box, size_bytes);
    while ((uintptr_t)p % 16384 == 0) /* the run in front may be closed */
        p = get(box, size_bytes);
    p[-by] ^= 1;
    put(box, p);
}

TEST_DIES(underflow_of_a_slot, SIGABRT, "underflow")
{
    underflow(16, 1);
}

TEST_DIES(underflow_by_16, SIGABRT, "underflow")
{
    underflow(3000, 16);
}

TEST_DIES(underflow_of_a_block_inside_of_its_page, SIGABRT, "underflow")
{
    underflow(140000, 1);
}

TEST_DIES(underflow_by_more_inside_of_a_blocks_page, SIGABRT, "underflow")
{
    underflow(140000, 900);
}

TEST_DIES(a_slot_that_was_overrun_does_not_grow, SIGABRT, "overflow")
{
    struct hak_box *box = OPEN();
    char *p = get(box, 30);
    p[30] = 1;
    box->ops->resize(box, p, 31);
}

TEST_DIES(a_block_that_was_overrun_does_not_grow, SIGABRT, "overflow")
{
    struct hak_box *box = OPEN();
    char *p = get(box, 131059);
    p[131059] = 1;
    box->ops->resize(box, p, 200000);
}

TEST_DIES(overflow_of_a_block, SIGSEGV, NULL)
{
    overflow(SLOT_MOST_BYTES);
}

TEST_DIES(overflow_of_a_block_that_grew, SIGABRT, "overflow")
{
    struct hak_box *box = OPEN();
    char *p = box->ops->resize(box, get(box, 140000), 141000);
    p[141000] = 1;
    put(box, p);
}

TEST_DIES(behind_the_page_of_a_block_that_grew, SIGSEGV, NULL)
{
    struct hak_box *box = OPEN();
    char *p = box->ops->resize(box, get(box, 140000), 141000);
    p[hak_round_up(141000, 4096)] = 1;
}

TEST_DIES(underflow_of_a_block, SIGSEGV, NULL)
{
    char *p = get(OPEN(), 2 * HAK_GRANULE_BYTES);
    p[-1] = 1;
}

TEST_DIES(use_of_a_freed_block, SIGSEGV, NULL)
{
    struct hak_box *box = OPEN();
    char *p = get(box, SLOT_MOST_BYTES);
    put(box, p);
    *(volatile char *)p = 1;
}

TEST_DIES(use_of_a_block_that_is_kept, SIGSEGV, NULL)
{
    struct hak_box *box = OPEN("big_quarantine=0");
    char *p = get(box, SLOT_MOST_BYTES);
    put(box, p);
    *(volatile char *)p = 1;
}

TEST_DIES(what_is_in_front_of_a_blocks_page_faults, SIGSEGV, NULL)
{
    struct hak_box *box = OPEN("big_quarantine=0");
    put(box, get(box, 190000)); /* a longer block in the same place first */
    char *p = get(box, 140000);
    *(volatile char *)(p - 5000) = 1;
}

/* For every size: a change of any byte around the program's is found. */
TEST(each_byte_around_is_looked_at)
{
    struct hak_box *box = OPEN();
    struct hardened *h = hardened_of(box);
    for (size_t bytes = 1; bytes < 9000; bytes += 1 + bytes / 20) {
        char *p = get(box, bytes);
        const struct slab *slab = slab_of(h, p);
        EXPECT(slab != NULL);
        size_t room = slab != NULL ? room_of(slab) : 0;
        for (size_t at = bytes; at < room + BORDER_BYTES; at++) {
            struct pair border = border_of(h, p + room + BORDER_BYTES);
            EXPECT(canary_is_whole(h, border, p, bytes, room));
            EXPECT(border_is(border, p + room + BORDER_BYTES));
            bool in_canary = at < bytes + 16 && at < room;
            EXPECT((p[at] & 0x80) != 0 || (at < room && !in_canary));
            p[at] ^= 4;
            EXPECT(canary_is_whole(h, border, p, bytes, room) !=
                   border_is(border, p + room + BORDER_BYTES));
            p[at] ^= 4;
        }
        put(box, p);
    }
}

/* ---- guards ---------------------------------------------------------------
 */

/* Write from a slot up or down until a guard faults, which must be within the
 * length of a slab. */
static void run_into_guard(int step)
{
    volatile char *p = get(OPEN(), 100);
    for (int i = 0; i < (int)HAK_GRANULE_BYTES; i++)
        p[i * step] = 1;
}

TEST_DIES(a_guard_behind_each_span, SIGSEGV, NULL)
{
    run_into_guard(1);
}

TEST_DIES(a_guard_in_front_of_each_span, SIGSEGV, NULL)
{
    /* The guard behind the slab in front, or the one before the region. */
    run_into_guard(-1);
}

TEST(slots_of_no_bytes)
{
    struct hak_box *box = OPEN();
    for (size_t i = 0; i < 1000; i++) {
        block[i] = box->ops->alloc_none(box);
        EXPECT(block[i] != NULL);
        EXPECT_EQ(box->ops->usable_size(box, block[i]), 0);
        for (size_t k = 0; k < i; k++)
            EXPECT(block[k] != block[i]);
    }
    for (size_t i = 0; i < 1000; i++)
        put(box, block[i]);
}

TEST_DIES(a_slot_of_no_bytes_faults, SIGSEGV, NULL)
{
    struct hak_box *box = OPEN();
    *(volatile char *)box->ops->alloc_none(box) = 1;
}

TEST_DIES(a_slot_of_no_bytes_freed_twice, SIGABRT, "freed twice")
{
    struct hak_box *box = OPEN();
    void *p = box->ops->alloc_none(box);
    put(box, p);
    put(box, p);
}

TEST_MAIN()
