/* SPDX-License-Identifier: MIT
 * trace_text.c - lines, and blocks in place of addresses.
 */
#include "trace_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines --------------------------------------------------------------- */

int trace_text_begin(struct trace *t, const char *about, char *why, size_t n)
{
    struct trace_text *x = t->reader = malloc(sizeof *x);
    t->about = strdup(about);
    if (x == NULL || t->about == NULL)
        return trace_fail(-ENOMEM, why, n, "%s", strerror(ENOMEM));
    *x = (struct trace_text){.live = TRACE_LIVE};
    return 0;
}

void trace_text_end(struct trace *t)
{
    struct trace_text *x = t->reader;
    if (x == NULL)
        return;
    trace_table_clear(&x->objects);
    trace_table_clear(&x->threads);
    trace_live_clear(&x->live);
    free(x);
}

int trace_text_wrong(const struct trace *t, char *why, size_t n,
                     const char *what)
{
    const struct trace_text *x = t->reader;
    return trace_fail(-EBADMSG, why, n, "has an error in line %llu: %s",
                      (unsigned long long)x->nlines, what);
}

static int no_more_lines(struct trace *t, bool cut, char *why, size_t n)
{
    struct trace_text *x = t->reader;
    if (ferror(t->in))
        return trace_fail(-EIO, why, n, "cannot be read after line %llu: %s",
                          (unsigned long long)x->nlines, strerror(errno));
    x->totals.peak_live_bytes = x->live.peak_bytes;
    x->totals.peak_live_blocks = x->live.peak_blocks;
    t->totals = x->totals;
    t->whole = !cut;
    t->cut = cut;
    return 0;
}

int trace_text_line(struct trace *t, char *why, size_t n)
{
    struct trace_text *x = t->reader;
    size_t used = 0;
    int ch = 0;
    while (used < sizeof x->line && (ch = getc_unlocked(t->in)) != EOF &&
           ch != '\n')
        x->line[used++] = (char)ch;
    if (ch == EOF)
        return no_more_lines(t, used != 0, why, n);
    x->nlines++;
    if (used == sizeof x->line)
        return trace_text_wrong(t, why, n, "it is longer than lines are");
    x->line[used] = 0;
    if (strlen(x->line) != used)
        return trace_text_wrong(t, why, n, "it has a byte 0");
    return 1;
}

/* ---- calls --------------------------------------------------------------- */

static int no_memory(char *why, size_t n)
{
    return trace_fail(-ENOMEM, why, n, "%s", strerror(ENOMEM));
}

/* Every operation that is handed out goes through here. */
static int hand_out(struct trace_text *x, struct trace_op *op, char *why,
                    size_t n)
{
    x->totals.nops++;
    return trace_live_step(&x->live, op) == 0 ? 1 : no_memory(why, n);
}

int trace_text_waiting(struct trace *t, struct trace_op *op, char *why,
                       size_t n)
{
    struct trace_text *x = t->reader;
    if (!x->waits)
        return 0;
    *op = x->waiting;
    x->waits = false;
    return hand_out(x, op, why, n);
}

/* The thread of a number; a new one gets the next. False: no memory. */
static bool thread_of(struct trace_text *x, uint64_t number, uint32_t *thread)
{
    const uint64_t *found = trace_table_find(&x->threads, number + 1);
    if (found != NULL) {
        *thread = (uint32_t)*found;
        return true;
    }
    *thread = x->totals.threads++;
    return trace_table_put(&x->threads, number + 1, *thread) == 0;
}

/* The block at an address; 0: none is known. It is taken out of the table. */
static uint64_t take(struct trace_text *x, uint64_t address)
{
    uint64_t object = 0;
    trace_table_take(&x->objects, address, &object);
    return object;
}

/* Set what the kinds of calls have. */
static void fill(struct trace_text *x, const struct trace_call *call,
                 struct trace_op *op)
{
    if (call->kind == TRACE_FREE) {
        op->kind = call->given != 0 ? TRACE_FREE : TRACE_FREE_NULL;
        op->object = take(x, call->given);
        return;
    }
    op->size = call->size;
    if (call->kind == TRACE_ALIGNED && call->align <= 16)
        op->kind = TRACE_MALLOC;
    else if (call->kind == TRACE_ALIGNED)
        op->align = call->align;
    if (call->kind != TRACE_REALLOC || call->given == 0)
        return;
    const uint64_t *old = trace_table_find(&x->objects, call->given);
    op->old = old != NULL ? *old : 0;
    if (call->made != 0)
        take(x, call->given);
}

/* realloc(p, 0) that returns NULL has freed p. */
static bool frees(const struct trace_call *call)
{
    return call->kind == TRACE_REALLOC && call->given != 0 && call->made == 0 &&
           call->size == 0;
}

int trace_text_call(struct trace *t, const struct trace_call *call,
                    struct trace_op *op, char *why, size_t n)
{
    struct trace_text *x = t->reader;
    struct trace_call changed = *call;
    if (frees(call))
        changed.kind = TRACE_FREE;
    struct trace_op made = {.kind = changed.kind};
    if (!thread_of(x, call->thread, &made.thread))
        return no_memory(why, n);
    fill(x, &changed, &made);
    *op = made;
    if (call->made == 0 || changed.kind == TRACE_FREE)
        return hand_out(x, op, why, n);
    uint64_t missed = take(x, call->made);
    made.object = ++x->totals.objects;
    if (trace_table_put(&x->objects, call->made, made.object) != 0)
        return no_memory(why, n);
    *op = made;
    if (missed != 0) {
        x->waiting = made;
        x->waits = true;
        *op = (struct trace_op){
            .kind = TRACE_FREE, .thread = made.thread, .object = missed};
    }
    return hand_out(x, op, why, n);
}

/* ---- numbers ------------------------------------------------------------- */

static int digit_of(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch = (char)(ch | 0x20);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : 16;
}

bool trace_text_number(const char **at, uint64_t *value)
{
    const char *p = *at;
    if (strncmp(p, "(nil)", 5) == 0) {
        *at = p + 5;
        *value = 0;
        return true;
    }
    bool hex = p[0] == '0' && (p[1] | 0x20) == 'x';
    p += hex ? 2 : 0;
    uint64_t base = hex ? 16 : 10, number = 0;
    const char *begun = p;
    for (uint64_t digit; (digit = (uint64_t)digit_of(*p)) < base; p++)
        if (__builtin_mul_overflow(number, base, &number) ||
            __builtin_add_overflow(number, digit, &number))
            return false;
    if (p == begun)
        return false;
    *at = p;
    *value = number;
    return true;
}
