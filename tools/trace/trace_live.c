/* SPDX-License-Identifier: MIT
 * trace_live.c - counts the blocks that are live.
 */
#include "trace_live.h"

static void give_back(struct trace_live *live, uint64_t object)
{
    uint64_t bytes;
    if (trace_table_take(&live->blocks, object, &bytes))
        live->bytes -= bytes;
}

int trace_live_step(struct trace_live *live, const struct trace_op *op)
{
    uint64_t given = trace_given_back(op);
    if (given != 0)
        give_back(live, given);
    if (!trace_makes(op->kind) || op->object == 0)
        return 0;
    int error = trace_table_put(&live->blocks, op->object, op->size);
    if (error != 0)
        return error;
    live->bytes += op->size;
    if (live->bytes > live->peak_bytes)
        live->peak_bytes = live->bytes;
    if (live->blocks.n > live->peak_blocks)
        live->peak_blocks = live->blocks.n;
    return 0;
}

void trace_live_clear(struct trace_live *live)
{
    trace_table_clear(&live->blocks);
    *live = (struct trace_live){0};
}
