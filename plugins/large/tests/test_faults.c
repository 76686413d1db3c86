/* SPDX-License-Identifier: MIT
 * test_faults.c - the box through its operations: a host that fails, a full
 * window, wrong frees, any pointer.
 */
#include "test_large.h"

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
