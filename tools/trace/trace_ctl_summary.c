/* SPDX-License-Identifier: MIT
 * trace_ctl_summary.c - hakctl trace FILE: reads a trace and counts.
 */
#include "trace_ctl.h"
#include "trace_live.h"

#include "../hakctl.h"

#include <stdlib.h>

/* A block that is live. */
struct born {
    uint64_t size, time_ns, number;
    uint32_t thread;
};

/* The row of a value: 0 below `least`, then one for each tenfold of it. */
static unsigned row_of(uint64_t value, uint64_t least)
{
    unsigned row = 0;
    for (uint64_t limit = least; value >= limit && row < TRACE_LIFE_ROWS - 1;
         limit *= 10)
        row++;
    return row;
}

static unsigned row_of_size(uint64_t size)
{
    return size == 0 ? 0 : 64 - (unsigned)__builtin_clzll(size);
}

static void died(struct trace_counts *c, const struct born *b,
                 const struct trace_op *op, uint64_t newest)
{
    c->known_frees++;
    c->frees_elsewhere += b->thread != op->thread;
    c->lived_time[row_of(op->time_ns - b->time_ns, 10000)]++;
    c->lived_blocks[row_of(newest - b->number, 1)]++;
    c->live_bytes -= b->size;
}

static void give_back(struct trace_counts *c, struct trace_blocks *blocks,
                      const struct trace_op *op, uint64_t newest)
{
    uint64_t given = trace_given_back(op);
    if (given == 0) {
        c->unknown_frees += op->kind == TRACE_FREE;
        return;
    }
    const struct born *b = trace_blocks_find(blocks, given);
    if (b == NULL) {
        c->twice++;
        return;
    }
    died(c, b, op, newest);
    trace_blocks_remove(blocks, given);
}

static void made(struct trace_counts *c, struct trace_blocks *blocks,
                 const struct trace_op *op)
{
    struct born *b = trace_blocks_add(blocks, op->object);
    if (b == NULL)
        ctl_die("trace: no memory for the %llu blocks that are live",
                (unsigned long long)blocks->n);
    *b = (struct born){op->size, op->time_ns, op->object, op->thread};
    struct trace_sizes *s = &c->sizes[row_of_size(op->size)];
    s->blocks++;
    s->bytes += op->size;
    c->live_bytes += op->size;
    if (c->live_bytes > c->peak_bytes)
        c->peak_bytes = c->live_bytes;
    if (blocks->n > c->peak_blocks)
        c->peak_blocks = blocks->n;
}

static void touched(struct trace_counts *c, struct trace_blocks *blocks,
                    const struct trace_op *op)
{
    const struct born *b = trace_blocks_find(blocks, op->object);
    if (b == NULL)
        return;
    c->touched_blocks++;
    c->touched_bytes += op->size;
    c->touched_of_bytes += b->size;
}

static void step(struct trace_counts *c, struct trace_blocks *blocks,
                 const struct trace_op *op, uint64_t *newest)
{
    c->calls[op->kind]++;
    c->nops++;
    c->time_ns = op->time_ns;
    if (op->thread >= c->threads)
        c->threads = op->thread + 1;
    if (op->kind == TRACE_TOUCHED)
        touched(c, blocks, op);
    if (op->kind == TRACE_RESIDENT && op->size > c->peak_resident_bytes)
        c->peak_resident_bytes = op->size;
    if (op->kind == TRACE_FREE || op->kind == TRACE_REALLOC)
        give_back(c, blocks, op, *newest);
    if (!trace_makes(op->kind))
        return;
    c->failed += op->object == 0;
    if (op->object != 0) {
        *newest = op->object;
        made(c, blocks, op);
    }
}

int trace_ctl_summary(const struct trace_words *words)
{
    struct trace *t = trace_ctl_open(words);
    struct trace_counts *c = calloc(1, sizeof *c);
    struct trace_blocks blocks = {.record_bytes = sizeof(struct born)};
    struct trace_totals totals = {0};
    struct trace_op op;
    uint64_t newest = 0;
    int got;
    if (c == NULL)
        ctl_die("no memory");
    if (t == NULL) {
        free(c);
        return CTL_SOME;
    }
    while ((got = trace_ctl_next(words, t, &op)) == 1)
        step(c, &blocks, &op, &newest);
    trace_totals(t, &totals);
    c->lost = totals.lost;
    c->live_blocks = blocks.n;
    c->cut = trace_was_cut(t);
    c->damaged = got < 0;
    if (words->json)
        trace_ctl_json(trace_about(t), c);
    else
        trace_ctl_print(words, trace_about(t), c);
    trace_blocks_clear(&blocks);
    trace_close(t);
    free(c);
    return got < 0 ? CTL_SOME : CTL_OK;
}
