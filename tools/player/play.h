/* SPDX-License-Identifier: MIT
 * play.h - what hakctl-trace and hakctl-player share: one file in memory, with
 * what is to be played and what came of it.
 *
 *     hakctl-trace                                    hakctl-player
 *     trace -> operations of each thread ---file---> calls of the allocator
 *     figures <--------- times, samples -----file---
 *
 * hakctl-player is a process of its own that has the allocator to be measured
 * in LD_PRELOAD. All its own data is in shared mappings, so its private
 * memory, less what it has without any library, is that of the allocator.
 *
 * The file is its standard input:
 *
 *     struct play_control, nseats x struct play_seat, batches
 *
 * A batch is a part of the trace, some million calls. Either all batches are
 * in the file, each saying where the next one is, or there is room for one:
 * then the player asks for the next by a byte on its standard output, and
 * sleeps until it is there.
 *
 * Calls have numbers, 0, 1, 2 ... in the order of the trace. Blocks have slots
 * in a table of the player. A slot is used again when its block is freed, which
 * raises its generation. So a thread that frees a block of another thread
 * waits until the slot has the right generation.
 *
 * A thread of the trace has a seat, and a thread that is begun after another
 * one has ended may get its seat. Thread 0 is the first thread of the process,
 * for which some allocators do other things than for the rest, and has seat 0.
 */
#ifndef HAKMEM_PLAY_H
#define HAKMEM_PLAY_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    PLAY_VERSION = 1,
    PLAY_SAMPLES = 4096, /* places where a sample may be taken, about */
    PLAY_EPOCH_CALLS = 1024,
    PLAY_BATCH_CALLS = 1 << 20,
    PLAY_LINES = 128 << 10, /* of blocks up to here each line is touched */
};
#define PLAY_MAGIC UINT64_C(0x3159414c504b4148) /* "HAKPLAY1" */
#define PLAY_NONE UINT32_MAX

enum play_kind {
    PLAY_MALLOC, /* slot, size */
    PLAY_CALLOC,
    PLAY_ALIGNED, /* and log_align */
    PLAY_REALLOC, /* generation: of the block given */
    PLAY_FREE,
    PLAY_FREE_NULL,
    /* The others are not calls. `where` is the next call of the thread. */
    PLAY_LARGE,  /* slot: bits 32 to 63 of the next operation's size */
    PLAY_TOUCH,  /* before a call: touch bytes [from, to) of its block */
    PLAY_EPOCH,  /* slot: the epoch that the thread leaves, size: the one that
                     it enters; or PLAY_NONE */
    PLAY_START,  /* begin the thread of stream nresumed + `slot` */
    PLAY_ENDED,  /* the thread ends */
    PLAY_CLOCK,  /* slot, size: ns of the trace, the low half first */
    PLAY_SAMPLE, /* slot: number of the sample */
};

struct play_op {
    uint32_t slot, size;
    uint32_t where; /* the call's number, from the batch's first */
    uint16_t generation;
    uint8_t kind;
    uint8_t log_align; /* of PLAY_FREE and PLAY_REALLOC: is the block that is
                          given read before? */
};

/* PLAY_TOUCH has two numbers of 48 bits in the place of slot, size, where. */
static inline void play_set_touch(struct play_op *op, uint64_t from,
                                  uint64_t to)
{
    op->slot = (uint32_t)from;
    op->size = (uint32_t)to;
    op->where = (uint32_t)(from >> 32 << 16) | (uint32_t)(to >> 32 & 0xffff);
}
static inline uint64_t play_touch_from(const struct play_op *op)
{
    return op->slot | (uint64_t)(op->where >> 16) << 32;
}
static inline uint64_t play_touch_to(const struct play_op *op)
{
    return op->size | (uint64_t)(op->where & 0xffff) << 32;
}

/* What one thread does in one batch. */
struct play_stream {
    uint32_t seat, thread;
    uint64_t at; /* its operations, in bytes from the batch's start */
    uint64_t nops;
};

