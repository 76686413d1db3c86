/* SPDX-License-Identifier: MIT
 * replay_plan.h - functions and types that the files of hakctl replay share.
 *
 *     replay_plan.c     a trace that is ready to be played; its file in memory
 *     replay_scan.c     reads a trace once: how many calls, threads, blocks
 *     replay_compile.c  a trace as streams of operations (player/play.h)
 *     replay_streams.c  the streams of one batch, and its epochs
 *     replay_run.c      one process of hakctl-player
 *     replay_figures.c  what came of it
 *     replay_fault.c    the same in words, if it failed
 */
#ifndef HAKMEM_REPLAY_PLAN_H
#define HAKMEM_REPLAY_PLAN_H

#include "../player/play.h"
#include "replay.h"
#include "trace_blocks.h"
#include "trace_table.h"

/* What is known of a live block while a trace is read. */
struct replay_block {
    uint64_t size;
    uint64_t touched; /* bytes, from its start */
    uint32_t slot;
    uint16_t generation;
};

/* A place of the trace where a sample may be taken. */
struct replay_place {
    uint64_t call, time_ns, live_bytes, recorded_bytes;
    bool there;
};

struct replay_plan {
    char *path, *about;
    struct trace *trace;
    struct replay_facts facts;
    uint64_t peak_call; /* the call after which most bytes are live */
    uint32_t nseats;
    uint64_t nslots;
    struct trace_table touched; /* block -> bytes, of large ones */
    struct replay_place place[PLAY_SAMPLES + 2];
    struct replay_sample sample[PLAY_SAMPLES + 2]; /* of the last run */
    size_t nsamples;

    int fd; /* the file that the player gets */
    struct play_control *control;
    struct play_seat *seats;
    uint64_t control_bytes;
    uint64_t memory_bytes;      /* for all batches; else one at a time */
    bool has_batches, is_exact; /* the file has all batches, in that order */
    uint64_t first_bytes;       /* of the first one */
    bool has_baseline;
    uint64_t baseline_bytes, baseline_file_bytes;
};

/* A call of the allocator that an operation of a trace is played as. */
struct replay_call {
    enum play_kind kind;
    uint64_t given; /* the block that is given back; 0: none */
    uint64_t made;  /* 0: none */
};

/* How an operation is played. Returns false: it is no call, or none that can be
 * played: it failed, or its block is none of the trace. */
bool replay_call_of(const struct trace_op *op, struct trace_blocks *live,
                    struct replay_call *out);
/* How many bytes of a block are touched, from its start. */
uint64_t replay_touched(const struct replay_plan *plan, uint64_t block,
                        uint64_t size);

/* ---- replay_scan.c ------------------------------------------------------- */

/* Read the whole trace and set what the plan knows of it. Returns 0 or -errno,
 * with the reason in why. */
int replay_scan(struct replay_plan *plan, char *why, size_t n);

/* ---- replay_compile.c ---------------------------------------------------- */

struct replay_compiler;
/* Begin at the trace's first operation. NULL, with the reason in why. */
struct replay_compiler *replay_compile_begin(struct replay_plan *plan,
                                             bool exact, char *why, size_t n);
/*
 * replay_compile_next - write the next batch into the plan's file.
 * at       where; the file grows as is needed
 * bytes    its size is returned there
 * Returns  1; 0: there is no other one; -errno with the reason in why
 */
int replay_compile_next(struct replay_compiler *c, uint64_t at, uint64_t *bytes,
                        char *why, size_t n);
void replay_compile_end(struct replay_compiler *c);

/* ---- replay_streams.c ---------------------------------------------------- */

struct replay_stream {
    struct play_op *ops;
    size_t nops, room;
    uint32_t seat, thread;
    uint32_t epoch; /* that it is in; PLAY_NONE */
    bool resumes, ended;
};

/* One batch while it is made. Zero at first. */
struct replay_batch {
    struct replay_stream *stream;
    size_t nstreams, room, nstarted;
    uint32_t *epoch; /* how many threads have calls in it */
    size_t nepochs, epoch_room;
    uint64_t first, ncalls;
    uint32_t last_thread; /* of the last call */
};

/* Add a stream. Its number among those that are started, or resumed, is the
 * number of these before. Returns its index, which stays. */
size_t replay_stream_add(struct replay_batch *b, uint32_t seat, uint32_t thread,
                         bool resumes);
void replay_stream_put(struct replay_stream *s, const struct play_op *op);
/* Enter the epoch of the next call. */
void replay_stream_enter(struct replay_batch *b, size_t stream, bool exact);
/* Leave the epoch that the stream is in. */
void replay_stream_leave(struct replay_stream *s, uint32_t where);
/* Write the batch into a file, as replay_compile_next. */
int replay_batch_write(struct replay_batch *b, int fd, uint64_t at, bool exact,
                       bool is_last, uint64_t *bytes);
/* Forget all of it, for the next one; with the memory. */
void replay_batch_reset(struct replay_batch *b);
void replay_batch_clear(struct replay_batch *b);

/* ---- replay_figures.c, replay_fault.c ------------------------------------ */

/* What the player has left in the control block. */
void replay_take_figures(struct replay_plan *plan, struct replay_figures *out);
/* Say why a run failed: the player's error, or how the process ended. said:
 * what it wrote on stderr. */
void replay_say_fault(const struct replay_plan *plan, int status,
                      const char *said, char *why, size_t n);

#endif
