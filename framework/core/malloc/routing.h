/* SPDX-License-Identifier: MIT
 * routing.h - marks a thread that is between reading a chain and its box's
 * answer.
 */
#ifndef HAKMEM_MALLOC_ROUTING_H
#define HAKMEM_MALLOC_ROUTING_H

#include <core/state/build.h>
#include <core/state/thread.h>

/*
 * hak_begin_routing and hak_end_routing stand around reading a chain and
 * calling its boxes. hak_drain closes a box only when no thread is on its way
 * to it: it removes the box from all chains, calls hak_lanes_reroute, whose
 * barrier pairs with the fence here, and reads `routing` of each thread. Either
 * it sees the store here, or this thread reads a chain without the box.
 * A fence instruction is needed only where hak_os_barrier does not work.
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
