/* SPDX-License-Identifier: MIT
 * trace_ctl_cut.c - hakctl trace cut: a part of a trace as a trace.
 *
 * The blocks that are live where the part begins are made first, in the order
 * of their numbers. Blocks and threads get new numbers.
 */
#include "trace_ctl.h"
#include "trace_live.h"

#include "../hakctl.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A block that is live: of the part, once that has begun. */
struct block {
    uint64_t size, align, number; /* number: in the new trace */
    uint32_t thread;
    enum trace_kind kind;
};

struct cut {
    struct trace_writer *w;
    struct trace_blocks blocks; /* struct block, by the old number */
    struct trace_table threads; /* old number + 1 -> new number */
    uint64_t objects;           /* of the new trace */
    uint64_t seen;              /* the newest block of the old trace */
    uint64_t begun_ns;
    uint64_t from, to; /* operations [from, to), the first is 0 */
};

/* ---- the part ------------------------------------------------------------ */

/* Count the operations; false, after a message: the file is damaged. */
static bool count(const struct trace_words *words, struct trace *t,
                  uint64_t *nops)
{
    struct trace_op op;
    char why[512];
    int got;
    *nops = 0;
    while ((got = trace_ctl_next(words, t, &op)) == 1)
        ++*nops;
    if (got == 0 && trace_rewind(t, why, sizeof why) != 0) {
        ctl_say("trace: %s %s", words->file, why);
        got = -1;
    }
    return got == 0;
}

/* A place, as a share ("25%") or as the number of an operation from 1 on. */
static bool place(const char *text, uint64_t nops, uint64_t *at)
{
    char *end;
    errno = 0;
    double share = strtod(text, &end);
    if (end != text && strcmp(end, "%") == 0 && share >= 0 && share <= 100) {
        *at = (uint64_t)floor((double)nops * share / 100);
        return true;
    }
    unsigned long long number = strtoull(text, &end, 10);
    bool good = text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0;
    if (good)
        *at = number;
    else
        ctl_say("trace: \"%s\" is neither a share (25%%) nor the number of an "
                "operation",
                text);
    return good;
}

/* --to names the last operation of the part, so it is the end as an index. */
static bool find_part(const struct trace_words *words, struct trace *t,
                      struct cut *c)
{
    uint64_t nops;
    if (!count(words, t, &nops))
        return false;
    c->to = nops;
    if ((words->from != NULL && !place(words->from, nops, &c->from)) ||
        (words->to != NULL && !place(words->to, nops, &c->to)))
        return false;
    if (words->from != NULL && strchr(words->from, '%') == NULL && c->from > 0)
        c->from--;
    if (c->to > nops)
        c->to = nops;
    if (c->from < c->to)
        return true;
    ctl_say("trace: there is nothing from %s to %s: %s has %llu operations",
            words->from != NULL ? words->from : "the beginning",
            words->to != NULL ? words->to : "the end", words->file,
            (unsigned long long)nops);
    return false;
}

/* The description of the new trace; the caller frees it. */
static char *describe(const char *about, const struct cut *c)
{
    json_t *all = json_loads(about, 0, NULL);
    char *text = NULL;
    if (json_is_object(all)) {
        json_object_set_new(all, "from", json_integer((json_int_t)c->from + 1));
        json_object_set_new(all, "to", json_integer((json_int_t)c->to));
        text = json_dumps(all, JSON_ENCODE_ANY);
    }
    json_decref(all);
    return text != NULL ? text : strdup(about);
}

/* ---- operations ---------------------------------------------------------- */

static int thread_of(struct cut *c, uint32_t old, uint32_t *thread)
{
    const uint64_t *found = trace_table_find(&c->threads, (uint64_t)old + 1);
    *thread = found != NULL ? (uint32_t)*found : (uint32_t)c->threads.n;
    return found != NULL
               ? 0
               : trace_table_put(&c->threads, (uint64_t)old + 1, *thread);
}

