/* SPDX-License-Identifier: MIT
 * trace_code.c - an operation as bytes, and back.
 */
#include "trace_code.h"

#include "trace_live.h"

#include <errno.h>
#include <stdlib.h>

/* A tag: the kind of an operation in its low bits, and these. */
enum {
    TAG_KIND = 0x0f,
    TAG_TIME = 0x10,   /* ticks went by: TRACE_TIMES has how many */
    TAG_THREAD = 0x20, /* another thread: TRACE_OTHERS has its number */
    TAG_NONE = 0x40,   /* no block was made, or the block is not known */
    TAG_NEAR = 0x80,   /* the block is the predicted one; of a realloc: none
                          was given */
};

size_t trace_column_most(enum trace_column column, size_t nops)
{
    static const uint8_t each[TRACE_COLUMNS] = {
        [TRACE_TAGS] = 1,   [TRACE_SIZES] = 10,  [TRACE_GIVEN] = 10,
        [TRACE_TIMES] = 10, [TRACE_OTHERS] = 15,
    };
    return nops * each[column];
}

int trace_columns_new(struct trace_columns *c)
{
    *c = (struct trace_columns){0};
    for (unsigned i = 0; i < TRACE_COLUMNS; i++) {
        c->at[i] = malloc(trace_column_most(i, TRACE_BLOCK_OPS));
        if (c->at[i] == NULL) {
            trace_columns_free(c);
            return -ENOMEM;
        }
    }
    return 0;
}

void trace_columns_free(struct trace_columns *c)
{
    for (unsigned i = 0; i < TRACE_COLUMNS; i++)
        free(c->at[i]);
    *c = (struct trace_columns){0};
}

/* ---- what the kinds have ------------------------------------------------- */

static bool has_given(enum trace_kind kind)
{
    return kind == TRACE_FREE || kind == TRACE_TOUCHED || kind == TRACE_REALLOC;
}

static bool has_size(enum trace_kind kind)
{
    return trace_makes(kind) || kind == TRACE_TOUCHED || kind == TRACE_RESIDENT;
}

/* The block that is given next, if it is as so often: what was touched is
 * freed, and blocks are freed in the order in which they were made. */
static uint64_t predicted(const struct trace_state *s, enum trace_kind kind)
{
    return kind == TRACE_FREE ? s->given : 0;
}

/* ---- encoding ------------------------------------------------------------ */

static void put(struct trace_columns *c, enum trace_column column,
                uint64_t value)
{
    uint8_t *at = c->at[column] + c->n[column];
    c->n[column] = (size_t)(trace_put_varint(at, value) - c->at[column]);
}

static bool may_follow(const struct trace_state *s, const struct trace_op *op)
{
    uint64_t given = op->kind == TRACE_REALLOC ? op->old : op->object;
    return op->kind < TRACE_KINDS && op->thread <= s->nthreads &&
           (!trace_makes(op->kind) || op->object == 0 ||
            op->object == s->objects + 1) &&
           (!has_given(op->kind) || given <= s->objects);
}

/* Tell the block that is given. Returns bits of the tag. */
static unsigned put_given(struct trace_columns *c, struct trace_state *s,
                          const struct trace_op *op)
{
    bool again = op->kind == TRACE_REALLOC;
    uint64_t given = again ? op->old : op->object;
    if (given == 0)
        return again ? TAG_NEAR : TAG_NONE;
    uint64_t guess = predicted(s, op->kind);
    s->given = op->kind == TRACE_TOUCHED ? given : 0;
    if (given == guess)
        return TAG_NEAR;
    put(c, TRACE_GIVEN, s->objects - given);
    return 0;
}

int trace_encode(struct trace_columns *c, struct trace_state *s,
                 const struct trace_op *op)
{
    if (!may_follow(s, op))
        return -EINVAL;
    unsigned tag = op->kind;
    uint64_t ticks = op->time_ns / TRACE_TICK_NS;
    if (ticks > s->ticks) {
        put(c, TRACE_TIMES, ticks - s->ticks);
        s->ticks = ticks;
        tag |= TAG_TIME;
    }
    if (op->thread != s->thread) {
        put(c, TRACE_OTHERS, op->thread);
        s->thread = op->thread;
        tag |= TAG_THREAD;
    }
    s->nthreads += op->thread == s->nthreads;
    if (has_given(op->kind))
        tag |= put_given(c, s, op);
    if (has_size(op->kind))
        put(c, TRACE_SIZES, op->size);
    if (op->kind == TRACE_ALIGNED)
        put(c, TRACE_OTHERS, op->align);
    if (trace_makes(op->kind) && op->object == 0)
        tag |= TAG_NONE;
    else if (trace_makes(op->kind))
        s->objects++;
    c->at[TRACE_TAGS][c->n[TRACE_TAGS]++] = (uint8_t)tag;
    s->nops++;
    return 0;
}

