/* SPDX-License-Identifier: MIT
 * test_trace.c - what is written to a trace is read from it.
 */
#include "traces.h"

static char why[256];

static struct trace_writer *create(void)
{
    struct trace_writer *w =
        trace_create(trace_path(), "{\"source\": \"test\"}", why, sizeof why);
    if (w == NULL)
        test_fail(__FILE__, __LINE__, "trace_create: %s", why);
    return w;
}

static struct trace *reopen(void)
{
    struct trace *t = trace_open(trace_path(), NULL, why, sizeof why);
    if (t == NULL)
        test_fail(__FILE__, __LINE__, "trace_open: %s", why);
    unlink(trace_path());
    return t;
}

static void expect_next(struct trace *t, const struct trace_op *wanted)
{
    struct trace_op got;
    int status = trace_next(t, &got, why, sizeof why);
    if (status < 0)
        test_fail(__FILE__, __LINE__, "trace_next: %s", why);
    EXPECT_EQ(status, 1);
    EXPECT_EQ(got.kind, wanted->kind);
    EXPECT_EQ(got.object, wanted->object);
    EXPECT_EQ(got.time_ns, wanted->time_ns);
    EXPECT(same_op(&got, wanted));
}

static void expect_end(struct trace *t)
{
    struct trace_op op;
    EXPECT_EQ(trace_next(t, &op, why, sizeof why), 0);
    EXPECT(!trace_was_cut(t));
    EXPECT_EQ(trace_next(t, &op, why, sizeof why), 0);
}

/* Three blocks and a part, with a flush in between. */
TEST(all_kinds_come_back)
{
    enum { N = 3 * TRACE_BLOCK_OPS + 1000 };
    struct made_up m = {.random = 1};
    struct trace_writer *w = create();
    for (int i = 0; i < N; i++) {
        struct trace_op op = next_made_up(&m);
        EXPECT_EQ(trace_put(w, &op), 0);
        if (i == 12345)
            EXPECT_EQ(trace_flush(w), 0);
    }
    EXPECT_EQ(trace_finish(w, 7), 0);
    struct trace *t = reopen();
    EXPECT(strcmp(trace_about(t), "{\"source\": \"test\"}") == 0);
    for (int round = 0; round < 2; round++) {
        struct made_up again = {.random = 1};
        struct trace_totals totals;
        EXPECT(!trace_totals(t, &totals));
        for (int i = 0; i < N; i++) {
            struct trace_op op = next_made_up(&again);
            expect_next(t, &op);
        }
        expect_end(t);
        EXPECT(trace_totals(t, &totals));
        EXPECT_EQ(totals.nops, N);
        EXPECT_EQ(totals.objects, m.objects);
        EXPECT_EQ(totals.threads, m.threads);
        EXPECT_EQ(totals.lost, 7);
        EXPECT_EQ(trace_rewind(t, why, sizeof why), 0);
    }
    trace_close(t);
}

TEST(largest_values)
{
    const uint64_t most = UINT64_MAX;
    const struct trace_op ops[] = {
        {.kind = TRACE_MALLOC, .object = 1},
        {.kind = TRACE_ALIGNED, .object = 2, .size = most, .align = most},
        {.kind = TRACE_REALLOC, .object = 3, .old = 1, .size = most},
        {.kind = TRACE_RESIDENT, .size = most},
        {.kind = TRACE_TOUCHED, .object = 2, .size = most},
        {.kind = TRACE_FREE, .object = 2},
        {.kind = TRACE_ENDED, .time_ns = most / 1000 * 1000},
        {.kind = TRACE_FREE, .thread = 1, .time_ns = most / 1000 * 1000},
        {.kind = TRACE_CALLOC, .thread = 1, .time_ns = most / 1000 * 1000},
    };
    enum { N = sizeof ops / sizeof ops[0] };
    struct trace_writer *w = create();
    for (int i = 0; i < N; i++)
        EXPECT_EQ(trace_put(w, &ops[i]), 0);
    EXPECT_EQ(trace_finish(w, most), 0);
    struct trace *t = reopen();
    for (int i = 0; i < N; i++)
        expect_next(t, &ops[i]);
    expect_end(t);
    struct trace_totals totals;
    EXPECT(trace_totals(t, &totals));
    EXPECT(totals.lost == most);
    trace_close(t);
}

