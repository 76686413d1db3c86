/* SPDX-License-Identifier: MIT
 * tune_use.c - which sizes traces ask for. What no trace asks for need not be
 * tuned.
 */
#include "trace.h"
#include "tune.h"

#include <errno.h>

static bool makes_a_block(enum trace_kind kind)
{
    return kind == TRACE_MALLOC || kind == TRACE_CALLOC ||
           kind == TRACE_ALIGNED || kind == TRACE_REALLOC;
}

/* Add counts of one trace as shares. */
static void add_shares(double *shares, const double *counts, double weight)
{
    double sum = 0;
    for (size_t i = 0; i <= HAK_LANES; i++)
        sum += counts[i];
    for (size_t i = 0; i <= HAK_LANES && sum > 0; i++)
        shares[i] += counts[i] / sum * weight;
}

int tune_use_add(struct tune_use *use, const char *path, double weight,
                 char *why, size_t n)
{
    double calls[HAK_LANES + 1] = {0}, bytes[HAK_LANES + 1] = {0};
    struct trace_op op;
    struct trace *trace = trace_open(path, NULL, why, n);
    int more;
    if (trace == NULL)
        return -EINVAL;
    while ((more = trace_next(trace, &op, why, n)) > 0) {
        if (!makes_a_block(op.kind))
            continue;
        calls[hak_index_of(op.size)]++;
        bytes[hak_index_of(op.size)] += (double)op.size;
    }
    trace_close(trace);
    add_shares(use->calls, calls, weight);
    add_shares(use->bytes, bytes, weight);
    return more;
}

bool tune_is_used(const struct tune_use *use, uint32_t first, uint32_t last)
{
    double calls = 0, bytes = 0;
    for (uint32_t i = first; i <= last; i++) {
        calls += use->calls[i];
        bytes += use->bytes[i];
    }
    return calls > 0.001 || bytes > 0.001;
}