/*
 * A batch. Behind it: uint32_t [nepochs], how many threads have calls in each
 * epoch; struct play_stream [nstreams]; operations.
 *
 * An epoch is a number of calls one after the other. A thread enters an epoch
 * when all epochs but `slack` of those before it are done.
 */
struct play_batch {
    uint64_t first, ncalls;    /* the first call's number, and how many */
    uint64_t bytes;            /* of all of the batch */
    uint64_t next, next_bytes; /* where the next batch is in the file; 0: it
                                  has to be asked for */
    uint32_t nepochs, slack, is_last;
    uint32_t nstreams, nresumed;    /* the first are of threads that are there
                                       already when the batch begins */
    uint64_t epochs_at, streams_at; /* in bytes from the batch's start */
};

/* Log-linear: 32 steps for each doubling, so within 3 %. */
enum { PLAY_STEPS = 32, PLAY_BUCKETS = 36 * PLAY_STEPS };
enum play_call { PLAY_MAKES, PLAY_FREES, PLAY_CALLS };

/* Of one seat. */
struct play_seat {
    _Alignas(64) _Atomic uint64_t at; /* the call that it is in, + 1; 0: none */
    uint32_t thread;
    _Atomic uint32_t go;      /* futex: the batch that has a stream for it */
    _Atomic uint32_t waiting; /* futex: the epoch that it waits for, + 1 */
    uint64_t ncalls;          /* that were measured */
    uint64_t ticks;           /* in these */
    uint64_t histogram[PLAY_CALLS][PLAY_BUCKETS]; /* by ticks */
};

enum play_state { PLAY_LOADED, PLAY_BEGUN, PLAY_DONE };

/* What a player that gives up says. */
enum play_fault {
    PLAY_NO_FAULT,
    PLAY_BROKEN,   /* text says what: of the player or the machine */
    PLAY_NO_BLOCK, /* a call returned NULL */
    PLAY_BAD_ALIGN,
    PLAY_NOT_USABLE, /* malloc_usable_size is less than the size */
    PLAY_NOT_ZERO,
    PLAY_CHANGED,  /* a block does not hold what was written into it */
    PLAY_OVERLAPS, /* it overlaps another block */
};

struct play_error {
    _Atomic uint32_t fault; /* the rest is written before */
    uint32_t thread;
    uint64_t call;    /* number */
    uint64_t made_by; /* PLAY_CHANGED ...: the call that made the block */
    uint64_t other;   /* PLAY_OVERLAPS: the call that made the other one */
    uint64_t address, offset, size, value, wanted;
    char text[256];
};

struct play_control {
    /* Set by hakctl-trace. */
    uint64_t magic;
    uint32_t version, nseats;
    uint64_t bytes; /* of this and all seats, whole pages */
    uint64_t nslots;
    uint64_t from, to; /* numbers of calls: those that are measured */
    uint64_t seed;
    uint64_t batch_at, batch_bytes; /* where the first batch, or the one that
                                       was asked for, is */
    uint32_t sample_every;          /* take one in so many */
    uint32_t check, free_run, real_time, baseline;

    /* Set by either. */
    _Atomic uint32_t asked, given; /* batches; `given` is a futex */

    /* Set by hakctl-player. */
    _Atomic uint32_t state;
    uint32_t of_libc; /* malloc is that of libc */
    double ticks_per_ns;
    uint64_t overhead_ticks; /* of measuring, in each call; subtracted */
    uint64_t wall_ns, cpu_ns, faults;
    uint64_t private_bytes; /* if baseline */
    uint64_t file_bytes;    /* of files, at the end; if baseline at once */
    char maker[256];        /* the file that malloc is in */
    struct play_error error;
    uint64_t sample[PLAY_SAMPLES + 2]; /* private bytes, + 1; 0: not taken */
};

#endif
