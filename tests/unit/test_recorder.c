/* SPDX-License-Identifier: MIT
 * test_recorder.c - hakctl record's writer, against rings that the test fills
 * itself: what it makes of entries, and their order.
 */
#include "recorder.h"

/* ---- entries ------------------------------------------------------------- */

TEST(one_thread)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 100);
    put(&a, 2, RECORD_CALLOC, 0x2000, UINT64_C(5) << 32);
    put_raw(&a, UINT64_C(4096) << 4, RECORD_VALUE, 0, 0);
    put(&a, 3, RECORD_ALIGNED, 0x3000, 10);
    put(&a, 4, RECORD_REALLOC_FROM, 0x1000, 0);
    put(&a, 5, RECORD_REALLOC_TO, 0x1000, 200);
    put(&a, 6, RECORD_FREE, 0, 0);
    put(&a, 2e7, RECORD_TOUCHED, 0x1000, 4096);
    put(&a, 2e7 + 1, RECORD_FREE, 0x1000, 0);
    put(&a, 2e7 + 2, RECORD_REALLOC_FROM, 0, 0);
    put(&a, 2e7 + 3, RECORD_REALLOC_TO, 0x1000, 7);
    EXPECT_STR(end(), "0m1=100 0c2=21474836480 0a3=10/4096 0r1>4=200 0n 0_4 "
                      "0f4 0r0>5=7");
    EXPECT_EQ(recorder->totals.ncalls, 7);
    EXPECT_EQ(recorder->totals.lost, 0);
}

TEST(times_are_of_the_recording)
{
    char why[64];
    struct trace_op op;
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 50, RECORD_MALLOC, 0x1000, 1);
    put(&a, 1500, RECORD_MALLOC, 0x2000, 1);
    usleep(10000);
    recorder_end(recorder);
    struct trace *t = trace_open(file, NULL, why, sizeof why);
    EXPECT_EQ(trace_next(t, &op, why, sizeof why), 1);
    EXPECT_GE(op.time_ns, 48000);
    EXPECT_LE(op.time_ns, 52000);
    EXPECT_EQ(trace_next(t, &op, why, sizeof why), 1);
    EXPECT_GE(op.time_ns, 1490000);
    EXPECT_LE(op.time_ns, 1510000);
    EXPECT_CONTAINS(trace_about(t), "\"source\":\"record\"");
    EXPECT_CONTAINS(trace_about(t), "test_recorder");
}

TEST(realloc_that_fails_keeps_the_block)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 100);
    put(&a, 2, RECORD_REALLOC_FROM, 0x1000, 0);
    put(&a, 3, RECORD_REALLOC_TO, 0, 200);
    put(&a, 4, RECORD_FREE, 0x1000, 0);
    EXPECT_STR(end(), "0m1=100 0r1>0=200 0f1");
}

TEST(free_of_unknown_blocks)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_FREE, 0x1000, 0);
    put(&a, 2, RECORD_TOUCHED, 0x2000, 4096);
    put(&a, 3, RECORD_REALLOC_FROM, 0x2000, 0);
    put(&a, 4, RECORD_REALLOC_TO, 0x1000, 8);
    put(&a, 5, RECORD_FREE, 0x1000, 0);
    EXPECT_STR(end(), "0f0 0r0>1=8 0f1");
}

/* Its free was lost, and is put in. */
TEST(address_of_a_live_block_is_made_again)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 1);
    put(&a, 2, RECORD_MALLOC, 0x1000, 2);
    put(&a, 3, RECORD_FREE, 0x1000, 0);
    EXPECT_STR(end(), "0m1=1 0f1 0m2=2 0f2");
    EXPECT_EQ(recorder->totals.lost, 1);
}

TEST(nonsense_in_a_ring_is_passed_over)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 1);
    put(&a, 2, RECORD_NONE, 0x1000, 2);
    put(&a, 3, (enum record_kind)15, 0x1000, 2);
    put(&a, 4, RECORD_FREE, 0x1000, 0);
    EXPECT_STR(end(), "0m1=1 0f1");
}

/* Its thread would wait for room for ever. */
TEST(no_nonsense_holds_up_a_ring)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), b = take_ring(getpid(), SELF);
    put_at(&a, record_ticks() + (UINT64_C(1) << 50), RECORD_MALLOC, 0x1000, 1);
    for (unsigned i = 0; i < RECORD_RING_ENTRIES; i++)
        put_raw(&b, i << 4, RECORD_LONG, 0, 0);
    publish(&b);
    for (unsigned i = 0; i < 10; i++) {
        recorder_sleep(recorder, recorder_pass(recorder));
        usleep(1000);
    }
    EXPECT_EQ(a.ring->tail, a.ring->head);
    EXPECT_LE(b.ring->head - b.ring->tail, 8);
    b.head += 3 * RECORD_RING_ENTRIES;
    publish(&b);
    recorder_pass(recorder);
    EXPECT_EQ(b.ring->tail, b.ring->head);
}

