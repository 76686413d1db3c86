/* SPDX-License-Identifier: MIT
 * player.h - functions and types that the files of hakctl-player share.
 *
 *     player.c         main: maps the file, sees whose malloc it is
 *     player_play.c    calls of the allocator, one after the other
 *     player_threads.c threads, and batches
 *     player_epochs.c how far threads may run ahead of each other
 *     player_slots.c   blocks that another thread makes
 *     player_time.c    the clock, and time in the allocator
 *     player_memory.c  samples of memory
 *     player_check.c   --check: what blocks hold
 *
 * Nothing here calls malloc for itself, stdio or anything else that does.
 */
#ifndef HAKMEM_PLAYER_H
#define HAKMEM_PLAYER_H

#include "play.h"

#include <modules/record/ring.h>

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* A thread that plays. */
struct worker {
    struct play_seat *seat;
    uint32_t number, thread; /* of the seat; of the trace */
    const struct play_op *next, *end;
    uint64_t played; /* calls of this batch */
    uint32_t batch;  /* the one that it plays */

    /* For the next operation: set by PLAY_LARGE and PLAY_TOUCH. */
    uint64_t high, touch_from, touch_to;
    bool has_touch;

    uint64_t last_ticks; /* when its last call returned */
    uint64_t queued_ns;  /* for how long it has waited for a processor */
    int schedstat;       /* -1: not known */

    pthread_t pthread;
    bool joinable;
};

/* A block that is checked. */
struct checked {
    uint64_t made_by, size;
    uint64_t filled; /* bytes from its start that have its pattern */
    uint32_t thread;
};

/* All of the player. */
struct player {
    struct play_control *control;
    struct play_seat *seats;
    struct worker *workers;
    _Atomic uint64_t *table; /* nslots entries: generation << 48 | address */
    struct checked *checked; /* nslots; NULL: without --check */
    bool asks_usable;        /* malloc_usable_size is of malloc's library */

    const struct play_batch *batch;
    uint32_t number;       /* of the batch */
    _Atomic uint64_t left; /* streams, or in the last batch calls */
    bool last;
    _Atomic uint32_t *pending; /* threads that are to leave each epoch */
    uint64_t pending_bytes;
    _Atomic uint32_t done;  /* all epochs before this one are done */
    _Atomic uint32_t begun; /* the part that counts */
};
extern struct player player;

/* A call that takes longer may have waited for a processor: some 10 us. */
enum { PLAY_LONG_TICKS = 1 << 15 };

/* The ticks before a call, once what was done before it is done. */
static inline uint64_t play_ticks_before(void)
{
#if defined __x86_64__
    __builtin_ia32_lfence();
    uint64_t ticks = __builtin_ia32_rdtsc();
    __builtin_ia32_lfence();
    return ticks;
#else
    return record_ticks();
#endif
}
/* The ticks after it, once it is done. */
static inline uint64_t play_ticks_after(void)
{
#if defined __x86_64__
    unsigned processor;
    uint64_t ticks = __builtin_ia32_rdtscp(&processor);
    __builtin_ia32_lfence();
    return ticks;
#else
    return record_ticks();
#endif
}

enum { PLAY_STACK_BYTES = 256 << 10, PLAY_GUARD_BYTES = 64 << 10 };

static inline void play_pause_a_little(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#endif
}

/* Ends the process, with a text for control->error. */
void play_give_up(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));
/* The same with an error that names a call. */
void play_fail(const struct worker *me, const struct play_error *error)
    __attribute__((noreturn));
/* Shared memory that is there at once; or only when touched. */
void *play_map(uint64_t bytes, bool at_once);

/* ---- player_play.c ------------------------------------------------------- */

/* Play the worker's operations. Returns when they are over, the thread ends
 * (true) or control->to has come. */
bool play_operations(struct worker *me);

/* ---- player_threads.c ---------------------------------------------------- */

/* Make the stacks of all threads ready. */
void play_make_stacks(void);
/* Play all batches in this thread and those that it starts; never returns. */
void play_all(void) __attribute__((noreturn));
void play_start_thread(uint32_t stream);

/* ---- player_epochs.c ---------------------------------------------------- */

/* The epochs of a batch: none is done. */
void play_begin_epochs(void);
/* Leave an epoch and enter another one, or PLAY_NONE. */
void play_change_epoch(struct worker *me, uint32_t leave, uint32_t enter);

/* ---- player_slots.c ------------------------------------------------------ */

/* Wait until a slot has that value or, with any_address, its generation and an
 * address. Returns the value. */
uint64_t play_await(uint64_t slot, uint64_t value, bool any_address);
/* Set a slot, and wake who waits for it. */
void play_set_slot(uint64_t slot, uint64_t value);
/* FUTEX_WAIT and FUTEX_WAKE. timeout_ns 0: none. */
void play_sleep_on(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns);
void play_wake(_Atomic uint32_t *word, int n);

/* ---- player_time.c ------------------------------------------------------- */

/* The real monotonic clock, whatever the program's is. */
uint64_t play_now_ns(void);
/* CPU time of all threads so far. */
uint64_t play_cpu_ns(void);
/* Set the program's clock to a time of the trace, if that is later. */
void play_set_clock(uint64_t ns);
/* From now on the clock is the trace's. */
void play_start_clock(void);
/* Measure what measuring costs, and how long a tick is. */
void play_calibrate(void);
/* How long a tick is, over the time since play_calibrate. */
void play_calibrate_ticks(void);
/* For how long this thread has waited for a processor so far. */
uint64_t play_queued_ns(struct worker *me);
/* Add a call that began and ended at these ticks. */
void play_add_call(struct worker *me, enum play_call which, uint64_t begin,
                   uint64_t end);

/* ---- player_memory.c ----------------------------------------------------- */

uint64_t play_private_bytes(void);
/* Memory of files: code and data that are as in the file. */
uint64_t play_file_bytes(void);
void play_take_sample(uint32_t number);
/* The part that counts begins here. */
void play_begin_part(void);
void play_end_part(void);
/* What happens from now on until play_go_on does not count. */
void play_pause(void);
void play_go_on(void);

/* ---- player_check.c ------------------------------------------------------ */

/* A block was made: of this size, and with what the block before it held if
 * `kept` is not 0. Fill it. */
void play_check_made(const struct worker *me, const struct play_op *op, char *p,
                     uint64_t size, uint64_t touched);
/* A block is about to be freed or resized. */
void play_check_held(const struct worker *me, const struct play_op *op,
                     const char *p);
/* All blocks that are left, at the end. */
void play_check_rest(const struct worker *me);

#endif
