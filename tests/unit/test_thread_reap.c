/* SPDX-License-Identifier: MIT
 * test_thread_reap.c - threads of the core: reap, and lanes.
 */
#include "core_threads.h"

/* ---- reap ------------------------------------------------------------ */

static const uint64_t hour_ms = 3600000;

static int count_open(void)
{
    int n = 0;
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        n += t->heap[ULTRA] != NULL;
    return n;
}

TEST(what_is_parked_for_long_is_reaped)
{
    start();
    struct hak_thread *t = run(get_and_end, NULL);
    hak_thread_reap(hak_os_now_ms() + 400, false); /* too early */
    EXPECT_EQ(count_open(), 1);
    hak_thread_reap(hak_os_now_ms() + 600, false);
    EXPECT_EQ(count_open(), 0);
    EXPECT(span_of(block[0])->owner == NULL);
    for (uint32_t i = 0; i <= HAK_LANES; i++)
        EXPECT(hak_lane(t, i) == &hak_no_span);
    EXPECT_EQ(figures().live_count, 1);
    EXPECT(run(get_and_end, NULL) == t); /* still parked, to be used again */
    EXPECT(t->heap[ULTRA] != NULL);
    EXPECT_EQ(figures().adopted_pages, 1);
    EXPECT_EQ(figures().mapped_bytes, HAK_GRANULE_BYTES);
}

TEST(one_a_call_or_all_at_once)
{
    start();
    hold(THREADS);
    let_go(THREADS);
    EXPECT_EQ(count_open(), THREADS);
    hak_thread_reap(hak_os_now_ms(), false);
    EXPECT_EQ(count_open(), THREADS);
    hak_thread_reap(hak_os_now_ms() + hour_ms, false);
    hak_thread_reap(hak_os_now_ms() + hour_ms, false);
    EXPECT_EQ(count_open(), THREADS - 2);
    hak_thread_reap(0, true);
    EXPECT_EQ(count_open(), 0);
    hak_thread_reap(0, true); /* nothing more to do */
    expect_content(THREADS);
    hold(THREADS); /* all of them are used again */
    EXPECT_EQ(count_threads(), THREADS);
    let_go(THREADS);
}

TEST(running_threads_are_not_reaped)
{
    start();
    hold(2);
    struct hak_thread *mine = get_and_end(NULL);
    hak_thread_reap(hak_os_now_ms() + hour_ms, false);
    hak_thread_reap(0, true);
    EXPECT_EQ(count_open(), 3);
    EXPECT(span_of(block[0])->owner == mine);
    let_go(2);
}

TEST(blocks_outlive_their_heap)
{
    start();
    hold(THREADS);
    let_go(THREADS);
    hak_thread_reap(0, true);
    EXPECT_EQ(figures().live_count, THREADS);
    expect_content(THREADS);
    void *mine = get(BYTES);
    for (int i = 0; i < THREADS; i++)
        put(block[i]);
    put(mine);
    EXPECT_EQ(figures().live_count, 0);
}

/* ---- a box without heap_close ---------------------------------------- */

static void *open_heap_of_stub(void *unused)
{
    (void)unused;
    get(BYTES);
    return hak_thread_heap(hak_self, &stub, true);
}

/* box.h: heap_open is "never again for that thread before heap_close". */
TEST(a_heap_that_cannot_be_closed_stays)
{
    start();
    add_stub();
    void *heap = run(open_heap_of_stub, NULL);
    EXPECT(heap == hak_thread_first() && opened == 1);
    hak_thread_reap(0, true);
    EXPECT(run(open_heap_of_stub, NULL) == heap);
    EXPECT_EQ(opened, 1);
}

/* ---- lanes ----------------------------------------------------------- */

TEST(a_span_may_be_in_several_lanes)
{
    static struct hak_span a, b;
    start();
    get(BYTES);
    struct hak_thread *t = hak_self;
    hak_lane_set(t->lane, 40, &a);
    hak_lane_set(t->lane, 38, &a);
    hak_lane_set(t->lane, 39, &b);
    hak_lane_set(t->lane, 41, &a);
    hak_lane_set(t->lane, 41, &b); /* b took it over */
    EXPECT_EQ(a.lane_first, 38);
    EXPECT_GE(a.lane_last, 41);
    hak_lanes_drop(t, &a);
    EXPECT_EQ(a.lane_first + a.lane_last, 0);
    EXPECT(hak_lane(t, 38) == &hak_no_span && hak_lane(t, 40) == &hak_no_span);
    EXPECT(hak_lane(t, 39) == &b && hak_lane(t, 41) == &b);
    hak_lane_set(t->lane, 0, &a);
    hak_lanes_drop(t, &a);
    EXPECT(hak_lane(t, 0) == &hak_no_span);
    hak_lanes_drop(t, &b);
    EXPECT(hak_lane(t, 39) == &hak_no_span && hak_lane(t, 41) == &hak_no_span);
    EXPECT(hak_lane(t, lane_of_bytes) != &hak_no_span);
}

TEST(a_new_route_drops_the_lanes_that_it_concerns)
{
    start();
    void *p = get(BYTES), *q = get(200);
    uint32_t index = lane_of_bytes;
    EXPECT_EQ(hak_policy_set(index, index, "other"), 0);
    EXPECT(hak_alloc_slow(hak_self, 200, false) != NULL);
    EXPECT(hak_lane(hak_self, index) == &hak_no_span);
    EXPECT(hak_lane(hak_self, hak_index_of(200)) == span_of(q));
    void *r = get(BYTES);
    EXPECT(span_of(r)->box == &hak_boxes.all[SECOND]->box);
    put(p); /* still the first box's */
    EXPECT_EQ(figures().live_count, 2);
    EXPECT_EQ(hak_policy_drain(hak_boxes.all[SECOND], NULL), 0);
    EXPECT(hak_alloc_slow(hak_self, BYTES, false) == NULL);
    EXPECT(hak_lane(hak_self, index) == &hak_no_span);
    put(r);
}

TEST(reroute_reaches_every_thread)
{
    start();
    hold(2);
    get(BYTES);
    get(200);
    hak_lanes_reroute(lane_of_bytes, lane_of_bytes);
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        EXPECT(hak_lane(t, lane_of_bytes) == &hak_no_span);
    EXPECT(hak_lane(hak_self, hak_index_of(200)) != &hak_no_span);
    hak_lanes_reroute(0, HAK_INDEX_LARGE);
    EXPECT(hak_lane(hak_self, hak_index_of(200)) == &hak_no_span);
    expect_content(2);
    let_go(2);
}

TEST_MAIN()
