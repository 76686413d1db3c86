/* SPDX-License-Identifier: MIT
 * trace_ctl_copy.c - hakctl trace import: a trace of any format as one of ours.
 */
#include "trace_ctl.h"

#include "../hakctl.h"

/* Copy all operations. Returns 0, or the error of writing; *got is what
 * trace_next returned last. */
static int copy(const struct trace_words *words, struct trace *t,
                struct trace_writer *w, int *got)
{
    struct trace_op op;
    int error = 0;
    while (error == 0 && (*got = trace_ctl_next(words, t, &op)) == 1)
        error = trace_put(w, &op);
    return error;
}

int trace_ctl_import(const struct trace_words *words)
{
    struct trace *t = trace_ctl_open(words);
    struct trace_writer *w =
        t != NULL ? trace_ctl_create(words, trace_about(t)) : NULL;
    struct trace_totals totals = {0};
    int status = CTL_SOME, got = 0;
    if (w != NULL) {
        int error = copy(words, t, w, &got);
        trace_totals(t, &totals);
        int finish = trace_finish(w, totals.lost);
        status = got < 0 ? CTL_SOME : CTL_OK;
        if (error != 0 || finish != 0)
            status = trace_ctl_unwritten(words, error != 0 ? error : finish);
        else if (got == 0)
            trace_ctl_tell_cut(words, t);
    }
    if (t != NULL)
        trace_close(t);
    return status;
}
