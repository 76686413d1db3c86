/* SPDX-License-Identifier: MIT
 * trace.c - any bytes as a trace of any format, as the body of a block of
 * operations, and as the columns of one: each is read or refused with a reason,
 * and what is read names no block and no thread that there is not.
 */
#include "fuzz.h"

#include "../../tools/trace/trace_block.h"
#include "../../tools/trace/trace_reader.h"

#include <stdlib.h>
#include <string.h>

FUZZ_SEEDS("tests/fuzz/seeds/trace");
FUZZ_WORDS("TBlk", "HAKTRAC\1", "\x28\xb5\x2f\xfd", "malloc(", "realloc(",
           "free(", ")=0x", "\n1 1 ", "\n@ a < 0x10\n@ a > 0x20 0x8\n", "(nil)",
           "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", );

#define CHECK(what) ((what) ? (void)0 : abort())

/* What was read before. */
struct seen {
    uint64_t nops, objects, time_ns, nthreads;
};

static void check_op(struct seen *s, const struct trace_op *op)
{
    CHECK(op->kind < TRACE_KINDS);
    CHECK(op->thread <= s->nthreads && op->time_ns >= s->time_ns);
    s->nthreads += op->thread == s->nthreads;
    s->time_ns = op->time_ns;
    CHECK(op->old <= s->objects);
    if (op->kind <= TRACE_REALLOC && op->object != 0)
        CHECK(op->object == ++s->objects);
    CHECK(op->object <= s->objects);
    s->nops++;
}

static void read_all(struct trace *t)
{
    struct trace_op op;
    struct trace_totals totals;
    struct seen seen = {0};
    char why[512] = "";
    int got;
    while ((got = trace_next(t, &op, why, sizeof why)) == 1)
        check_op(&seen, &op);
    CHECK(got == 0 || why[0] != 0);
    CHECK(trace_about(t) != NULL);
    if (trace_totals(t, &totals))
        CHECK(totals.nops == seen.nops && totals.objects == seen.objects &&
              totals.threads == seen.nthreads && !trace_was_cut(t));
}

static void read_file(void *bytes, size_t n)
{
    char why[512] = "";
    FILE *in = n != 0 ? fmemopen(bytes, n, "r") : NULL;
    if (in == NULL)
        return;
    struct trace *t = trace_open_stream(in, NULL, why, sizeof why);
    CHECK(t != NULL || why[0] != 0);
    if (t == NULL)
        return;
    read_all(t);
    CHECK(trace_rewind(t, why, sizeof why) == 0);
    read_all(t);
    trace_close(t);
}

/* Append a block to a file. Returns its end. */
static uint8_t *add_block(uint8_t *at, uint32_t kind, const void *body,
                          size_t n)
{
    struct trace_head h = {.kind = kind, .bytes = (uint32_t)n};
    trace_head_put(at, &h, body);
    if (n != 0)
        memcpy(at + TRACE_HEAD_BYTES, body, n);
    return at + TRACE_HEAD_BYTES + n;
}

/* The bytes as the body of a block whose checksums are right. */
static void read_body(const uint8_t *bytes, size_t n)
{
    uint8_t *file =
        malloc(TRACE_MAGIC_BYTES + 3 * (TRACE_HEAD_BYTES + (size_t)2) + 2 * n);
    CHECK(file != NULL);
    memcpy(file, TRACE_MAGIC, TRACE_MAGIC_BYTES);
    uint8_t *at =
        add_block(file + TRACE_MAGIC_BYTES, TRACE_BLOCK_ABOUT, "{}", 2);
    at = add_block(at, TRACE_BLOCK_OPERATIONS, bytes, n);
    at = add_block(at, TRACE_BLOCK_END, bytes, n);
    read_file(file, (size_t)(at - file));
    free(file);
}

/* The first bytes say how long the columns are, the rest are the columns. */
static void read_columns(const uint8_t *bytes, size_t n)
{
    struct trace_cursor c;
    struct trace_state state = {0};
    struct trace_op op;
    struct seen seen = {0};
    const char *what = NULL;
    if (n < TRACE_COLUMNS)
        return;
    const uint8_t *at = bytes + TRACE_COLUMNS, *end = bytes + n;
    for (unsigned i = 0; i < TRACE_COLUMNS; i++) {
        size_t length = (size_t)(end - at);
        if (bytes[i] < length)
            length = bytes[i];
        c.at[i] = at;
        c.end[i] = at += length;
    }
    int got;
    while ((got = trace_decode(&c, &state, &op, &what)) == 1)
        check_op(&seen, &op);
    CHECK(got == 0 || what != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n + 1); /* no byte more than the file has */
    CHECK(copy != NULL);
    if (n != 0)
        memcpy(copy, bytes, n);
    read_file(copy, n);
    read_body(copy, n);
    read_columns(copy, n);
    free(copy);
    return 0;
}
