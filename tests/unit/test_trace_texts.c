/* SPDX-License-Identifier: MIT
 * test_trace_texts.c - the logs of logalloc and mtrace as traces.
 */
#include "traces.h"

#include <trace/trace_reader.h>

static char why[512];

static struct trace *open_text(const char *text, uint64_t pid)
{
    const struct trace_options options = {.pid = pid};
    FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    EXPECT(in != NULL);
    return trace_open_stream(in, &options, why, sizeof why);
}

/* Read the text, which has to be these operations. */
static void expect_trace(const char *text, uint64_t pid,
                         const struct trace_op *wanted, int n, bool cut)
{
    struct trace_op got;
    struct trace *t = open_text(text, pid);
    if (t == NULL)
        test_fail(__FILE__, __LINE__, "not read: %s", why);
    for (int i = 0; i < n; i++) {
        int status = trace_next(t, &got, why, sizeof why);
        if (status != 1)
            test_fail(__FILE__, __LINE__, "operation %d: %s", i, why);
        if (!same_op(&got, &wanted[i]))
            test_fail(__FILE__, __LINE__,
                      "operation %d: kind %d object %d old %d size %d", i,
                      (int)got.kind, (int)got.object, (int)got.old,
                      (int)got.size);
    }
    EXPECT_EQ(trace_next(t, &got, why, sizeof why), 0);
    EXPECT_EQ(trace_was_cut(t), cut);
    struct trace_totals totals;
    EXPECT_EQ(trace_totals(t, &totals), !cut);
    if (!cut)
        EXPECT_EQ(totals.nops, n);
    trace_close(t);
}
#define EXPECT_TRACE(text, pid, cut, ...)                           \
    expect_trace(text, pid, (const struct trace_op[]){__VA_ARGS__}, \
                 sizeof((const struct trace_op[]){__VA_ARGS__}) /   \
                     sizeof(struct trace_op),                       \
                 cut)

static void expect_wrong(const char *text, const char *reason)
{
    struct trace_op op;
    int status = 1;
    struct trace *t = open_text(text, 0);
    while (t != NULL && (status = trace_next(t, &op, why, sizeof why)) == 1)
        ;
    EXPECT(t == NULL || status < 0);
    if (strstr(why, reason) == NULL)
        test_fail(__FILE__, __LINE__, "\"%s\" is not in \"%s\"", reason, why);
    if (t != NULL)
        trace_close(t);
}

/* ---- logalloc ------------------------------------------------------------ */

TEST(logalloc_functions)
{
    EXPECT_TRACE(
        "18545 18545 malloc(32)=0x7f90495120e0\n"
        "18545 18545 calloc(3,148)=0x7f9049537480\n"
        "18545 18546 realloc(0x7f90495120e0,64)=0x7f90495120e0\n"
        "18545 18546 posix_memalign(256,240)=0x7f9049583300\n"
        "18545 18545 jemalloc_stats()\n"
        "18545 18545 free(0x7f90495120e0)\n"
        "18545 18545 memalign(16,9)=0x10\n"
        "18545 18545 aligned_alloc(64,9)=0x20\n"
        "18545 18545 valloc(9)=0x30\n"
        "18545 18545 free(0x0)\n"
        "18545 18545 free(0x40)\n"
        "18545 18545 realloc(0x10,0)=0x0\n"
        "18545 18545 realloc(0x20,99)=0x0\n"
        "18545 18545 realloc(0x0,5)=0x50\n"
        "18545 18545 malloc(18446744073709551615)=0x0\n"
        "18545 18545 free(0x20)\n",
        0, false, {.kind = TRACE_MALLOC, .object = 1, .size = 32},
        {.kind = TRACE_CALLOC, .object = 2, .size = 444},
        {.kind = TRACE_REALLOC, .thread = 1, .object = 3, .old = 1, .size = 64},
        {.kind = TRACE_ALIGNED,
         .thread = 1,
         .object = 4,
         .size = 240,
         .align = 256},
        {.kind = TRACE_FREE, .object = 3},
        {.kind = TRACE_MALLOC, .object = 5, .size = 9},
        {.kind = TRACE_ALIGNED, .object = 6, .size = 9, .align = 64},
        {.kind = TRACE_ALIGNED, .object = 7, .size = 9, .align = 4096},
        {.kind = TRACE_FREE_NULL}, {.kind = TRACE_FREE},
        {.kind = TRACE_FREE, .object = 5},
        {.kind = TRACE_REALLOC, .old = 6, .size = 99},
        {.kind = TRACE_REALLOC, .object = 8, .size = 5},
        {.kind = TRACE_MALLOC, .size = UINT64_MAX},
        {.kind = TRACE_FREE, .object = 6});
}

/* Made at an address where a block is live: that one was freed unseen. */
TEST(logalloc_missed_free)
{
    EXPECT_TRACE("1 1 malloc(1)=#1\n1 2 malloc(2)=#1\n1 1 free(#1)\n", 0, false,
                 {.kind = TRACE_MALLOC, .object = 1, .size = 1},
                 {.kind = TRACE_FREE, .thread = 1, .object = 1},
                 {.kind = TRACE_MALLOC, .thread = 1, .object = 2, .size = 2},
                 {.kind = TRACE_FREE, .object = 2});
}

