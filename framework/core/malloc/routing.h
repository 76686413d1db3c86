/* SPDX-License-Identifier: MIT
 * routing.h - a look at a chain and the call of its box, as one.
 */
#ifndef HAKMEM_MALLOC_ROUTING_H
#define HAKMEM_MALLOC_ROUTING_H

#include <core/state/build.h>
#include <core/state/thread.h>

/*
 * Around a look at a chain and the call of its box. A box is closed when
 * nobody is on the way to it any more: hak_drain cuts the chains, has the
 * barrier of hak_lanes_reroute, and looks at `routing`. Either it sees the
 * store here, or the chain that is read below is a cut one.
 */
static inline void hak_begin_routing(struct hak_thread *t)
{
    if (!hak_routes_may_change())
        return;
    __atomic_store_n(&t->routing, t->routing + 1, __ATOMIC_RELAXED);
    if (unlikely(hak_core.fences))
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void hak_end_routing(struct hak_thread *t)
{
    if (hak_routes_may_change())
        __atomic_store_n(&t->routing, t->routing - 1, __ATOMIC_RELEASE);
}

#endif
