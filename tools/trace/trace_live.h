/* SPDX-License-Identifier: MIT
 * trace_live.h - which blocks are live at a place of a trace, and their bytes.
 */
#ifndef HAKMEM_TRACE_LIVE_H
#define HAKMEM_TRACE_LIVE_H

#include "trace.h"
#include "trace_blocks.h"

/* Begins with TRACE_LIVE. */
struct trace_live {
    struct trace_blocks blocks; /* uint64_t: the size in bytes */
    uint64_t bytes;
    uint64_t peak_bytes, peak_blocks;
};

#define TRACE_LIVE                                    \
    (struct trace_live)                               \
    {                                                 \
        .blocks = {.record_bytes = sizeof(uint64_t) } \
    }

/* Go on by one operation. A block that is not live is not freed. Returns 0 or
 * -ENOMEM. */
int trace_live_step(struct trace_live *live, const struct trace_op *op);
void trace_live_clear(struct trace_live *live);

/* Does an operation of this kind make a block, if it does not fail? */
static inline bool trace_makes(enum trace_kind kind)
{
    return kind <= TRACE_REALLOC;
}

/* The block that an operation gives back; 0: none. */
static inline uint64_t trace_given_back(const struct trace_op *op)
{
    if (op->kind == TRACE_FREE)
        return op->object;
    return op->kind == TRACE_REALLOC && op->object != 0 ? op->old : 0;
}

#endif