/* So hakctl is not busy with a ring that it can take nothing from. */
TEST(nothing_taken_is_a_reason_to_sleep)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    a.head += RECORD_RING_ENTRIES;
    publish(&a);
    uint64_t before = record_now_ns();
    recorder_sleep(recorder, 1);
    uint64_t between = record_now_ns();
    recorder_sleep(recorder, 0);
    EXPECT_GE(record_now_ns() - between, RECORD_SLEEP_NS / 2);
    EXPECT_LT(between - before, UINT64_C(1000000000));
}

/* ---- order --------------------------------------------------------------- */

TEST(a_thread_frees_what_another_made)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), b = take_ring(getpid(), SELF);
    put(&a, 2, RECORD_FREE, 0x1000, 0);
    put(&b, 1, RECORD_MALLOC, 0x1000, 1);
    EXPECT_STR(end(), "0m1=1 1f1");
}

/* A thread goes on beyond the next entry of the other, but not for long. */
TEST(threads_change_seldom)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), b = take_ring(getpid(), SELF);
    for (unsigned i = 0; i < 4; i++) {
        put(&a, 1 + i, RECORD_FREE, 0, 0);
        put(&b, 1.5 + i, RECORD_FREE, 0, 0);
    }
    put(&a, 30, RECORD_FREE, 0, 0);
    put(&b, 20, RECORD_FREE, 0, 0);
    EXPECT_STR(end(), "0n 0n 0n 0n 1n 1n 1n 1n 1n 0n");
}

/* By addresses alone, the first free could be that of thread a as well. */
TEST(a_block_goes_to_the_free_that_came_later)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), c = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 1);
    put(&c, 3, RECORD_FREE, 0x1000, 0);
    put(&c, 4, RECORD_MALLOC, 0x1000, 2);
    put(&a, 5, RECORD_FREE, 0x1000, 0);
    EXPECT_STR(end(), "0m1=1 1f1 1m2=2 0f2");
    EXPECT_EQ(recorder->totals.lost, 0);
}

TEST(an_address_is_used_while_its_block_is_moved)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), b = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 1);
    put(&a, 2, RECORD_REALLOC_FROM, 0x1000, 0);
    put(&b, 20, RECORD_MALLOC, 0x1000, 2);
    put(&a, 40, RECORD_REALLOC_TO, 0x2000, 3);
    put(&b, 21, RECORD_FREE, 0x1000, 0);
    put(&a, 41, RECORD_FREE, 0x2000, 0);
    EXPECT_STR(end(), "0m1=1 1m2=2 1f2 0r1>3=3 0f3");
    EXPECT_EQ(recorder->totals.lost, 0);
}

/* The clock of one processor is behind. */
TEST(clocks_differ_a_little)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), b = take_ring(getpid(), SELF);
    put(&b, 1.0, RECORD_FREE, 0x1000, 0);
    put(&a, 1.5, RECORD_MALLOC, 0x1000, 1);
    put(&a, 1.8, RECORD_MALLOC, 0x2000, 2);
    put(&b, 1.7, RECORD_FREE, 0x2000, 0);
    put(&b, 1.9, RECORD_MALLOC, 0x1000, 3);
    EXPECT_STR(end(), "0m1=1 0m2=2 1f1 1f2 1m3=3");
}

TEST(a_free_does_not_wait_for_an_address_that_comes_much_later)
{
    begin();
    struct thread a = take_ring(getpid(), SELF), b = take_ring(getpid(), SELF);
    put(&b, 1, RECORD_FREE, 0x1000, 0);
    put(&a, 100, RECORD_MALLOC, 0x1000, 1);
    EXPECT_STR(end(), "0f0 1m1=1");
}

/* What is newer than the moment before the heads were read may follow from what
 * is not there yet. */
TEST(the_newest_entries_wait_for_the_next_pass)
{
    begin();
    struct thread a = take_ring(getpid(), SELF);
    put(&a, 1, RECORD_MALLOC, 0x1000, 1);
    put_at(&a, record_ticks() + (UINT64_C(1) << 40), RECORD_FREE, 0x1000, 0);
    EXPECT_EQ(recorder_pass(recorder), 1);
    EXPECT_EQ(recorder->totals.ncalls, 0);
    EXPECT_STR(end(), "0m1=1 0f1");
}

TEST_MAIN()
