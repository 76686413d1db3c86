/* SPDX-License-Identifier: MIT
 * lanes.h - a thread's lanes: set, dropped, and emptied when routes change.
 */
#ifndef HAKMEM_ROUTE_LANES_H
#define HAKMEM_ROUTE_LANES_H

#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/* Take slots of this index from span from now on. t: the calling thread. */
void hak_lane_set(struct hak_thread *t, uint32_t index, struct hak_span *span);
/* Take no more slots from span. t: its owner, the calling thread or one that
 * has ended. */
void hak_lanes_drop(struct hak_thread *t, struct hak_span *span);
/* Take no slots from any span. t: a structure that no thread uses. */
void hak_lanes_clear(struct hak_thread *t);
/* Empty the lanes whose route does not begin with their box any more. t: the
 * calling thread. */
void hak_lanes_resync(struct hak_thread *t);
/* Find hak_core.group, from routes and boxes; at start and when routes
 * change. */
void hak_lanes_group(void);
/*
 * Routes of these indexes changed: empty the lanes of all threads, and make
 * every running thread's next malloc see the change. Cost: a system call and a
 * store a thread and lane
 */
void hak_lanes_reroute(uint32_t first, uint32_t last);
/* Is any thread between reading a chain and the answer of its box? After
 * hak_lanes_reroute none of these has a chain from before, if the answer is
 * no. */
bool hak_thread_is_routing(void);

#pragma GCC visibility pop

#endif
