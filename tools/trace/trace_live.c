/* SPDX-License-Identifier: MIT
 * trace_live.c - counts the blocks that are live.
 */
#include "trace_live.h"

#include <errno.h>

static void give_back(struct trace_live *live, uint64_t object)
{
    const uint64_t *bytes = trace_blocks_find(&live->blocks, object);
    if (bytes == NULL)
        return;
    live->bytes -= *bytes;
    trace_blocks_remove(&live->blocks, object);
}

int trace_live_step(struct trace_live *live, const struct trace_op *op)
{
    uint64_t given = trace_given_back(op);
    if (given != 0)
        give_back(live, given);
    if (!trace_makes(op->kind) || op->object == 0)
        return 0;
    uint64_t *bytes = trace_blocks_add(&live->blocks, op->object);
    if (bytes == NULL)
        return -ENOMEM;
    *bytes = op->size;
    live->bytes += op->size;
    if (live->bytes > live->peak_bytes)
        live->peak_bytes = live->bytes;
    if (live->blocks.n > live->peak_blocks)
        live->peak_blocks = live->blocks.n;
    return 0;
}

void trace_live_clear(struct trace_live *live)
{
    trace_blocks_clear(&live->blocks);
    *live = TRACE_LIVE;
}
