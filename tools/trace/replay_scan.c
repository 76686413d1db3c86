/* SPDX-License-Identifier: MIT
 * replay_scan.c - reads a trace once before it is played: how many calls and
 * threads it has, when most bytes are live, and how much of large blocks was
 * touched.
 */
#include "replay_plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool replay_call_of(const struct trace_op *op, struct trace_blocks *live,
                    struct replay_call *out)
{
    *out = (struct replay_call){.made = op->object};
    uint64_t given = op->kind == TRACE_FREE      ? op->object
                     : op->kind == TRACE_REALLOC ? op->old
                                                 : 0;
    if (given != 0 && trace_blocks_find(live, given) != NULL)
        out->given = given;
    switch (op->kind) {
    case TRACE_MALLOC:
        out->kind = PLAY_MALLOC;
        return op->object != 0;
    case TRACE_CALLOC:
        out->kind = PLAY_CALLOC;
        return op->object != 0;
    case TRACE_ALIGNED:
        out->kind = PLAY_ALIGNED;
        return op->object != 0;
    case TRACE_REALLOC:
        out->kind = out->given != 0 ? PLAY_REALLOC : PLAY_MALLOC;
        if (op->object == 0 && op->size == 0)
            out->kind = PLAY_FREE; /* glibc's realloc(p, 0) */
        return op->object != 0 || (op->size == 0 && out->given != 0);
    case TRACE_FREE:
        out->kind = PLAY_FREE;
        out->made = 0;
        return out->given != 0;
    case TRACE_FREE_NULL:
        out->kind = PLAY_FREE_NULL;
        out->made = 0;
        return true;
    default:
        return false;
    }
}

uint64_t replay_touched(const struct replay_plan *plan, uint64_t block,
                        uint64_t size)
{
    const uint64_t *touched =
        size > PLAY_LINES ? trace_table_find(&plan->touched, block) : NULL;
    return touched != NULL && *touched < size ? *touched : size;
}

/* ---- one reading --------------------------------------------------------- */

struct scan {
    struct replay_plan *plan;
    struct trace_blocks live;
    uint64_t live_bytes;
    uint32_t nthere, most_there; /* threads at one time */
    uint8_t *there;              /* by thread; bit 0: it is there */
    size_t room;
};

static int have_thread(struct scan *s, uint32_t thread)
{
    if (thread >= s->room) {
        size_t room = ((size_t)thread + 64) * 2;
        uint8_t *larger = realloc(s->there, room);
        if (larger == NULL)
            return -ENOMEM;
        memset(larger + s->room, 0, room - s->room);
        s->there = larger;
        s->room = room;
    }
    if (thread >= s->plan->facts.nthreads)
        s->plan->facts.nthreads = thread + 1;
    if (!s->there[thread] && ++s->nthere > s->most_there)
        s->most_there = s->nthere;
    s->there[thread] = 1;
    return 0;
}

static void end_thread(struct scan *s, uint32_t thread)
{
    if (thread == 0 || thread >= s->room || !s->there[thread])
        return;
    s->there[thread] = 0;
    s->nthere--;
}

static void remove_block(struct scan *s, uint64_t block)
{
    const struct replay_block *b = trace_blocks_find(&s->live, block);
    s->live_bytes -= b->size;
    trace_blocks_remove(&s->live, block);
}

static int add_block(struct scan *s, uint64_t block, uint64_t size)
{
    struct replay_facts *f = &s->plan->facts;
    struct replay_block *b = trace_blocks_add(&s->live, block);
    if (b == NULL)
        return -ENOMEM;
    b->size = size;
    s->live_bytes += size;
    if (s->live.n > f->peak_live_blocks)
        f->peak_live_blocks = s->live.n;
    if (s->live_bytes > f->peak_live_bytes) {
        f->peak_live_bytes = s->live_bytes;
        s->plan->peak_call = f->ncalls;
    }
    return 0;
}

static int step(struct scan *s, const struct trace_op *op)
{
    struct replay_facts *f = &s->plan->facts;
    struct replay_call call;
    int error = 0;
    f->time_ns = op->time_ns;
    if (op->kind == TRACE_ENDED)
        end_thread(s, op->thread);
    if (op->kind == TRACE_TOUCHED)
        error = trace_table_put(&s->plan->touched, op->object, op->size);
    if (!replay_call_of(op, &s->live, &call)) {
        f->nfailed += op->kind <= TRACE_REALLOC;
        f->nstrange += op->kind == TRACE_FREE;
        return error;
    }
    if (call.given != 0)
        remove_block(s, call.given);
    error = have_thread(s, op->thread);
    if (error == 0 && call.made != 0)
        error = add_block(s, call.made, op->size);
    f->ncalls++;
    return error;
}

static int read_all(struct scan *s, char *why, size_t n)
{
    struct trace_op op;
    int more, error = 0;
    while (error == 0 && (more = trace_next(s->plan->trace, &op, why, n)) > 0)
        error = step(s, &op);
    if (error != 0) {
        snprintf(why, n, "%s", strerror(-error));
        return error;
    }
    return more;
}

int replay_scan(struct replay_plan *plan, char *why, size_t n)
{
    struct scan s = {.plan = plan,
                     .live = {.record_bytes = sizeof(struct replay_block)}};
    struct trace_totals totals;
    int error = have_thread(&s, 0);
    if (error == 0)
        error = read_all(&s, why, n);
    trace_blocks_clear(&s.live);
    free(s.there);
    plan->nseats = s.most_there;
    plan->facts.was_cut = trace_was_cut(plan->trace);
    if (trace_totals(plan->trace, &totals))
        plan->facts.lost = totals.lost;
    return error;
}
