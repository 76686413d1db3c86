/* SPDX-License-Identifier: MIT
 * testhost_calls.c - which operation of which box is under way.
 *
 * Each operation of a box is called by way of a function here, which notes it
 * first: when a test fails or the process dies, th_call_text says in which call
 * that was, or which was the last one.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "testhost_private.h"

struct call {
    const char *box, *operation;
    bool has_size, inside;
    size_t size;
    const void *p;
};

/* Of the thread; of the one that called last, for signals to a process; and the
 * same where the process that waits for this one sees it. */
static __thread struct call now;
static struct call *last, *shared;

void th_share_calls(void)
{
    if (shared == NULL)
        shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        th_die(NULL, "no page for the calls");
    memset(shared, 0, sizeof *shared);
}

static struct call enter(const struct hak_box *box, const char *operation,
                         bool has_size, size_t size, const void *p)
{
    struct call before = now;
    now = (struct call){box->name, operation, has_size, true, size, p};
    __atomic_store_n(&last, &now, __ATOMIC_RELAXED);
    if (shared != NULL)
        *shared = now;
    return before;
}

/* Back in the call that this one came from, if it came from one. */
static void leave(const struct call *before)
{
    if (before->inside)
        now = *before;
    now.inside = before->inside;
    if (shared != NULL)
        *shared = now;
}

static const char *as_text(const struct call *c, char *text, size_t n)
{
    if (c == NULL || c->operation == NULL)
        return NULL;
    const char *in = c->inside ? "in" : "after";
    if (c->has_size && c->p != NULL)
        snprintf(text, n, "%s %s(%p, %zu)", in, c->operation, c->p, c->size);
    else if (c->has_size)
        snprintf(text, n, "%s %s(%zu)", in, c->operation, c->size);
    else if (c->p != NULL)
        snprintf(text, n, "%s %s(%p)", in, c->operation, c->p);
    else
        snprintf(text, n, "%s %s()", in, c->operation);
    return text;
}

const char *th_call_text(bool any_thread, char *text, size_t n)
{
    const struct call *c = &now;
    if (any_thread && __atomic_load_n(&last, __ATOMIC_RELAXED) != NULL)
        c = __atomic_load_n(&last, __ATOMIC_RELAXED);
    return as_text(c, text, n);
}

const char *th_shared_call_text(char *text, size_t n)
{
    return as_text(shared, text, n);
}

/* ---- operations ---- */

static const struct hak_box_ops *ops_of(struct hak_box *box)
{
    return &((struct instance *)box)->real;
}

#define SIZED(size) true, size
#define UNSIZED false, 0

/* call_NAME(parameters): the operation, its result handed through. */
#define GIVES(type, name, sized, p, arguments, ...)       \
    static type call_##name(__VA_ARGS__)                  \
    {                                                     \
        struct call before = enter(box, #name, sized, p); \
        type result = ops_of(box)->name arguments;        \
        leave(&before);                                   \
        return result;                                    \
    }                                                     \
    _Static_assert(true, "")
#define GIVES_NOTHING(name, sized, p, arguments, ...)     \
    static void call_##name(__VA_ARGS__)                  \
    {                                                     \
        struct call before = enter(box, #name, sized, p); \
        ops_of(box)->name arguments;                      \
        leave(&before);                                   \
    }                                                     \
    _Static_assert(true, "")
#define BOX struct hak_box *box

GIVES(void *, alloc, SIZED(n), NULL, (box, n), BOX, size_t n);
GIVES(void *, alloc_none, UNSIZED, NULL, (box), BOX);
GIVES(void *, zalloc, SIZED(n), NULL, (box, n), BOX, size_t n);
GIVES(void *, aligned_alloc, SIZED(n), (void *)(uintptr_t)align,
      (box, align, n), BOX, size_t align, size_t n);
GIVES(void *, resize, SIZED(n), p, (box, p, n), BOX, void *p, size_t n);
GIVES_NOTHING(free, UNSIZED, p, (box, p), BOX, void *p);
GIVES(bool, owns, UNSIZED, p, (box, p), BOX, const void *p);
GIVES(size_t, usable_size, UNSIZED, p, (box, p), BOX, const void *p);
GIVES(size_t, slot_size, SIZED(n), NULL, (box, n), BOX, size_t n);

GIVES(void *, heap_open, UNSIZED, NULL, (box, t), BOX, struct hak_thread *t);
GIVES_NOTHING(heap_close, UNSIZED, heap, (box, heap), BOX, void *heap);
GIVES_NOTHING(heap_lost, UNSIZED, heap, (box, heap, t), BOX, void *heap,
              struct hak_thread *t);
GIVES_NOTHING(heap_park, UNSIZED, heap, (box, heap), BOX, void *heap);
GIVES(struct hak_span *, refill, SIZED(n), NULL, (box, heap, n), BOX,
      void *heap, size_t n);

GIVES(int, init, UNSIZED, NULL, (box), BOX);
GIVES(int, set_param, SIZED(param), NULL, (box, param), BOX, uint32_t param);
GIVES_NOTHING(state_changed, UNSIZED, NULL, (box), BOX);
GIVES(const void *, get_extension, UNSIZED, NULL, (box, id), BOX,
      const char *id);
GIVES(size_t, trim, UNSIZED, NULL, (box), BOX);
GIVES(size_t, shrink, SIZED(n), NULL, (box, n), BOX, size_t n);
GIVES_NOTHING(age, UNSIZED, NULL, (box), BOX);
GIVES_NOTHING(fork, UNSIZED, NULL, (box, phase), BOX,
              enum hak_fork_phase phase);
GIVES_NOTHING(stats, UNSIZED, NULL, (box, out), BOX, struct hak_box_stats *out);
GIVES_NOTHING(visit_slots, UNSIZED, NULL, (box, visit, context), BOX,
              hak_visit *visit, void *context);

/* Those of a span. */
static void call_triggered(struct hak_span *span)
{
    struct call before = enter(span->box, "triggered", UNSIZED, span);
    ops_of(span->box)->triggered(span);
    leave(&before);
}

static void call_remote_free(struct hak_span *span, void *p)
{
    struct call before = enter(span->box, "remote_free", UNSIZED, p);
    ops_of(span->box)->remote_free(span, p);
    leave(&before);
}

void th_note_calls(struct instance *b, const struct hak_box_ops *ops)
{
    b->real = *ops;
    b->ops = *ops;
#define NOTED(name) b->ops.name = ops->name ? call_##name : NULL
    NOTED(alloc), NOTED(free), NOTED(owns), NOTED(init), NOTED(usable_size),
        NOTED(slot_size), NOTED(aligned_alloc), NOTED(zalloc), NOTED(resize),
        NOTED(heap_open), NOTED(heap_close), NOTED(refill), NOTED(triggered),
        NOTED(remote_free), NOTED(fork), NOTED(trim), NOTED(stats),
        NOTED(visit_slots), NOTED(set_param), NOTED(state_changed),
        NOTED(get_extension), NOTED(alloc_none), NOTED(heap_lost),
        NOTED(heap_park), NOTED(shrink), NOTED(age);
#undef NOTED
}