TEST(logalloc_processes)
{
    const char text[] = "7 7 malloc(1)=0x10\n"
                        "8 8 malloc(2)=0x10\n"
                        "8 8 free(0x10)\n"
                        "7 7 malloc(3)=0x20\n"
                        "8 9 malloc(4)=0x20\n";
    EXPECT_TRACE(text, 7, false, {.kind = TRACE_MALLOC, .object = 1, .size = 1},
                 {.kind = TRACE_MALLOC, .object = 2, .size = 3});
    EXPECT_TRACE(text, 0, false, {.kind = TRACE_MALLOC, .object = 1, .size = 2},
                 {.kind = TRACE_FREE, .object = 1},
                 {.kind = TRACE_MALLOC, .thread = 1, .object = 2, .size = 4});
    EXPECT(open_text(text, 9) == NULL);
    EXPECT(strcmp(why,
                  "has no process 9; most of its lines are of process 8") == 0);
}

/* Logs from before there were threads in them. */
TEST(logalloc_without_threads)
{
    EXPECT_TRACE("13663 malloc(42)=0x7f0c33502040\n"
                 "13663 free(0x7f0c33502040)\n",
                 0, false, {.kind = TRACE_MALLOC, .object = 1, .size = 42},
                 {.kind = TRACE_FREE, .object = 1});
}

TEST(logalloc_cut)
{
    EXPECT_TRACE("1 1 malloc(1)=0x10\n1 1 malloc(2)=0x2", 0, true,
                 {.kind = TRACE_MALLOC, .object = 1, .size = 1});
}

TEST(logalloc_wrong)
{
    expect_wrong("1 1 malloc(1)=0x10\n\n", "in line 2: \"PID TID FUNCTION(\"");
    expect_wrong("1 1 mallocs(1)=0x10\n", "in line 1: the function is not");
    expect_wrong("1 1 malloc(1,2)=0x10\n", "in line 1: the arguments");
    expect_wrong("1 1 malloc(99999999999999999999)=0x10\n",
                 "in line 1: the arguments");
    expect_wrong("1 1 malloc(1)\n", "in line 1: the result");
    expect_wrong("1 1 malloc(1)=0x10 \n", "in line 1: the result");
    expect_wrong("1 18446744073709551615 free(0x0)\n", "in line 1: \"PID");
}

TEST(a_line_that_does_not_end)
{
    static char text[20000] = "1 1 malloc(1)=0x";
    memset(text + strlen(text), '0', sizeof text - 1 - strlen(text));
    expect_wrong(text, "in line 1: it is longer than lines are");
}

/* ---- mtrace -------------------------------------------------------------- */

TEST(mtrace_signs)
{
    EXPECT_TRACE(
        "= Start\n"
        "@ ./a b:[0x11b0] + 0x55b2b80e92a0 0xa\n"
        "@ ./a b:(main+0x1)[0x11c5] < 0x55b2b80e92a0\n"
        "@ ./a b:[0x11c5] > 0x7f4339ae9010 0x1e8480\n"
        "+ 0x55b2b80e92a0 0x15\n"
        "@ ./a - b:[0x1229] ! 0x7f4339ae9010 0x7fffffffffffffff\n"
        "- 0x55b2b80e92a0\n"
        "@ ./a b:[0x1] + (nil) 0x99\n"
        "@ ./a b:[0x1] - 0x1230\n"
        "= End\n",
        0, false, {.kind = TRACE_MALLOC, .object = 1, .size = 10},
        {.kind = TRACE_REALLOC, .object = 2, .old = 1, .size = 2000000},
        {.kind = TRACE_MALLOC, .object = 3, .size = 21},
        {.kind = TRACE_REALLOC, .old = 2, .size = INT64_MAX},
        {.kind = TRACE_FREE, .object = 3}, {.kind = TRACE_MALLOC, .size = 0x99},
        {.kind = TRACE_FREE});
}

TEST(mtrace_cut_inside_of_realloc)
{
    EXPECT_TRACE("= Start\n+ 0x10 0x1\n< 0x10\n", 0, true,
                 {.kind = TRACE_MALLOC, .object = 1, .size = 1});
}

TEST(mtrace_wrong)
{
    expect_wrong("= Start\n> 0x10 0x1\n", "in line 2: \">\" without \"<\"");
    expect_wrong("= Start\n< 0x10\n- 0x10\n", "in line 3: \"> ADDRESS SIZE\"");
    expect_wrong("= Start\nhello\n", "in line 2: \"@ CALLER + ADDRESS SIZE\"");
    expect_wrong("= Start\n+ 0x10 zebra\n", "in line 2: \"@ CALLER");
}

/* ---- neither ------------------------------------------------------------- */

TEST(no_trace)
{
    expect_wrong("\x7f"
                 "ELF",
                 "is no trace");
    expect_wrong("Hello", "is no trace, although it begins like one");
    expect_wrong("HAK", "was cut before its first block");
}

TEST_MAIN()
