/* SPDX-License-Identifier: MIT
 * replay_compile.c - turns a trace into what hakctl-player plays: streams of
 * operations of each thread (player/play.h).
 *
 * Blocks get slots of the player's table here. A slot that is free is used
 * again as late as may be, so that no thread waits for the free of another one
 * only because of the slot. With one thread nobody waits, and the slot that was
 * freed last is the one that is still in the processor's cache.
 */
#include "replay_plan.h"

#include "../hakctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct thread {
    bool there;
    uint32_t seat;
    uint64_t batch; /* number of the batch that it has a stream in, + 1 */
    size_t stream;
};

/* Free numbers, which come out as they went in, or the other way round. */
struct pool {
    uint32_t *number;
    uint64_t n, first, room;
};

struct replay_compiler {
    struct replay_plan *plan;
    bool exact, over;
    struct trace_blocks live;
    uint64_t live_bytes;
    uint64_t recorded_bytes; /* that the program had */
    struct pool slots, seats;
    uint16_t *generation; /* of each slot */
    struct thread *thread;
    uint32_t latest;   /* the thread of the call before */
    uint64_t clock_ns; /* that was put last */
    struct replay_batch batch;
    uint64_t number; /* of the batch */
};

/* ---- pools --------------------------------------------------------------- */

static void fill_pool(struct pool *p, uint64_t n)
{
    p->number = calloc(n + 1, sizeof *p->number);
    if (p->number == NULL)
        ctl_die("replay: no memory");
    for (uint64_t i = 0; i < n; i++)
        p->number[i] = (uint32_t)i;
    p->n = n;
    p->room = n + 1;
}

static uint32_t take_oldest(struct pool *p)
{
    uint32_t number = p->number[p->first];
    if (++p->first == p->room)
        p->first = 0;
    p->n--;
    return number;
}

static uint32_t take_newest(struct pool *p)
{
    p->n--;
    return p->number[(p->first + p->n) % p->room];
}

static void put_back(struct pool *p, uint32_t number)
{
    p->number[(p->first + p->n) % p->room] = number;
    p->n++;
}

/* ---- threads ------------------------------------------------------------- */

static struct replay_stream *stream_of(struct replay_compiler *c,
                                       uint32_t number);

/* Let the thread of the call before begin a thread, or thread 0 if that one has
 * ended. It may do so early: the new thread waits for its epoch. And it may
 * have to wait until the seat is free, so it leaves its own epoch. */
static void start_thread(struct replay_compiler *c, uint32_t number)
{
    struct thread *t = &c->thread[number];
    uint32_t by = c->thread[c->latest].there ? c->latest : 0;
    uint32_t order = (uint32_t)c->batch.nstarted;
    uint32_t where = (uint32_t)c->batch.ncalls;
    t->there = true;
    t->seat = take_oldest(&c->seats);
    t->stream = replay_stream_add(&c->batch, t->seat, number, false);
    t->batch = c->number + 1;
    struct replay_stream *s = stream_of(c, by);
    replay_stream_leave(s, where);
    replay_stream_put(
        s,
        &(struct play_op){.kind = PLAY_START, .slot = order, .where = where});
}

/* The thread's stream in this batch. */
static struct replay_stream *stream_of(struct replay_compiler *c,
                                       uint32_t number)
{
    struct thread *t = &c->thread[number];
    if (!t->there)
        start_thread(c, number);
    if (t->batch != c->number + 1) {
        t->stream = replay_stream_add(&c->batch, t->seat, number, true);
        t->batch = c->number + 1;
    }
    return &c->batch.stream[t->stream];
}

/* Thread 0 is that of the process, which ends with it. */
static void end_thread(struct replay_compiler *c, uint32_t number)
{
    uint32_t where = (uint32_t)c->batch.ncalls;
    if (number == 0 || number >= c->plan->facts.nthreads ||
        !c->thread[number].there)
        return;
    struct replay_stream *s = stream_of(c, number);
    replay_stream_leave(s, where);
    replay_stream_put(s, &(struct play_op){.kind = PLAY_ENDED, .where = where});
    c->thread[number].there = false;
    put_back(&c->seats, c->thread[number].seat);
}

