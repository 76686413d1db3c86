/* SPDX-License-Identifier: MIT
 * trace_block.h - the blocks of a trace file (docs/trace.md).
 */
#ifndef HAKMEM_TRACE_BLOCK_H
#define HAKMEM_TRACE_BLOCK_H

#include "trace_code.h"

#include <stdio.h>

/* A file begins with these 8 bytes, of which the last is the version. */
#define TRACE_MAGIC "HAKTRAC\1"

enum {
    TRACE_MAGIC_BYTES = 8,
    TRACE_HEAD_BYTES = 20,       /* the header of a block */
    TRACE_BODY_BYTES = 8 << 20,  /* a block's body, at most */
    TRACE_ABOUT_BYTES = 1 << 20, /* the text of trace_create, at most */
};

/* Kinds of blocks. */
enum trace_block_kind {
    TRACE_BLOCK_ABOUT = 1, /* the first one: a JSON object */
    TRACE_BLOCK_OPERATIONS,
    TRACE_BLOCK_END, /* the last one: totals */
};

struct trace_head {
    uint32_t kind;
    uint32_t bytes; /* of the body */
    uint32_t crc;   /* of the body */
};

/* The checksum of blocks: CRC-32 as of gzip and zip. */
uint32_t trace_crc(const void *bytes, size_t n);

/* Write a header. body has h->bytes bytes; h->crc is computed. */
void trace_head_put(uint8_t at[TRACE_HEAD_BYTES], const struct trace_head *h,
                    const void *body);
/* Returns NULL, or what is wrong. */
const char *trace_head_get(const uint8_t at[TRACE_HEAD_BYTES],
                           struct trace_head *h);

/* What a block of operations says of itself before its columns. The state is
 * that before its first operation. */
struct trace_start {
    uint64_t nops;
    struct trace_state state;
    uint64_t plain[TRACE_COLUMNS], packed[TRACE_COLUMNS]; /* bytes */
};

enum { TRACE_START_BYTES = (6 + 2 * TRACE_COLUMNS) * 10 }; /* at most */
/* Returns the end of what was written. */
uint8_t *trace_start_put(uint8_t *at, const struct trace_start *s);
/* Read and check the sizes: of [*at, end), which is moved on, so that the
 * packed columns are the rest. Returns NULL, or what is wrong. */
const char *trace_start_get(const uint8_t **at, const uint8_t *end,
                            struct trace_start *s);

/* The body of the last block. */
enum { TRACE_END_BYTES = 7 * 10 };
size_t trace_end_put(uint8_t at[TRACE_END_BYTES],
                     const struct trace_totals *totals);
const char *trace_end_get(const uint8_t *at, size_t n,
                          struct trace_totals *totals);

#endif
