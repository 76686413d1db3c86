/* SPDX-License-Identifier: MIT
 * test_limits.c - blocks at random, two instances, and memory that ends.
 */
#include "test_mid_v35.h"

/* ---- at random, limits ------------------------------------------------- */

static void at_random(unsigned flags)
{
    struct hak_box *box = OPEN(flags);
    static unsigned char bytes_of[8192];
    for (size_t i = 0; i < 300000; i++) {
        size_t at = rnd(rnd(8) == 0 ? 8192 : 1024);
        if (block[at] != NULL) {
            unsigned char *p = block[at];
            EXPECT(p[0] == bytes_of[at]);
            th_free(p);
            block[at] = NULL;
        } else {
            block[at] = th_malloc(box, 1 + rnd(MOST));
            memset(block[at], bytes_of[at] = (unsigned char)i,
                   th_usable(block[at]));
        }
        if (i % 100 == 0)
            th_clock_add(5);
        if (rnd(20000) == 0)
            box->ops->trim(box);
        if (i % 20000 == 0)
            check(box);
    }
    check(box);
}

TEST(at_random_with_lanes)
{
    at_random(0);
}

TEST(at_random_without_lanes)
{
    at_random(TH_NO_LANES);
}

TEST(two_instances)
{
    struct hak_box *a = OPEN(0), *b = OPEN(TH_NO_LANES, "slots=1024");
    for (size_t i = 0; i < 4000; i += 2) {
        block[i] = th_malloc(a, 300);
        block[i + 1] = th_malloc(b, 300);
        EXPECT(th_owner(block[i]) == a && th_owner(block[i + 1]) == b);
    }
    check(a);
    check(b);
    put_many(block, 4000);
    check(a);
    check(b);
}

TEST(init_without_memory)
{
    for (uint64_t n = 1; n <= 2; n++) {
        struct hak_box *box = NULL;
        th_fail_at(n);
        EXPECT_EQ(th_open_entry(&hak_box_entry, "mid_v35", NULL, 0, &box),
                  -ENOMEM);
        EXPECT_CONTAINS(th_last_log(), "no memory");
        th_fail_never();
    }
    EXPECT(th_malloc(OPEN(0), 16) != NULL);
}

/* Memory ends with the nth request of the host; later there is some again. */
static void exhausted_at(struct hak_box *box, uint64_t n)
{
    enum { BLOCKS = 3 * SEGMENT_1K };
    th_fail_at(n);
    size_t got = get_many(box, block, BLOCKS, 1000);
    for (int i = 0; i < 100 && got < BLOCKS; i++) {
        EXPECT(th_malloc(box, 1000) == NULL);
        EXPECT(th_alloc_direct(box, 1000) == NULL);
    }
    for (size_t i = 0; i < got; i++)
        memset(block[i], 0x11, 1000);
    check(box);
    put_many(block, got);
    th_fail_never();
    EXPECT_EQ(get_many(box, block, BLOCKS, 1000), BLOCKS);
    check(box);
    put_many(block, BLOCKS);
    box->ops->trim(box);
    EXPECT_EQ(th_mapped(box), 0); /* failures lost nothing */
    check(box);
}

TEST(exhaustion_at_the_nth_request)
{
    for (uint64_t n = 1; n <= 12; n++)
        exhausted_at(OPEN(n % 2 ? 0 : TH_NO_LANES), n);
}

TEST(exhaustion_again_and_again)
{
    struct hak_box *box = OPEN(0);
    for (uint64_t n = 1; n <= 30; n++)
        exhausted_at(box, n);
}

TEST_MAIN()