/* ---- decoding ------------------------------------------------------------ */

static inline bool get(struct trace_cursor *c, enum trace_column column,
                       uint64_t *value)
{
    const uint8_t *at = c->at[column];
    if (at < c->end[column] && *at < 0x80) {
        *value = *at;
        c->at[column]++;
        return true;
    }
    return trace_get_varint(&c->at[column], c->end[column], value);
}

static const char *get_time(struct trace_cursor *c, struct trace_state *s)
{
    uint64_t ticks;
    if (!get(c, TRACE_TIMES, &ticks))
        return "a time is missing or too long";
    if (ticks > UINT64_MAX / TRACE_TICK_NS - s->ticks)
        return "a time is beyond what 64 bits hold";
    s->ticks += ticks;
    return NULL;
}

static const char *get_thread(struct trace_cursor *c, struct trace_state *s)
{
    uint64_t thread;
    if (!get(c, TRACE_OTHERS, &thread))
        return "a thread's number is missing or too long";
    if (thread > s->nthreads || thread >= UINT32_MAX)
        return "a thread has a number that skips others";
    s->thread = (uint32_t)thread;
    return NULL;
}

static const char *get_given(struct trace_cursor *c, struct trace_state *s,
                             unsigned tag, uint64_t *given)
{
    enum trace_kind kind = tag & TAG_KIND;
    uint64_t distance, guess = predicted(s, kind);
    *given = 0;
    if ((tag & (kind == TRACE_REALLOC ? TAG_NEAR : TAG_NONE)) != 0)
        return NULL;
    s->given = 0;
    if ((tag & TAG_NEAR) != 0) {
        *given = guess;
        return guess != 0 ? NULL : "a block is named that was not touched";
    }
    if (!get(c, TRACE_GIVEN, &distance))
        return "a block's number is missing or too long";
    if (distance >= s->objects)
        return "a block is given that was never made";
    *given = s->objects - distance;
    s->given = kind == TRACE_TOUCHED ? *given : 0;
    return NULL;
}

static const char *get_rest(struct trace_cursor *c, struct trace_state *s,
                            unsigned tag, struct trace_op *op)
{
    const char *what = NULL;
    if (has_given(op->kind))
        what = get_given(c, s, tag,
                         op->kind == TRACE_REALLOC ? &op->old : &op->object);
    if (what == NULL && has_size(op->kind) && !get(c, TRACE_SIZES, &op->size))
        what = "a size is missing or too long";
    if (what == NULL && op->kind == TRACE_ALIGNED &&
        !get(c, TRACE_OTHERS, &op->align))
        what = "an alignment is missing or too long";
    if (what == NULL && trace_makes(op->kind) && (tag & TAG_NONE) == 0)
        op->object = ++s->objects;
    return what;
}

static int at_end(const struct trace_cursor *c, const char **what)
{
    for (unsigned i = 0; i < TRACE_COLUMNS; i++) {
        if (c->at[i] != c->end[i]) {
            *what = "there are values that belong to no operation";
            return -EBADMSG;
        }
    }
    return 0;
}

int trace_decode(struct trace_cursor *c, struct trace_state *s,
                 struct trace_op *op, const char **what)
{
    if (c->at[TRACE_TAGS] == c->end[TRACE_TAGS])
        return at_end(c, what);
    unsigned tag = *c->at[TRACE_TAGS]++;
    *what = (tag & TAG_KIND) >= TRACE_KINDS ? "an operation of no known kind"
                                            : NULL;
    if (*what == NULL && (tag & TAG_TIME) != 0)
        *what = get_time(c, s);
    if (*what == NULL && (tag & TAG_THREAD) != 0)
        *what = get_thread(c, s);
    if (*what != NULL)
        return -EBADMSG;
    s->nthreads += s->thread == s->nthreads;
    *op = (struct trace_op){.kind = tag & TAG_KIND,
                            .thread = s->thread,
                            .time_ns = s->ticks * TRACE_TICK_NS};
    *what = get_rest(c, s, tag, op);
    s->nops++;
    return *what == NULL ? 1 : -EBADMSG;
}
