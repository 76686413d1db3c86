/* SPDX-License-Identifier: MIT
 * test_tap.c - host->watch_calls: each call of the program is told once, and
 * none when it has ended. tests/preload/recorded.c tests it in programs.
 */
#include "core_threads.h"

#include <core/route/tap.h>
#include <hakmem/module.h>

static uint32_t nmade, nfreed, nresizing, nresized, nlost, ninside;
static size_t last_size, last_align;
static const void *last;

static void on_made(void **word, enum hak_call_kind kind, const void *p,
                    size_t size, size_t align)
{
    EXPECT(word == &hak_self->of_module[3]);
    EXPECT_EQ(align != 0, kind == HAK_CALL_ALIGNED);
    last = p;
    last_size = size;
    last_align = align;
    nmade++;
    ninside += hak_self->in_call;
}

static void on_freeing(void **word, const void *p)
{
    EXPECT(word == &hak_self->of_module[3]);
    last = p;
    nfreed++;
    ninside += hak_self->in_call;
}

static void on_resizing(void **word, const void *p)
{
    EXPECT(word == &hak_self->of_module[3]);
    last = p;
    nresizing++;
}

static void on_resized(void **word, const void *p, size_t size)
{
    EXPECT(word == &hak_self->of_module[3]);
    last = p;
    last_size = size;
    nresized++;
}

static void on_lost(void)
{
    nlost++;
}

static const struct hak_call_ops ops = {on_made, on_freeing, on_resizing,
                                        on_resized, on_lost};

static void expect_counts(uint32_t made, uint32_t freed, uint32_t resized)
{
    EXPECT_EQ(nmade, made);
    EXPECT_EQ(nfreed, freed);
    EXPECT_EQ(nresizing, resized);
    EXPECT_EQ(nresized, resized);
    EXPECT_EQ(nlost, 0);
    EXPECT_EQ(ninside, 0);
}

TEST(each_call_is_told_once)
{
    start();
    hak_free(hak_malloc(BYTES));
    EXPECT_EQ(hak_tap_set(3, &ops), 0);
    EXPECT_EQ(hak_directory.limit, 0);
    char *p = hak_malloc(BYTES);
    EXPECT(last == p && last_size == BYTES);
    hak_free(p);
    EXPECT(last == p);
    expect_counts(1, 1, 0);
    p = hak_alloc_aligned(64, 100);
    EXPECT(last == p && last_size == 100 && last_align == 64);
    char *q = hak_realloc_slow(p, 500); /* makes a block and frees one */
    EXPECT(last == q && last_size == 500);
    expect_counts(2, 1, 1);
    EXPECT(hak_realloc_slow(q, 501) == q);
    EXPECT(hak_realloc_slow(q, SIZE_MAX / 2 + 2) == NULL);
    EXPECT(last == NULL);
    expect_counts(2, 1, 3);
    hak_free(q);
    put(NULL);
    EXPECT(last == NULL);
    EXPECT(hak_malloc(SIZE_MAX / 2 + 2) == NULL);
    expect_counts(2, 3, 3);
}

TEST(the_end_gives_the_inline_paths_back)
{
    start();
    void *kept[100];
    EXPECT_EQ(hak_tap_set(3, &ops), 0);
    for (int i = 0; i < 100; i++)
        kept[i] = hak_malloc(BYTES);
    expect_counts(100, 0, 0);
    EXPECT(hak_lane(hak_self, lane_of_bytes) == &hak_no_span);
    EXPECT(hak_lane_of(hak_self->taps, lane_of_bytes) == span_of(kept[99]));
    EXPECT_EQ(hak_tap_set(3, NULL), 0);
    EXPECT_EQ(hak_directory.limit, hak_directory.limit_real);
    EXPECT(hak_lane_of(hak_self->taps, lane_of_bytes) == &hak_no_span);
    for (int i = 0; i < 100; i++)
        hak_free(kept[i]);
    void *p = hak_malloc(BYTES);
    EXPECT(hak_lane(hak_self, lane_of_bytes) == span_of(p));
    EXPECT(hak_lane_pop(hak_self, lane_of_bytes) != NULL);
    expect_counts(100, 0, 0);
}

TEST(one_module_watches)
{
    start();
    EXPECT_EQ(hak_tap_set(3, &ops), 0);
    EXPECT_EQ(hak_tap_set(4, &ops), -EBUSY);
    EXPECT_EQ(hak_tap_set(4, NULL), -EBUSY);
    EXPECT_EQ(hak_tap_set(3, NULL), 0);
    EXPECT_EQ(hak_tap_set(4, &ops), 0);
}

/* A box that gives a page back takes its span out of both kinds of lanes. */
TEST(a_dropped_span_is_in_no_lane)
{
    start();
    void *p = hak_malloc(BYTES);
    struct hak_span *span = span_of(p);
    EXPECT_EQ(hak_tap_set(3, &ops), 0);
    void *q = hak_malloc(BYTES);
    EXPECT(span_of(q) == span);
    hak_lane_set(hak_self->lane, lane_of_bytes, span);
    hak_lanes_drop(hak_self, span);
    EXPECT(hak_lane(hak_self, lane_of_bytes) == &hak_no_span);
    EXPECT(hak_lane_of(hak_self->taps, lane_of_bytes) == &hak_no_span);
}

static void *first_call_frees(void *p)
{
    EXPECT(!hak_is_attached(hak_self));
    hak_free(p);
    EXPECT(hak_is_attached(hak_self));
    return NULL;
}

TEST(a_thread_that_only_frees_gets_a_structure)
{
    start();
    pthread_t thread;
    void *p = hak_malloc(BYTES);
    EXPECT_EQ(hak_tap_set(3, &ops), 0);
    pthread_create(&thread, NULL, first_call_frees, p);
    pthread_join(thread, NULL);
    expect_counts(0, 1, 0);
}

TEST_MAIN()
