/* SPDX-License-Identifier: MIT
 * player_threads.c - threads that begin and end as in the trace, and batches.
 *
 * Who is the last to be done with a batch gets the next one and hands its
 * streams out. So no thread is needed that is not in the trace: some allocators
 * have a faster way for processes with one thread.
 */
#include "player.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *stacks; /* of all seats but the first */

/* Stacks are shared memory, as all that is not the allocator's, and are touched
 * at once, so that page faults are not counted. */
void play_make_stacks(void)
{
    enum { TOUCHED = 16 << 10 };
    uint64_t each = PLAY_STACK_BYTES + PLAY_GUARD_BYTES;
    uint64_t n = player.control->nseats - 1;
    if (n == 0)
        return;
    stacks = play_map(n * each, false);
    for (uint64_t i = 0; i < n; i++) {
        mprotect(stacks + i * each, PLAY_GUARD_BYTES, PROT_NONE);
        memset(stacks + (i + 1) * each - TOUCHED, 0, TOUCHED);
    }
}

/* ---- batches ------------------------------------------------------------- */

static const struct play_stream *stream_at(uint32_t number)
{
    const char *base = (const char *)player.batch;
    return (const struct play_stream *)(base + player.batch->streams_at) +
           number;
}

/* Give a worker its stream of the present batch. */
static struct worker *hand_out(const struct play_stream *s)
{
    struct worker *w = &player.workers[s->seat];
    w->next = (const struct play_op *)((const char *)player.batch + s->at);
    w->end = w->next + s->nops;
    w->thread = w->seat->thread = s->thread;
    w->played = 0;
    w->batch = player.number;
    return w;
}

/* Ask hakctl-trace for the next batch, and wait until it is in the file. */
static void ask_for_batch(void)
{
    struct play_control *c = player.control;
    uint32_t asked = ++c->asked;
    while (write(STDOUT_FILENO, "", 1) < 0 && errno == EINTR)
        ;
    uint32_t given;
    while ((given = atomic_load(&c->given)) != asked)
        play_sleep_on(&c->given, given, 0);
}

static const struct play_batch *map_batch(uint64_t at, uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE,
                   STDIN_FILENO, (off_t)at);
    if (p == MAP_FAILED)
        play_give_up("cannot map %llu bytes of the trace: %s",
                     (unsigned long long)bytes, strerror(errno));
    return p;
}

/* Calls that are left in the last batch; streams of another one. */
static uint64_t count_left(void)
{
    const struct play_batch *b = player.batch;
    uint64_t left = player.control->to - b->first;
    player.last = b->is_last || left <= b->ncalls;
    if (!player.last)
        return b->nstreams;
    return left < b->ncalls ? left : b->ncalls;
}

static void load_batch(void)
{
    struct play_control *c = player.control;
    uint64_t at = c->batch_at, bytes = c->batch_bytes;
    if (player.batch != NULL) {
        at = player.batch->next;
        bytes = player.batch->next_bytes;
        munmap((void *)(uintptr_t)player.batch, player.batch->bytes);
    }
    if (at == 0) {
        ask_for_batch();
        at = c->batch_at;
        bytes = c->batch_bytes;
    }
    player.batch = map_batch(at, bytes);
    player.number++;
    play_begin_epochs();
    atomic_store(&player.left, count_left());
}

/* Hand out the streams of all threads that are there already. With the last
 * one, the others may be done with the batch at any time. */
static void resume_all(void)
{
    const struct play_stream *s = stream_at(0);
    uint32_t n = player.batch->nresumed, number = player.number;
    for (uint32_t i = 0; i < n; i++) {
        struct worker *w = hand_out(&s[i]);
        atomic_store(&w->seat->go, number);
        play_wake(&w->seat->go, 1);
    }
}

/* ---- threads ------------------------------------------------------------- */

__attribute__((noreturn)) static void finish(struct worker *me)
{
    if (atomic_load(&player.begun) != 0)
        play_end_part();
    if (player.checked != NULL)
        play_check_rest(me);
    player.control->file_bytes = play_file_bytes();
    play_calibrate_ticks();
    atomic_store(&player.control->state, PLAY_DONE);
    _exit(0);
}

/* This thread is done with the batch. With the last one the batch is over. */
static void leave_batch(struct worker *me)
{
    uint64_t n = player.last ? me->played : 1;
    if (n == 0 || atomic_fetch_sub(&player.left, n) != n)
        return;
    if (player.last)
        finish(me);
    play_pause();
    load_batch();
    play_go_on();
    resume_all();
}

static void work(struct worker *me)
{
    _Atomic uint32_t *go = &me->seat->go;
    for (;;) {
        uint32_t batch = me->batch;
        bool ended = play_operations(me);
        leave_batch(me);
        if (ended)
            return;
        while (atomic_load(go) == batch)
            play_sleep_on(go, batch, 0);
    }
}

static void sit_down(struct worker *me)
{
    me->schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    me->last_ticks = 0;
}

static void *run(void *context)
{
    struct worker *me = context;
    sit_down(me);
    work(me);
    close(me->schedstat);
    return NULL;
}

void play_start_thread(uint32_t number)
{
    const uint64_t each = PLAY_STACK_BYTES + PLAY_GUARD_BYTES;
    const struct play_stream *s = stream_at(player.batch->nresumed + number);
    pthread_attr_t attr;
    if (player.workers[s->seat].joinable)
        pthread_join(player.workers[s->seat].pthread, NULL);
    struct worker *w = hand_out(s);
    w->seat->go = w->batch;
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr,
                          stacks + (s->seat - 1) * each + PLAY_GUARD_BYTES,
                          PLAY_STACK_BYTES);
    int error = pthread_create(&w->pthread, &attr, run, w);
    if (error != 0)
        play_give_up("cannot start thread %u: %s; is the number of processes "
                     "limited (ulimit -u)?",
                     s->thread, strerror(error));
    pthread_attr_destroy(&attr);
    w->joinable = true;
}

void play_all(void)
{
    struct worker *me = &player.workers[0];
    sit_down(me);
    load_batch();
    me->batch = 0;
    resume_all();
    for (;;) {
        if (me->batch != 0)
            work(me);
        play_sleep_on(&me->seat->go, 0, 0);
    }
}
