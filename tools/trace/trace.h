/* SPDX-License-Identifier: MIT
 * trace.h - traces: what a program asked of its allocator, call by call.
 *
 * A trace is one sequence of operations in an order in which they may have
 * happened: a block is freed after it was made, by whatever thread. Blocks have
 * numbers instead of addresses, since another allocator has other addresses.
 * The number of a block is that of the call that made it: 1, 2, 3 ...
 *
 * A file is written block by block, and each block can be read when it is
 * written. So a trace that was cut is read up to its last whole block.
 *
 * None of these functions is thread-safe for one writer or one reader. Messages
 * in `why` are the end of a sentence that begins with the file's name.
 */
#ifndef HAKMEM_TRACE_H
#define HAKMEM_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum trace_kind {
    TRACE_MALLOC,    /* malloc(size), and operator new */
    TRACE_CALLOC,    /* calloc; size is the product */
    TRACE_ALIGNED,   /* memalign and kin, with `align` above 16 */
    TRACE_REALLOC,   /* realloc(old, size) */
    TRACE_FREE,      /* free(object); object 0: a block that was made before the
                        recording, or by another allocator */
    TRACE_FREE_NULL, /* free(NULL) */
    TRACE_TOUCHED,   /* not a call: of block `object`, which is about to be
                        freed, the pages of `size` bytes were touched */
    TRACE_RESIDENT,  /* not a call: the process has `size` bytes of anonymous
                        memory in RAM */
    TRACE_ENDED,     /* not a call: the thread has ended */
    TRACE_KINDS
};

struct trace_op {
    enum trace_kind kind;
    uint32_t thread;  /* 0, 1 ... in the order in which they appear */
    uint64_t time_ns; /* since the recording began; never falls; coarse */
    uint64_t object;  /* the block that the call made; 0: it failed. Of
                         TRACE_FREE and TRACE_TOUCHED: the block given */
    uint64_t old;     /* TRACE_REALLOC: the block given; 0: NULL, or one that
                         was made before the recording */
    uint64_t size;    /* bytes that were asked for */
    uint64_t align;   /* TRACE_ALIGNED */
};

/* Totals, at the end of a file that is whole. */
struct trace_totals {
    uint64_t nops;    /* operations of all kinds */
    uint64_t objects; /* blocks that were made */
    uint32_t threads;
    uint64_t time_ns;
    uint64_t peak_live_bytes, peak_live_blocks;
    uint64_t lost; /* calls that could not be recorded */
};

/* ---- writing ---- */

struct trace_writer;

/*
 * trace_create - begin a file.
 * path   is replaced if it is there; a device or a pipe is written as it is;
 *        "-" is stdout. A process that ignores SIGXFSZ gets -EFBIG for a file
 *        that reaches RLIMIT_FSIZE
 * about  a JSON object that says where the trace comes from: "program" (an
 *        array of words), "pid", "source" ("record", "logalloc", "mtrace") ...
 * Returns NULL, with the reason in why.
 */
struct trace_writer *trace_create(const char *path, const char *about,
                                  char *why, size_t n);
/* Add an operation. Blocks of op->object have to be numbered without a gap, and
 * a block that is given has to be one that was made. A time below the one
 * before counts as that one; times are kept in whole microseconds.
 * Returns 0; -EINVAL: the operation cannot be at this place, and was not added;
 * or another -errno (a full disk: -ENOSPC), after which the file is readable up
 * to its last whole block, and nothing more is written.
 * Cost: some 25 ns; memory in proportion to the blocks that are live. */
int trace_put(struct trace_writer *w, const struct trace_op *op);
/* Write out what was put so far as a block of its own. Returns as trace_put. */
int trace_flush(struct trace_writer *w);
/* End the file, with the totals, and free w. lost: as in struct trace_totals.
 * Returns as trace_put. */
int trace_finish(struct trace_writer *w, uint64_t lost);

/* ---- reading ---- */

struct trace;

/* What is read of files that hold more than one program. */
struct trace_options {
    uint64_t pid; /* logalloc: this process; 0: the one with the most calls, or
                     of a pipe the first one */
};

/* trace_open - open a file of trace_create, of Firefox's logalloc or of glibc's
 * mtrace; which one is seen by its first byte. "-" is stdin. options may be
 * NULL. Returns NULL, with the reason in why. */
struct trace *trace_open(const char *path, const struct trace_options *options,
                         char *why, size_t n);
/* Read the next operation. Returns 1; 0: there are no more; -errno with the
 * reason in why, once: nothing more is read then. */
int trace_next(struct trace *t, struct trace_op *op, char *why, size_t n);
/* Read from the beginning again. Returns 0 or -errno. */
int trace_rewind(struct trace *t, char *why, size_t n);
/* The JSON object of trace_create, valid until trace_close. */
const char *trace_about(const struct trace *t);
/* The totals of a whole file. Returns false: it was cut, or is not read to its
 * end and the totals are only known there. */
bool trace_totals(const struct trace *t, struct trace_totals *out);
/* Was the end of the file missing? Known when trace_next has returned 0. */
bool trace_was_cut(const struct trace *t);
void trace_close(struct trace *t);

#endif
