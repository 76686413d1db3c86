/* SPDX-License-Identifier: MIT
 * trace_ctl_dump.c - hakctl trace dump: a line for each operation.
 */
#include "trace_ctl.h"
#include "trace_live.h"

#include "../hakctl.h"

#include <inttypes.h>

static void print(const struct trace_op *op)
{
    printf("%" PRIu64 " %" PRIu32 " %s", op->time_ns, op->thread,
           trace_kind_name(op->kind));
    if (op->kind == TRACE_FREE || op->kind == TRACE_TOUCHED)
        printf(" %" PRIu64, op->object);
    if (op->kind == TRACE_REALLOC)
        printf(" %" PRIu64, op->old);
    if (op->kind == TRACE_ALIGNED)
        printf(" %" PRIu64, op->align);
    if (trace_makes(op->kind) || op->kind == TRACE_TOUCHED ||
        op->kind == TRACE_RESIDENT)
        printf(" %" PRIu64, op->size);
    if (trace_makes(op->kind))
        printf(" = %" PRIu64, op->object);
    putchar('\n');
}

int trace_ctl_dump(const struct trace_words *words)
{
    struct trace *t = trace_ctl_open(words);
    struct trace_op op;
    int got;
    if (t == NULL)
        return CTL_SOME;
    while ((got = trace_ctl_next(words, t, &op)) == 1 && !ferror(stdout))
        print(&op);
    if (got == 0)
        trace_ctl_tell_cut(words, t);
    trace_close(t);
    return got < 0 ? CTL_SOME : CTL_OK;
}
