/* SPDX-License-Identifier: MIT
 * trace_blocks.h - a record for each block that is live, found by its number.
 *
 *     struct trace_blocks blocks = {.record_bytes = sizeof(struct born)};
 *     struct born *b = trace_blocks_add(&blocks, op->object);
 *     ...
 *     b = trace_blocks_find(&blocks, op->object);
 *     trace_blocks_remove(&blocks, op->object);
 *     trace_blocks_clear(&blocks);
 *
 * Numbers are given out in turn, so the records of 32 neighbours lie beside
 * each other; these are there while one of them is in use. One thread.
 */
#ifndef HAKMEM_TRACE_BLOCKS_H
#define HAKMEM_TRACE_BLOCKS_H

#include "trace_table.h"

struct trace_chunk;

struct trace_blocks {
    size_t record_bytes;       /* a multiple of 8 */
    uint64_t n;                /* records */
    struct trace_table chunks; /* number / 32 + 1 -> struct trace_chunk */
    struct trace_chunk *last;  /* where the last number was; may be NULL */
};

/* A new record, not initialised, which stays where it is until it is removed.
 * There is none of that number yet. NULL: no memory. */
void *trace_blocks_add(struct trace_blocks *b, uint64_t number);
/* NULL: there is none of that number. */
void *trace_blocks_find(struct trace_blocks *b, uint64_t number);
/* The record of that number, which is there. */
void trace_blocks_remove(struct trace_blocks *b, uint64_t number);
/* The first record with a number of *number or more, and its number in *number;
 * numbers above `last` are not looked at. NULL: there is none. */
void *trace_blocks_next(struct trace_blocks *b, uint64_t *number,
                        uint64_t last);
void trace_blocks_clear(struct trace_blocks *b);

#endif
