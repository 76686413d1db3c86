/* SPDX-License-Identifier: MIT
 * trace_text.h - what readers of texts with addresses have in common.
 */
#ifndef HAKMEM_TRACE_TEXT_H
#define HAKMEM_TRACE_TEXT_H

#include "trace_live.h"
#include "trace_reader.h"

enum { TRACE_LINE_BYTES = 8192 }; /* a line, at most */

/* A call as a line tells it. */
struct trace_call {
    enum trace_kind kind; /* one that makes or frees */
    uint64_t thread;      /* any number */
    uint64_t given, made; /* addresses; 0: NULL */
    uint64_t size, align;
};

/* The reader of a text. */
struct trace_text {
    char line[TRACE_LINE_BYTES];
    uint64_t nlines;
    struct trace_table objects; /* address -> the live block there */
    struct trace_table threads; /* number in the text + 1 -> thread */
    struct trace_live live;
    struct trace_totals totals;
    struct trace_op waiting; /* comes after a missed free */
    bool waits;
    uint64_t chosen; /* logalloc: the process that is read */
};

/* Set t->reader and t->about, which is a copy. Returns 0 or -ENOMEM. */
int trace_text_begin(struct trace *t, const char *about, char *why, size_t n);
void trace_text_end(struct trace *t);

/* Read the next line into x->line, without its end. Returns 1; 0: there are no
 * more, and t says whether the last one was cut; or -errno. */
int trace_text_line(struct trace *t, char *why, size_t n);
/* Say that the present line is wrong. Returns -EBADMSG. */
int trace_text_wrong(const struct trace *t, char *why, size_t n,
                     const char *what);

/* Get the operation that waits. Returns 1; 0: there is none; or -errno. */
int trace_text_waiting(struct trace *t, struct trace_op *op, char *why,
                       size_t n);
/* Make an operation of a call. Returns 1 or -errno. */
int trace_text_call(struct trace *t, const struct trace_call *call,
                    struct trace_op *op, char *why, size_t n);

/* A number in decimal or, with 0x, in hexadecimal digits; "(nil)" is 0. Moves
 * *at behind it. False, and nothing is changed: there is none, or it has more
 * than 64 bits. */
bool trace_text_number(const char **at, uint64_t *value);

#endif