/* ---- calls --------------------------------------------------------------- */

static struct replay_block take_block(struct replay_compiler *c,
                                      uint64_t number)
{
    struct replay_block b =
        *(struct replay_block *)trace_blocks_find(&c->live, number);
    c->live_bytes -= b.size;
    trace_blocks_remove(&c->live, number);
    return b;
}

static void give_slot(struct replay_compiler *c, struct replay_block *b)
{
    b->slot =
        c->plan->nseats == 1 ? take_newest(&c->slots) : take_oldest(&c->slots);
    b->generation = c->generation[b->slot];
}

static int keep_block(struct replay_compiler *c, uint64_t number,
                      const struct replay_block *b)
{
    struct replay_block *record = trace_blocks_add(&c->live, number);
    if (record == NULL)
        return -ENOMEM;
    *record = *b;
    c->live_bytes += b->size;
    return 0;
}

/* What of a block is touched by the call, if that is not all of it, and what
 * of its size does not fit into the operation. */
static void put_extent(struct replay_stream *s, uint64_t from,
                       const struct replay_block *b)
{
    struct play_op op = {.kind = PLAY_TOUCH};
    if (from != 0 || b->touched != b->size) {
        play_set_touch(&op, from < b->touched ? from : b->touched, b->touched);
        replay_stream_put(s, &op);
    }
    if (b->size >> 32 != 0)
        replay_stream_put(s,
                          &(struct play_op){.kind = PLAY_LARGE,
                                            .slot = (uint32_t)(b->size >> 32)});
}

static uint8_t log_of(uint64_t align)
{
    return align <= 16 ? 4 : (uint8_t)(63 - __builtin_clzll(align));
}

static int put_call(struct replay_compiler *c, const struct trace_op *from,
                    const struct replay_call *call)
{
    struct replay_block old = {0}, b = {.size = from->size};
    struct replay_stream *s = stream_of(c, from->thread);
    struct play_op op = {.kind = (uint8_t)call->kind,
                         .where = (uint32_t)c->batch.ncalls};
    int error = 0;
    if (call->given != 0) {
        old = take_block(c, call->given);
        b.slot = old.slot;
        b.generation = c->generation[old.slot]++;
    } else if (call->made != 0)
        give_slot(c, &b);
    op.slot = b.slot;
    op.generation = b.generation;
    op.log_align = call->given != 0 ? old.touched != 0 : log_of(from->align);
    if (call->made != 0) {
        b.touched = replay_touched(c->plan, call->made, b.size);
        put_extent(s, old.touched, &b);
        error = keep_block(c, call->made, &b);
        op.size = (uint32_t)b.size;
    } else if (call->given != 0)
        put_back(&c->slots, old.slot);
    replay_stream_put(s, &op);
    return error;
}

/* ---- clock and samples --------------------------------------------------- */

/* Allocators act by milliseconds. */
enum { CLOCK_STEP_NS = 100000 };

static void put_clock(struct replay_compiler *c, const struct trace_op *op)
{
    if (op->time_ns < c->clock_ns + CLOCK_STEP_NS)
        return;
    c->clock_ns = op->time_ns;
    replay_stream_put(stream_of(c, op->thread),
                      &(struct play_op){.kind = PLAY_CLOCK,
                                        .slot = (uint32_t)op->time_ns,
                                        .size = (uint32_t)(op->time_ns >> 32),
                                        .where = (uint32_t)c->batch.ncalls});
}

static void put_sample(struct replay_compiler *c, const struct trace_op *op,
                       uint64_t number)
{
    c->plan->place[number] =
        (struct replay_place){.call = c->batch.first + c->batch.ncalls - 1,
                              .time_ns = op->time_ns,
                              .live_bytes = c->live_bytes,
                              .recorded_bytes = c->recorded_bytes,
                              .there = true};
    replay_stream_put(stream_of(c, op->thread),
                      &(struct play_op){.kind = PLAY_SAMPLE,
                                        .slot = (uint32_t)number,
                                        .where = (uint32_t)c->batch.ncalls});
}

