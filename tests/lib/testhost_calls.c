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

/* A call, its result handed through. */
#define RESULT(type, box, name, sized, p, args)       \
    struct call before = enter(box, #name, sized, p); \
    type result = ops_of(box)->name args;             \
    leave(&before);                                   \
    return result
#define NOTHING(box, name, sized, p, args)            \
    struct call before = enter(box, #name, sized, p); \
    ops_of(box)->name args;                           \
    leave(&before)

static void *call_alloc(struct hak_box *box, size_t size)
{
    RESULT(void *, box, alloc, SIZED(size), NULL, (box, size));
}

static void call_free(struct hak_box *box, void *p)
{
    NOTHING(box, free, UNSIZED, p, (box, p));
}

static bool call_owns(struct hak_box *box, const void *p)
{
    RESULT(bool, box, owns, UNSIZED, p, (box, p));
}

static int call_init(struct hak_box *box)
{
    RESULT(int, box, init, UNSIZED, NULL, (box));
}

static size_t call_usable_size(struct hak_box *box, const void *p)
{
    RESULT(size_t, box, usable_size, UNSIZED, p, (box, p));
}

static size_t call_slot_size(struct hak_box *box, size_t size)
{
    RESULT(size_t, box, slot_size, SIZED(size), NULL, (box, size));
}

static void *call_aligned_alloc(struct hak_box *box, size_t align, size_t size)
{
    RESULT(void *, box, aligned_alloc, SIZED(size), (void *)(uintptr_t)align,
           (box, align, size));
}

static void *call_zalloc(struct hak_box *box, size_t size)
{
    RESULT(void *, box, zalloc, SIZED(size), NULL, (box, size));
}

static void *call_resize(struct hak_box *box, void *p, size_t size)
{
    RESULT(void *, box, resize, SIZED(size), p, (box, p, size));
}

static void *call_heap_open(struct hak_box *box, struct hak_thread *thread)
{
    RESULT(void *, box, heap_open, UNSIZED, NULL, (box, thread));
}

static void call_heap_close(struct hak_box *box, void *heap)
{
    NOTHING(box, heap_close, UNSIZED, heap, (box, heap));
}

static struct hak_span *call_refill(struct hak_box *box, void *heap,
                                    size_t size)
{
    RESULT(struct hak_span *, box, refill, SIZED(size), NULL,
           (box, heap, size));
}

static void call_triggered(struct hak_span *span)
{
    NOTHING(span->box, triggered, UNSIZED, span, (span));
}

static void call_remote_free(struct hak_span *span, void *p)
{
    NOTHING(span->box, remote_free, UNSIZED, p, (span, p));
}

static void call_heap_lost(struct hak_box *box, void *heap,
                           struct hak_thread *thread)
{
    NOTHING(box, heap_lost, UNSIZED, heap, (box, heap, thread));
}

static void call_heap_park(struct hak_box *box, void *heap)
{
    NOTHING(box, heap_park, UNSIZED, heap, (box, heap));
}

static size_t call_shrink(struct hak_box *box, size_t want_bytes)
{
    RESULT(size_t, box, shrink, SIZED(want_bytes), NULL, (box, want_bytes));
}

static void call_age(struct hak_box *box)
{
    NOTHING(box, age, UNSIZED, NULL, (box));
}

static void call_fork(struct hak_box *box, enum hak_fork_phase phase)
{
    NOTHING(box, fork, UNSIZED, NULL, (box, phase));
}

static size_t call_trim(struct hak_box *box)
{
    RESULT(size_t, box, trim, UNSIZED, NULL, (box));
}

static void call_stats(struct hak_box *box, struct hak_box_stats *out)
{
    NOTHING(box, stats, UNSIZED, NULL, (box, out));
}

static void call_visit_slots(struct hak_box *box, hak_visit *visit,
                             void *context)
{
    NOTHING(box, visit_slots, UNSIZED, NULL, (box, visit, context));
}

static int call_set_param(struct hak_box *box, uint32_t param)
{
    RESULT(int, box, set_param, SIZED(param), NULL, (box, param));
}

static void call_state_changed(struct hak_box *box)
{
    NOTHING(box, state_changed, UNSIZED, NULL, (box));
}

static const void *call_get_extension(struct hak_box *box, const char *id)
{
    RESULT(const void *, box, get_extension, UNSIZED, NULL, (box, id));
}

static void *call_alloc_none(struct hak_box *box)
{
    RESULT(void *, box, alloc_none, UNSIZED, NULL, (box));
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
