/* SPDX-License-Identifier: MIT
 * op_calls.h - notes which operation of which box a thread is inside of.
 *
 * With [core] blame, and with verify, each call of a box stands between
 * hak_op_begins and hak_op_ends. They fill in the record of the calling
 * thread, which the handler of a crash reads (start/crash.c), and which the
 * report reads to find an operation that does not come back (report/stuck.c).
 * Calls nest: a box that maps memory may lead to ops->shrink of another box.
 *
 * While it is off, a slow path pays for one test of hak_blames().
 */
#ifndef HAKMEM_STATE_OP_CALLS_H
#define HAKMEM_STATE_OP_CALLS_H

#include <core/state/build.h>

#pragma GCC visibility push(hidden)

/* The operations that are noted: the name, and what the number is that is noted
 * with it. */
#define HAK_OPS(X)          \
    X(alloc, SIZE)          \
    X(alloc_none, NOTHING)  \
    X(zalloc, SIZE)         \
    X(aligned_alloc, SIZE)  \
    X(resize, SIZE)         \
    X(free, POINTER)        \
    X(owns, POINTER)        \
    X(usable_size, POINTER) \
    X(slot_size, SIZE)      \
    X(refill, SIZE)         \
    X(triggered, NOTHING)   \
    X(remote_free, POINTER) \
    X(heap_open, NOTHING)   \
    X(heap_close, NOTHING)  \
    X(heap_park, NOTHING)   \
    X(heap_lost, NOTHING)   \
    X(init, NOTHING)        \
    X(fork, NOTHING)        \
    X(stats, NOTHING)       \
    X(trim, NOTHING)        \
    X(shrink, SIZE)         \
    X(age, NOTHING)         \
    X(set_param, NOTHING)   \
    X(state_changed, NOTHING)

#define HAK_OP_CONSTANT(name, argument) HAK_OP_##name,
enum hak_op_name { HAK_OPS(HAK_OP_CONSTANT) HAK_OP_NAMES };

/*
 * The record of one thread. Written by that thread, or by a signal handler
 * inside of it; other threads may read it at any time. All members are atomic.
 * box       NULL: the thread is in no operation
 * operation, argument   of the innermost call
 * serial    counts the calls that are not nested in another one. If it is the
 *           same at two looks, and box is not NULL, the thread was in one call
 *           all the time.
 */
struct hak_op_call {
    const struct hak_loaded *box;
    uint32_t operation; /* enum hak_op_name */
    uint32_t serial;
    uint64_t argument;
    uintptr_t frame; /* an address in the stack frame that calls; not atomic */
    bool told;       /* the box has logged an error in this call; not atomic */
};

/* What the report saw of a record when it last looked. */
struct hak_op_look {
    uint32_t serial;
    uint64_t since_ms; /* when it first saw this serial in an operation */
};

/* Are calls noted? Never changes while the process runs. */
static inline bool hak_blames(void)
{
#ifdef HAK_FUSED
    return hak_fused.blame || hak_fused.verify;
#else
    return hak_core.blame;
#endif
}

/* Note a call in the record of the calling thread, and keep the outer one in
 * *outer. Returns the record, for hak_op_leave. */
struct hak_op_call *hak_op_enter(struct hak_op_call *outer,
                                 const struct hak_loaded *b,
                                 enum hak_op_name operation, uint64_t argument)
    __attribute__((cold));
void hak_op_leave(struct hak_op_call *record, const struct hak_op_call *outer)
    __attribute__((cold));
/* The record of the calling thread, which may be in a signal handler. */
struct hak_op_call *hak_op_record(void);
/* The calling thread's box has logged an error. If it aborts now, the error is
 * the reason, and the crash needs no other message. */
void hak_op_told(void);
/* The name of the record's operation, as "alloc". */
const char *hak_op_name(const struct hak_op_call *record);
/* Write the operation of the record as "alloc(100)" to out. Async-signal-safe.
 */
void hak_op_text(const struct hak_op_call *record, char out[64]);

/* What a caller keeps between hak_op_begins and hak_op_ends. */
struct hak_op_scope {
    struct hak_op_call *record; /* NULL: calls are not noted */
    struct hak_op_call outer;
};

static inline void hak_op_begins(struct hak_op_scope *scope,
                                 const struct hak_loaded *b,
                                 enum hak_op_name operation, uint64_t argument)
{
    scope->record = NULL;
    if (unlikely(hak_blames()))
        scope->record = hak_op_enter(&scope->outer, b, operation, argument);
}

static inline void hak_op_ends(const struct hak_op_scope *scope)
{
    if (unlikely(scope->record != NULL))
        hak_op_leave(scope->record, &scope->outer);
}

#pragma GCC visibility pop

#endif