/* The new number of a block; 0: it is not live. */
static uint64_t number_of(struct cut *c, uint64_t old)
{
    const struct block *b = trace_blocks_find(&c->blocks, old);
    return b != NULL ? b->number : 0;
}

/* Note what an operation makes and gives back. */
static int follow(struct cut *c, const struct trace_op *op)
{
    uint64_t given = trace_given_back(op);
    if (given != 0 && trace_blocks_find(&c->blocks, given) != NULL)
        trace_blocks_remove(&c->blocks, given);
    if (!trace_makes(op->kind) || op->object == 0)
        return 0;
    struct block *b = trace_blocks_add(&c->blocks, op->object);
    if (b == NULL)
        return -ENOMEM;
    *b = (struct block){.size = op->size,
                        .align = op->align,
                        .number = ++c->objects,
                        .thread = op->thread,
                        .kind = op->kind};
    if (b->kind == TRACE_REALLOC)
        b->kind = TRACE_MALLOC;
    c->seen = op->object;
    return 0;
}

/* Make the blocks that are live, at the time 0. */
static int make_live(struct cut *c)
{
    uint64_t number = 1;
    struct block *b;
    int error = 0;
    c->objects = 0;
    while (error == 0 &&
           (b = trace_blocks_next(&c->blocks, &number, c->seen)) != NULL) {
        struct trace_op op = {.kind = b->kind,
                              .size = b->size,
                              .align = b->align,
                              .object = ++c->objects};
        b->number = op.object;
        error = thread_of(c, b->thread, &op.thread);
        if (error == 0)
            error = trace_put(c->w, &op);
        number++;
    }
    return error;
}

/* Write an operation with the new numbers. */
static int put(struct cut *c, const struct trace_op *op)
{
    struct trace_op out = *op;
    bool makes = trace_makes(op->kind) && op->object != 0;
    out.time_ns -= c->begun_ns;
    out.old = number_of(c, op->old);
    if (op->kind == TRACE_FREE || op->kind == TRACE_TOUCHED)
        out.object = number_of(c, op->object);
    else if (makes)
        out.object = c->objects + 1;
    int error = thread_of(c, op->thread, &out.thread);
    if (error == 0)
        error = follow(c, op);
    return error == 0 ? trace_put(c->w, &out) : error;
}

/* Returns 0 or the error of writing; *got as trace_next. */
static int copy(const struct trace_words *words, struct trace *t, struct cut *c,
                int *got)
{
    struct trace_op op;
    int error = 0;
    for (uint64_t i = 0; error == 0 && i < c->to; i++) {
        *got = trace_ctl_next(words, t, &op);
        if (*got != 1)
            break;
        if (i == c->from) {
            c->begun_ns = op.time_ns;
            error = make_live(c);
        }
        if (error == 0)
            error = i < c->from ? follow(c, &op) : put(c, &op);
    }
    return error;
}

static int write_part(const struct trace_words *words, struct trace *t,
                      struct cut *c)
{
    char *about = describe(trace_about(t), c);
    if (about == NULL)
        ctl_die("no memory");
    c->w = trace_ctl_create(words, about);
    free(about);
    if (c->w == NULL)
        return CTL_SOME;
    int got = 0;
    int error = copy(words, t, c, &got);
    int finish = trace_finish(c->w, 0);
    if (error != 0 || finish != 0)
        return trace_ctl_unwritten(words, error != 0 ? error : finish);
    return got < 0 ? CTL_SOME : CTL_OK;
}

int trace_ctl_cut(const struct trace_words *words)
{
    struct trace *t = trace_ctl_open(words);
    struct cut c = {.blocks = {.record_bytes = sizeof(struct block)}};
    if (t == NULL)
        return CTL_SOME;
    int status = find_part(words, t, &c) ? write_part(words, t, &c) : CTL_SOME;
    trace_blocks_clear(&c.blocks);
    trace_table_clear(&c.threads);
    trace_close(t);
    return status;
}
