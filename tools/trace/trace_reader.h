/* SPDX-License-Identifier: MIT
 * trace_reader.h - what readers of the formats have in common.
 */
#ifndef HAKMEM_TRACE_READER_H
#define HAKMEM_TRACE_READER_H

#include "trace.h"

#include <stdio.h>

/* A format of traces. The functions return as those of trace.h do. */
struct trace_format {
    const char *first; /* the first byte of a file is one of these */
    /* Begin to read t->in, which is at its start. Sets t->about and
     * t->reader. After an error `end` is called as well. */
    int (*begin)(struct trace *t, char *why, size_t n);
    int (*next)(struct trace *t, struct trace_op *op, char *why, size_t n);
    void (*end)(struct trace *t); /* frees t->reader, which may be NULL */
};

extern const struct trace_format trace_own, trace_logalloc, trace_mtrace;

struct trace {
    FILE *in;
    const struct trace_format *format;
    struct trace_options options;
    void *reader;
    char *about;
    bool over; /* the end or an error was told */
    bool cut;
    bool whole; /* totals is set */
    struct trace_totals totals;
};

/* Read from a stream, which trace_close closes. As trace_open otherwise. */
struct trace *trace_open_stream(FILE *in, const struct trace_options *options,
                                char *why, size_t n);

/* Put a message together and return the error. */
int trace_fail(int error, char *why, size_t n, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
