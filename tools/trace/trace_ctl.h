/* SPDX-License-Identifier: MIT
 * trace_ctl.h - what the files of hakctl trace share.
 *
 *     trace_ctl.c          the command line, opening files
 *     trace_ctl_summary.c  reads a trace and counts
 *     trace_ctl_print.c    prints what was counted
 *     trace_ctl_json.c     prints it as JSON
 *     trace_ctl_dump.c     dump
 *     trace_ctl_copy.c     import
 *     trace_ctl_cut.c      cut
 */
#ifndef HAKMEM_TRACE_CTL_H
#define HAKMEM_TRACE_CTL_H

#include "trace_reader.h"

#include <stdio.h>

/* The words of a command line. */
struct trace_words {
    const char *file;
    const char *output;    /* NULL: none was given */
    const char *from, *to; /* NULL: not given */
    struct trace_options options;
    bool json;
};

/* What a trace has in it. */
enum { TRACE_SIZE_ROWS = 65, TRACE_LIFE_ROWS = 8 };
struct trace_counts {
    uint64_t calls[TRACE_KINDS];
    uint64_t nops;
    uint64_t failed;          /* calls that made no block */
    uint64_t unknown_frees;   /* frees, also by realloc, of a block that was
                                 made before the recording */
    uint64_t twice;           /* frees of a block that was freed */
    uint64_t known_frees;     /* of blocks of the trace, also by realloc */
    uint64_t frees_elsewhere; /* of these: by another thread than made them */
    uint32_t threads;
    uint64_t time_ns;
    uint64_t live_bytes, live_blocks; /* at the end */
    uint64_t peak_bytes, peak_blocks;
    uint64_t touched_bytes, touched_of_bytes, touched_blocks;
    uint64_t peak_resident_bytes;
    /* By the bits of the size: row 0 is size 0, row 1 is 1, row 2 is 2 and 3,
     * row 3 is 4 to 7 ... */
    struct trace_sizes {
        uint64_t blocks, bytes;
    } sizes[TRACE_SIZE_ROWS];
    /* Freed blocks by time in use: under 10 us, 100 us ... 10 s, and more. And
     * by the blocks that were made meanwhile: none, under 10, 100 ... */
    uint64_t lived_time[TRACE_LIFE_ROWS], lived_blocks[TRACE_LIFE_ROWS];
    bool cut, damaged; /* the file has no end; or an error was told */
    uint64_t lost;
};

/* Messages are told here; each of these returns hakctl's exit status. */
int trace_ctl_summary(const struct trace_words *words);
int trace_ctl_dump(const struct trace_words *words);
int trace_ctl_import(const struct trace_words *words);
int trace_ctl_cut(const struct trace_words *words);

/* Open the file; NULL, after a message. */
struct trace *trace_ctl_open(const struct trace_words *words);
/* trace_next, with a message after an error. */
int trace_ctl_next(const struct trace_words *words, struct trace *t,
                   struct trace_op *op);
/* Begin the output file; NULL, after a message. */
struct trace_writer *trace_ctl_create(const struct trace_words *words,
                                      const char *about);
/* Say that the output could not be written. Returns the exit status. */
int trace_ctl_unwritten(const struct trace_words *words, int error);
/* Say it if the input was cut. */
void trace_ctl_tell_cut(const struct trace_words *words, const struct trace *t);

void trace_ctl_print(const struct trace_words *words, const char *about,
                     const struct trace_counts *c);
void trace_ctl_json(const char *about, const struct trace_counts *c);
/* The name of a kind in texts: "malloc", "free-null" ... */
const char *trace_kind_name(enum trace_kind kind);

#endif