/* After a call: at even distances, where most bytes are live, and at the end.
 */
static void put_samples(struct replay_compiler *c, const struct trace_op *op)
{
    const struct replay_plan *plan = c->plan;
    uint64_t ncalls = plan->facts.ncalls,
             done = c->batch.first + c->batch.ncalls;
    uint64_t step = (ncalls + PLAY_SAMPLES - 1) / PLAY_SAMPLES;
    if (done - 1 == plan->peak_call)
        put_sample(c, op, PLAY_SAMPLES);
    if (done % step == 0)
        put_sample(c, op, done / step - 1);
    if (done == ncalls)
        put_sample(c, op, PLAY_SAMPLES + 1);
}

/* ---- batches ------------------------------------------------------------- */

static int step(struct replay_compiler *c, const struct trace_op *op)
{
    struct replay_call call;
    if (op->kind == TRACE_ENDED)
        end_thread(c, op->thread);
    if (op->kind == TRACE_RESIDENT)
        c->recorded_bytes = op->size;
    if (!replay_call_of(op, &c->live, &call))
        return 0;
    stream_of(c, op->thread); /* it may have to be started */
    put_clock(c, op);
    replay_stream_enter(&c->batch, c->thread[op->thread].stream, c->exact);
    int error = put_call(c, op, &call);
    c->latest = op->thread;
    c->batch.ncalls++;
    put_samples(c, op);
    return error;
}

int replay_compile_next(struct replay_compiler *c, uint64_t at, uint64_t *bytes,
                        char *why, size_t n)
{
    struct trace_op op;
    int error = 0, more = 1;
    const uint64_t all = c->plan->facts.ncalls;
    if (c->batch.first == all)
        return 0;
    while (error == 0 && c->batch.ncalls < PLAY_BATCH_CALLS &&
           c->batch.first + c->batch.ncalls < all &&
           (more = trace_next(c->plan->trace, &op, why, n)) > 0)
        error = step(c, &op);
    if (more <= 0) {
        if (more == 0)
            snprintf(why, n, "has changed while it was played");
        return more < 0 ? more : -ESTALE;
    }
    for (size_t i = 0; i < c->batch.nstreams; i++)
        replay_stream_leave(&c->batch.stream[i], (uint32_t)c->batch.ncalls);
    if (error == 0)
        error =
            replay_batch_write(&c->batch, c->plan->fd, at, c->exact,
                               c->batch.first + c->batch.ncalls == all, bytes);
    if (error != 0) {
        snprintf(why, n, "cannot be held in memory: %s", strerror(-error));
        return error;
    }
    replay_batch_reset(&c->batch);
    c->number++;
    return 1;
}

struct replay_compiler *replay_compile_begin(struct replay_plan *plan,
                                             bool exact, char *why, size_t n)
{
    struct replay_compiler *c = calloc(1, sizeof *c);
    if (c == NULL)
        ctl_die("replay: no memory");
    c->plan = plan;
    c->exact = exact;
    c->live.record_bytes = sizeof(struct replay_block);
    c->generation = calloc(plan->nslots, sizeof *c->generation);
    c->thread = calloc(plan->facts.nthreads, sizeof *c->thread);
    if (c->generation == NULL || c->thread == NULL)
        ctl_die("replay: no memory");
    fill_pool(&c->slots, plan->nslots);
    fill_pool(&c->seats, plan->nseats);
    c->thread[0].there = true;
    c->thread[0].seat = take_oldest(&c->seats);
    if (trace_rewind(plan->trace, why, n) != 0) {
        replay_compile_end(c);
        return NULL;
    }
    return c;
}

void replay_compile_end(struct replay_compiler *c)
{
    replay_batch_clear(&c->batch);
    trace_blocks_clear(&c->live);
    free(c->slots.number);
    free(c->seats.number);
    free(c->generation);
    free(c->thread);
    free(c);
}
