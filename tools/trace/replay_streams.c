/* SPDX-License-Identifier: MIT
 * replay_streams.c - one batch of a trace while it is made: what each thread
 * does, and epochs.
 */
#include "replay_plan.h"

#include "../hakctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Make room for one more element of an array. */
static void *grown(void *array, size_t n, size_t *room, size_t bytes)
{
    if (n < *room)
        return array;
    size_t more = *room == 0 ? 64 : 2 * *room;
    void *larger = reallocarray(array, more, bytes);
    if (larger == NULL)
        ctl_die("replay: no memory");
    memset((char *)larger + *room * bytes, 0, (more - *room) * bytes);
    *room = more;
    return larger;
}

size_t replay_stream_add(struct replay_batch *b, uint32_t seat, uint32_t thread,
                         bool resumes)
{
    b->stream = grown(b->stream, b->nstreams, &b->room, sizeof *b->stream);
    struct replay_stream *s = &b->stream[b->nstreams];
    struct play_op *ops = s->ops; /* kept from the batch before */
    *s = (struct replay_stream){.ops = ops,
                                .room = s->room,
                                .seat = seat,
                                .thread = thread,
                                .epoch = PLAY_NONE,
                                .resumes = resumes};
    b->nstarted += !resumes;
    return b->nstreams++;
}

void replay_stream_put(struct replay_stream *s, const struct play_op *op)
{
    s->ops = grown(s->ops, s->nops, &s->room, sizeof *s->ops);
    s->ops[s->nops++] = *op;
}

/* ---- epochs ------------------------------------------------------------- */

/* The epoch of the next call: in exact order a thread has one until it is
 * another one's turn. */
static uint32_t next_epoch(struct replay_batch *b, uint32_t thread, bool exact)
{
    bool fresh = b->nepochs == 0 || (exact ? thread != b->last_thread
                                           : b->ncalls % PLAY_EPOCH_CALLS == 0);
    if (fresh) {
        b->epoch =
            grown(b->epoch, b->nepochs, &b->epoch_room, sizeof *b->epoch);
        b->epoch[b->nepochs++] = 0;
    }
    b->last_thread = thread;
    return (uint32_t)b->nepochs - 1;
}

static void change_epoch(struct replay_stream *s, uint32_t enter,
                         uint32_t where)
{
    replay_stream_put(s, &(struct play_op){.kind = PLAY_EPOCH,
                                           .slot = s->epoch,
                                           .size = enter,
                                           .where = where});
    s->epoch = enter;
}

void replay_stream_enter(struct replay_batch *b, size_t stream, bool exact)
{
    struct replay_stream *s = &b->stream[stream];
    uint32_t epoch = next_epoch(b, s->thread, exact);
    if (s->epoch == epoch)
        return;
    change_epoch(s, epoch, (uint32_t)b->ncalls);
    b->epoch[epoch]++;
}

void replay_stream_leave(struct replay_stream *s, uint32_t where)
{
    if (s->epoch != PLAY_NONE)
        change_epoch(s, PLAY_NONE, where);
}

/* ---- writing ------------------------------------------------------------- */

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

/* Where all is, from the batch's start. */
static struct play_batch lay_out(const struct replay_batch *b, bool exact,
                                 bool is_last)
{
    struct play_batch head = {
        .first = b->first,
        .ncalls = b->ncalls,
        .nepochs = (uint32_t)b->nepochs,
        .slack = exact ? 0 : 1,
        .is_last = is_last,
        .nstreams = (uint32_t)b->nstreams,
        .nresumed = (uint32_t)(b->nstreams - b->nstarted),
        .epochs_at = sizeof head,
    };
    uint64_t epochs = (b->nepochs + 3) / 4 * 4 * sizeof *b->epoch;
    head.streams_at = head.epochs_at + epochs;
    head.bytes = head.streams_at + b->nstreams * sizeof(struct play_stream);
    for (size_t i = 0; i < b->nstreams; i++)
        head.bytes += b->stream[i].nops * sizeof(struct play_op);
    return head;
}

/* Write those streams that are started, or those that are not. */
static uint64_t write_streams(const struct replay_batch *b, char *base,
                              struct play_stream **out, bool resume,
                              uint64_t at)
{
    for (size_t i = 0; i < b->nstreams; i++) {
        const struct replay_stream *s = &b->stream[i];
        if (s->resumes != resume)
            continue;
        *(*out)++ = (struct play_stream){
            .seat = s->seat, .thread = s->thread, .at = at, .nops = s->nops};
        memcpy(base + at, s->ops, s->nops * sizeof *s->ops);
        at += s->nops * sizeof *s->ops;
    }
    return at;
}

int replay_batch_write(struct replay_batch *b, int fd, uint64_t at, bool exact,
                       bool is_last, uint64_t *bytes)
{
    struct play_batch head = lay_out(b, exact, is_last);
    uint64_t whole = whole_pages(head.bytes);
    if (fallocate(fd, 0, (off_t)at, (off_t)whole) != 0)
        return -errno;
    char *base =
        mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)at);
    if (base == MAP_FAILED)
        return -errno;
    struct play_stream *out = (struct play_stream *)(base + head.streams_at);
    uint64_t ops_at =
        head.streams_at + b->nstreams * sizeof(struct play_stream);
    memcpy(base, &head, sizeof head);
    memcpy(base + head.epochs_at, b->epoch, b->nepochs * sizeof *b->epoch);
    ops_at = write_streams(b, base, &out, true, ops_at);
    write_streams(b, base, &out, false, ops_at);
    munmap(base, whole);
    *bytes = whole;
    return 0;
}

void replay_batch_reset(struct replay_batch *b)
{
    b->first += b->ncalls;
    b->ncalls = b->nstreams = b->nstarted = b->nepochs = 0;
}

void replay_batch_clear(struct replay_batch *b)
{
    for (size_t i = 0; i < b->room; i++)
        free(b->stream[i].ops);
    free(b->stream);
    free(b->epoch);
    *b = (struct replay_batch){0};
}
