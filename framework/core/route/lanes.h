/* SPDX-License-Identifier: MIT
 * lanes.h - sets and empties lanes of threads.
 */
#ifndef HAKMEM_ROUTE_LANES_H
#define HAKMEM_ROUTE_LANES_H

#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/* The lanes of t, the calling thread, that a refill sets: t->lane, or t->taps
 * while calls are watched. NULL: no memory for the latter. */
struct hak_span **hak_lanes_set_now(struct hak_thread *t);
/* Let the calling thread, whose lanes these are, take slots of this size index
 * from span. */
void hak_lane_set(struct hak_span **lanes, uint32_t index,
                  struct hak_span *span);
/* Empty the lanes of t that lead to span. t: the owner of span. It is the
 * calling thread, or a thread that has ended. */
void hak_lanes_drop(struct hak_thread *t, struct hak_span *span);
/* Empty all lanes of t. t: a structure that no thread uses. */
void hak_lanes_clear(struct hak_thread *t);
/* Empty each lane of t whose span belongs to another box than the first one of
 * its route. t: the calling thread. */
void hak_lanes_resync(struct hak_thread *t);
/* Compute hak_core.group from routes and slot sizes. At start, and when routes
 * change. */
void hak_lanes_group(void);
/*
 * hak_lanes_reroute - empty the lanes first..last of all threads, and make the
 * next malloc of each running thread see a change of routes.
 * The caller has changed the routes of these indexes before.
 * Cost     one system call, and one store for each lane of each thread
 */
void hak_lanes_reroute(uint32_t first, uint32_t last);
/* Is any thread between reading its chain and the end of the call of a box
 * (malloc/routing.h)? If a call after hak_lanes_reroute returns false, no
 * thread uses a chain that it read before. */
bool hak_thread_is_routing(void);

#pragma GCC visibility pop

#endif
