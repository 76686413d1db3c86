/* SPDX-License-Identifier: MIT
 * traces.h - makes traces, for the tests of their files.
 */
#ifndef HAK_TESTS_TRACES_H
#define HAK_TESTS_TRACES_H

#include <trace/trace.h>
#include <trace/trace_code.h>

#include "random.h"
#include "test.h"

/* A sequence of operations of all kinds. Begin with {.random = seed}. */
struct made_up {
    uint64_t random, objects, time_ns, touched;
    uint32_t threads;
};

/* Mostly small, now and then anything. */
static inline uint64_t any_size(uint64_t *random)
{
    uint64_t bits = random_next(random);
    return random_below(random, 16) != 0 ? bits % 4096 : bits >> (bits & 63);
}

static inline uint64_t any_block(struct made_up *m)
{
    uint64_t back = any_size(&m->random);
    return back >= m->objects ? 0 : m->objects - back;
}

static inline struct trace_op next_made_up(struct made_up *m)
{
    uint64_t *random = &m->random;
    struct trace_op op = {.kind = (enum trace_kind)random_below(random, 9)};
    if (m->touched != 0 && random_below(random, 2) == 0)
        op.kind = TRACE_FREE;
    op.thread =
        (uint32_t)random_below(random, m->threads < 40 ? m->threads + 1 : 40);
    m->threads += op.thread == m->threads;
    m->time_ns += random_below(random, 3) * TRACE_TICK_NS;
    op.time_ns = m->time_ns;
    if (op.kind <= TRACE_REALLOC || op.kind == TRACE_TOUCHED ||
        op.kind == TRACE_RESIDENT)
        op.size = any_size(random);
    if (op.kind == TRACE_ALIGNED)
        op.align = UINT64_C(1) << random_below(random, 64);
    if (op.kind == TRACE_REALLOC)
        op.old = any_block(m);
    if (op.kind <= TRACE_REALLOC && random_below(random, 16) != 0)
        op.object = ++m->objects;
    if (op.kind == TRACE_TOUCHED)
        m->touched = op.object = any_block(m);
    if (op.kind == TRACE_FREE) {
        op.object = m->touched != 0 ? m->touched : any_block(m);
        m->touched = 0;
    }
    return op;
}

static inline bool same_op(const struct trace_op *a, const struct trace_op *b)
{
    return a->kind == b->kind && a->thread == b->thread &&
           a->time_ns == b->time_ns && a->object == b->object &&
           a->old == b->old && a->size == b->size && a->align == b->align;
}

/* A file name that is free for this process. */
static inline const char *trace_path(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/hakmem-trace.%d", (int)getpid());
    return path;
}

#endif