TEST(times_are_whole_microseconds_and_never_fall)
{
    struct trace_writer *w = create();
    const uint64_t times[] = {1999, 5000, 4000};
    const uint64_t wanted[] = {1000, 5000, 5000};
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(trace_put(w, &(struct trace_op){.kind = TRACE_FREE_NULL,
                                                  .time_ns = times[i]}),
                  0);
    EXPECT_EQ(trace_finish(w, 0), 0);
    struct trace *t = reopen();
    for (int i = 0; i < 3; i++)
        expect_next(t, &(struct trace_op){.kind = TRACE_FREE_NULL,
                                          .time_ns = wanted[i]});
    trace_close(t);
}

/* A free names its block by the `touched` before it only inside of a block of
 * operations, which are read one by one. */
TEST(touched_and_freed_in_two_blocks)
{
    const struct trace_op ops[] = {
        {.kind = TRACE_MALLOC, .object = 1, .size = 5},
        {.kind = TRACE_TOUCHED, .object = 1, .size = 4096},
        {.kind = TRACE_FREE, .object = 1},
    };
    struct trace_writer *w = create();
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(trace_put(w, &ops[i]), 0);
        EXPECT_EQ(trace_flush(w), 0);
    }
    EXPECT_EQ(trace_finish(w, 0), 0);
    struct trace *t = reopen();
    for (int i = 0; i < 3; i++)
        expect_next(t, &ops[i]);
    expect_end(t);
    trace_close(t);
}

TEST(what_cannot_follow_is_refused)
{
    struct trace_writer *w = create();
    const struct trace_op bad[] = {
        {.kind = TRACE_KINDS},
        {.kind = TRACE_MALLOC, .object = 2},
        {.kind = TRACE_FREE, .object = 1},
        {.kind = TRACE_TOUCHED, .object = 1},
        {.kind = TRACE_REALLOC, .object = 1, .old = 1},
        {.kind = TRACE_MALLOC, .thread = 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        EXPECT_EQ(trace_put(w, &bad[i]), -EINVAL);
    const struct trace_op good = {.kind = TRACE_MALLOC, .object = 1};
    EXPECT_EQ(trace_put(w, &good), 0);
    EXPECT_EQ(trace_finish(w, 0), 0);
    struct trace *t = reopen();
    expect_next(t, &good);
    expect_end(t);
    trace_close(t);
}

TEST(the_peak_counts_live_blocks)
{
    struct trace_writer *w = create();
    const struct trace_op ops[] = {
        {.kind = TRACE_MALLOC, .object = 1, .size = 100},
        {.kind = TRACE_MALLOC, .object = 2, .size = 50},
        {.kind = TRACE_FREE, .object = 1},
        {.kind = TRACE_FREE, .object = 1},
        {.kind = TRACE_REALLOC, .object = 3, .old = 2, .size = 90},
        {.kind = TRACE_REALLOC, .object = 0, .old = 3, .size = 1000},
        {.kind = TRACE_MALLOC, .object = 4, .size = 61},
        {.kind = TRACE_FREE, .object = 3},
    };
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        EXPECT_EQ(trace_put(w, &ops[i]), 0);
    EXPECT_EQ(trace_finish(w, 0), 0);
    struct trace *t = reopen();
    struct trace_op op;
    struct trace_totals totals;
    while (trace_next(t, &op, why, sizeof why) == 1)
        ;
    EXPECT(trace_totals(t, &totals));
    EXPECT_EQ(totals.peak_live_bytes, 151);
    EXPECT_EQ(totals.peak_live_blocks, 2);
    trace_close(t);
}

TEST_MAIN()
