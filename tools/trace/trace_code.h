/* SPDX-License-Identifier: MIT
 * trace_code.h - operations as bytes: the columns of a block of operations.
 *
 * docs/trace.md describes the bytes. Values of one sort stand together in a
 * column, which zstd packs better than values of all sorts in turn.
 */
#ifndef HAKMEM_TRACE_CODE_H
#define HAKMEM_TRACE_CODE_H

#include "trace.h"

enum {
    TRACE_BLOCK_OPS = 1 << 16, /* of one block, at most */
    TRACE_TICK_NS = 1000,      /* unit of times in a file */
};

enum trace_column {
    TRACE_TAGS,  /* one byte for each operation */
    TRACE_SIZES, /* varints from here on */
    TRACE_GIVEN, /* which block is given */
    TRACE_TIMES,
    TRACE_OTHERS, /* threads and alignments */
    TRACE_COLUMNS
};

/* What an operation is told relative to. Both sides keep it. */
struct trace_state {
    uint64_t nops;
    uint64_t objects; /* the newest block */
    uint64_t ticks;
    uint64_t given; /* the block that was given last */
    uint32_t thread, nthreads;
};

/* The columns of one block. */
struct trace_columns {
    uint8_t *at[TRACE_COLUMNS];
    size_t n[TRACE_COLUMNS]; /* bytes */
};

/* Most bytes of a column of so many operations. */
size_t trace_column_most(enum trace_column column, size_t nops);
/* Memory for a block of TRACE_BLOCK_OPS. Returns 0 or -ENOMEM. */
int trace_columns_new(struct trace_columns *c);
void trace_columns_free(struct trace_columns *c);

/* Append an operation. Returns 0 or -EINVAL: it cannot follow the ones before,
 * and nothing was changed. c has room for it. */
int trace_encode(struct trace_columns *c, struct trace_state *s,
                 const struct trace_op *op);

/* A reader's places in the columns. */
struct trace_cursor {
    const uint8_t *at[TRACE_COLUMNS], *end[TRACE_COLUMNS];
};

/* Read the next operation. Returns 1; 0: all columns are at their end; or
 * -EBADMSG with the reason, in plain words, in *what. */
int trace_decode(struct trace_cursor *c, struct trace_state *s,
                 struct trace_op *op, const char **what);

/* Varints: seven bits a byte, the low ones first; at most ten bytes. */
static inline uint8_t *trace_put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

/* Returns false, and leaves *value as it is: the bytes end, or the number has
 * more than 64 bits. */
static inline bool trace_get_varint(const uint8_t **at, const uint8_t *end,
                                    uint64_t *value)
{
    uint64_t got = 0;
    const uint8_t *p = *at;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1)
            return false;
        got |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *at = p;
            *value = got;
            return true;
        }
    }
    return false;
}

#endif
