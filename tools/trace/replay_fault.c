/* SPDX-License-Identifier: MIT
 * replay_fault.c - why a run failed, in words: which call of which thread, and
 * which block of the trace.
 *
 * The player knows calls by their numbers among those that are played. Here the
 * trace is read again to find the operations behind them.
 */
#include "replay_plan.h"

#include "../hakctl.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* An operation of the trace. */
struct found {
    uint64_t number; /* among operations of all kinds, from 1 */
    struct trace_op op;
    bool there;
};

struct search {
    uint64_t call;
    struct found *out;
};

static int step_live(struct trace_blocks *live, const struct replay_call *call)
{
    if (call->given != 0)
        trace_blocks_remove(live, call->given);
    return call->made != 0 && trace_blocks_add(live, call->made) == NULL;
}

/* Find the operations of some calls. */
static void find_calls(const struct replay_plan *plan, struct search *search,
                       size_t n)
{
    struct trace_blocks live = {.record_bytes = sizeof(uint64_t)};
    struct replay_call call;
    struct trace_op op;
    uint64_t number = 0, ncalls = 0;
    char why[256];
    if (trace_rewind(plan->trace, why, sizeof why) != 0)
        return;
    while (trace_next(plan->trace, &op, why, sizeof why) > 0) {
        number++;
        if (!replay_call_of(&op, &live, &call))
            continue;
        for (size_t i = 0; i < n; i++)
            if (search[i].call == ncalls)
                *search[i].out =
                    (struct found){.number = number, .op = op, .there = true};
        ncalls++;
        if (step_live(&live, &call) != 0)
            break;
    }
    trace_blocks_clear(&live);
}

static void write_call(FILE *out, const struct found *f)
{
    static const char *const names[] = {
        [TRACE_MALLOC] = "malloc",    [TRACE_CALLOC] = "calloc",
        [TRACE_ALIGNED] = "memalign", [TRACE_REALLOC] = "realloc",
        [TRACE_FREE] = "free",        [TRACE_FREE_NULL] = "free(NULL)",
    };
    if (!f->there) {
        fprintf(out, "after the last operation");
        return;
    }
    fprintf(out, "in operation %llu (%s", (unsigned long long)f->number,
            names[f->op.kind]);
    if (f->op.kind <= TRACE_REALLOC)
        fprintf(out, " of %llu bytes", (unsigned long long)f->op.size);
    if (f->op.kind == TRACE_ALIGNED)
        fprintf(out, " at a multiple of %llu", (unsigned long long)f->op.align);
    if (f->op.kind == TRACE_FREE)
        fprintf(out, " of block %llu", (unsigned long long)f->op.object);
    if (f->op.kind == TRACE_REALLOC && f->op.old != 0)
        fprintf(out, ", of block %llu", (unsigned long long)f->op.old);
    fprintf(out, ", thread %u)", f->op.thread);
}

static void write_block(FILE *out, const struct found *f)
{
    fprintf(out, "block %llu (%llu bytes, made by operation %llu, thread %u)",
            (unsigned long long)f->op.object, (unsigned long long)f->op.size,
            (unsigned long long)f->number, f->op.thread);
}

/* ---- errors of the player ------------------------------------------------ */

static void write_fault(FILE *out, const struct play_error *e,
                        const struct found *at, const struct found *made,
                        const struct found *other)
{
    const unsigned long long address = e->address, offset = e->offset,
                             value = e->value, wanted = e->wanted;
    write_call(out, at);
    switch ((enum play_fault)e->fault) {
    case PLAY_NO_BLOCK:
        fprintf(out, ": the allocator returned NULL");
        return;
    case PLAY_BAD_ALIGN:
        fprintf(out, ": %#llx is no multiple of %llu", address, wanted);
        return;
    case PLAY_NOT_USABLE:
        fprintf(out, ": malloc_usable_size says %llu bytes", value);
        return;
    case PLAY_NOT_ZERO:
        fprintf(out, ": byte %llu is 0x%02llx, not 0", offset, value);
        return;
    default:
        break;
    }
    fprintf(out, ": byte %llu of ", offset);
    write_block(out, made);
    fprintf(out, " is 0x%02llx, not 0x%02llx", value, wanted);
    if (e->fault == PLAY_OVERLAPS) {
        fprintf(out, "; ");
        write_block(out, other);
        fprintf(out, " overlaps it");
    }
}

static void say_error(const struct replay_plan *plan, FILE *out)
{
    const struct play_error e = plan->control->error;
    struct found at = {0}, made = {0}, other = {0};
    struct search search[] = {
        {e.call, &at}, {e.made_by, &made}, {e.other, &other}};
    if (e.fault == PLAY_BROKEN) {
        fprintf(out, "cannot be played: %.*s", (int)sizeof e.text, e.text);
        return;
    }
    find_calls(plan, search, sizeof search / sizeof search[0]);
    write_fault(out, &e, &at, &made, &other);
}

/* ---- ends of the process ------------------------------------------------- */

/* The calls that threads were in when the process ended: the first of them in
 * the trace, and how many. */
static void say_where(const struct replay_plan *plan, FILE *out)
{
    struct found at = {0};
    struct search search = {UINT64_MAX, &at};
    size_t n = 0;
    for (uint32_t i = 0; i < plan->nseats; i++) {
        uint64_t call = plan->seats[i].at;
        n += call != 0;
        if (call != 0 && call - 1 < search.call)
            search.call = call - 1;
    }
    if (n == 0) {
        fprintf(out, "before the first operation");
        return;
    }
    find_calls(plan, &search, 1);
    write_call(out, &at);
    if (n > 1)
        fprintf(out, " or in one of %zu other threads", n - 1);
}

/* The last line of what was said, which is often the allocator's own message.
 */
static void say_last_line(const char *said, FILE *out)
{
    size_t end = strlen(said);
    while (end > 0 && said[end - 1] == '\n')
        end--;
    size_t begin = end;
    while (begin > 0 && said[begin - 1] != '\n')
        begin--;
    if (end == begin)
        return;
    size_t n = end - begin;
    fprintf(out, "; it said \"%.*s\"", (int)(n < 200 ? n : 200), said + begin);
}

static void say_end(const struct replay_plan *plan, int status, FILE *out)
{
    if (status == -1)
        fprintf(out, "has hung for a minute ");
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        fprintf(out, "was killed (SIGKILL; out of memory?) ");
    else if (WIFSIGNALED(status))
        fprintf(out, "was ended by signal %d (%s) ", WTERMSIG(status),
                strsignal(WTERMSIG(status)));
    else
        fprintf(out, "ended with status %d ", WEXITSTATUS(status));
    say_where(plan, out);
}

void replay_say_fault(const struct replay_plan *plan, int status,
                      const char *said, char *why, size_t n)
{
    FILE *out = fmemopen(why, n, "w");
    if (out == NULL)
        ctl_die("replay: no memory");
    if (plan->control->error.fault != PLAY_NO_FAULT)
        say_error(plan, out);
    else
        say_end(plan, status, out);
    say_last_line(said, out);
    fclose(out);
    why[n - 1] = 0;
}
