/* SPDX-License-Identifier: MIT
 * trace_block.c - headers of blocks, and what blocks say of themselves.
 */
#include "trace_block.h"

#include <string.h>
#include <zlib.h>

#define BLOCK_MAGIC UINT32_C(0x6b6c4254) /* "TBlk" */

uint32_t trace_crc(const void *bytes, size_t n)
{
    return (uint32_t)crc32_z(0, bytes, n);
}

/* ---- headers ------------------------------------------------------------- */

static void put_word(uint8_t *at, uint32_t word)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(word >> (i * 8));
}

static uint32_t get_word(const uint8_t *at)
{
    uint32_t word = 0;
    for (unsigned i = 0; i < 4; i++)
        word |= (uint32_t)at[i] << (i * 8);
    return word;
}

void trace_head_put(uint8_t at[TRACE_HEAD_BYTES], const struct trace_head *h,
                    const void *body)
{
    put_word(at, BLOCK_MAGIC);
    put_word(at + 4, h->kind);
    put_word(at + 8, h->bytes);
    put_word(at + 12, trace_crc(body, h->bytes));
    put_word(at + 16, trace_crc(at, 16));
}

const char *trace_head_get(const uint8_t at[TRACE_HEAD_BYTES],
                           struct trace_head *h)
{
    struct trace_head got = {
        .kind = get_word(at + 4),
        .bytes = get_word(at + 8),
        .crc = get_word(at + 12),
    };
    if (get_word(at) != BLOCK_MAGIC || get_word(at + 16) != trace_crc(at, 16))
        return "no block begins there, or its header is damaged";
    if (got.kind < TRACE_BLOCK_ABOUT || got.kind > TRACE_BLOCK_END)
        return "the block is of a kind that this hakctl does not know";
    if (got.bytes > TRACE_BODY_BYTES)
        return "the block is larger than blocks are";
    *h = got;
    return NULL;
}

/* ---- bodies -------------------------------------------------------------- */

static uint8_t *put_all(uint8_t *at, const uint64_t *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        at = trace_put_varint(at, values[i]);
    return at;
}

static bool get_all(const uint8_t **at, const uint8_t *end, uint64_t *values,
                    size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!trace_get_varint(at, end, &values[i]))
            return false;
    return true;
}

uint8_t *trace_start_put(uint8_t *at, const struct trace_start *s)
{
    const struct trace_state *state = &s->state;
    const uint64_t values[] = {s->nops,      state->nops,   state->objects,
                               state->ticks, state->thread, state->nthreads};
    at = put_all(at, values, sizeof values / sizeof values[0]);
    at = put_all(at, s->plain, TRACE_COLUMNS);
    return put_all(at, s->packed, TRACE_COLUMNS);
}

static const char *check_columns(const struct trace_start *s, uint64_t rest)
{
    for (unsigned i = 0; i < TRACE_COLUMNS; i++) {
        if (s->plain[i] > trace_column_most(i, s->nops))
            return "a column is longer than its operations can be";
        if (s->packed[i] > rest)
            return "a column is longer than the block";
        rest -= s->packed[i];
    }
    return rest == 0 ? NULL : "there are bytes after the last column";
}

const char *trace_start_get(const uint8_t **at, const uint8_t *end,
                            struct trace_start *s)
{
    uint64_t value[6];
    if (!get_all(at, end, value, 6) ||
        !get_all(at, end, s->plain, TRACE_COLUMNS) ||
        !get_all(at, end, s->packed, TRACE_COLUMNS))
        return "the block's numbers end early";
    if (value[0] == 0 || value[0] > TRACE_BLOCK_OPS)
        return "the block has no operations, or too many";
    if (value[4] > value[5] || value[5] > UINT32_MAX)
        return "a thread has a number that skips others";
    s->nops = value[0];
    s->state = (struct trace_state){.nops = value[1],
                                    .objects = value[2],
                                    .ticks = value[3],
                                    .thread = (uint32_t)value[4],
                                    .nthreads = (uint32_t)value[5]};
    if (s->plain[TRACE_TAGS] != s->nops)
        return "the block has not as many tags as operations";
    return check_columns(s, (uint64_t)(end - *at));
}

size_t trace_end_put(uint8_t at[TRACE_END_BYTES],
                     const struct trace_totals *totals)
{
    const uint64_t values[7] = {
        totals->nops,    totals->objects,         totals->threads,
        totals->time_ns, totals->peak_live_bytes, totals->peak_live_blocks,
        totals->lost};
    return (size_t)(put_all(at, values, 7) - at);
}

const char *trace_end_get(const uint8_t *at, size_t n,
                          struct trace_totals *totals)
{
    uint64_t value[7];
    const uint8_t *end = at + n;
    if (!get_all(&at, end, value, 7) || at != end || value[2] > UINT32_MAX)
        return "the totals are not seven numbers";
    *totals = (struct trace_totals){.nops = value[0],
                                    .objects = value[1],
                                    .threads = (uint32_t)value[2],
                                    .time_ns = value[3],
                                    .peak_live_bytes = value[4],
                                    .peak_live_blocks = value[5],
                                    .lost = value[6]};
    return NULL;
}
