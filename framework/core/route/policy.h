/* SPDX-License-Identifier: MIT
 * policy.h - changes of the routes.
 */
#ifndef HAKMEM_ROUTE_POLICY_H
#define HAKMEM_ROUTE_POLICY_H

#include <core/state/chains.h>

#pragma GCC visibility push(hidden)

/* Make the chains of a configuration, and route all size indexes. At start.
 * loaded: by position in c->box; NULL for a box that was left out. */
void hak_policy_build(const struct hak_conf *c,
                      struct hak_loaded *const loaded[HAK_MAX_BOXES]);
/*
 * The functions below may be called by any thread; each takes a lock. A change
 * takes effect in running threads when the caller has called
 * hak_lanes_reroute.
 */

/* Let size indexes first..last use the route of that name. 0; -EINVAL: no such
 * indexes; -ENOENT: no such route; -ENOMEM. */
int hak_policy_set(uint32_t first, uint32_t last, const char *route);
/* Let size indexes first..last use the routes that [policy] gave them at start.
 * 0, -EINVAL or -ENOMEM. */
int hak_policy_reset(uint32_t first, uint32_t last);
/* Does the chain of that route have a box at present? */
bool hak_policy_leads_to_box(const char *route);

/*
 * Boxes that come and go. These functions set the state of a box and make all
 * chains that it concerns anew, in one step. 0; -ENOMEM: nothing has changed.
 */

/* b drains. In every chain `instead`, which becomes active, takes its place;
 * NULL: nothing does. */
int hak_policy_drain(struct hak_loaded *b, struct hak_loaded *instead);
/* b, which was draining, is closed. */
int hak_policy_close(struct hak_loaded *b);
/* b is active again, and has the place that the INI gave it. */
int hak_policy_activate(struct hak_loaded *b);
/* Add a route with the name of box b, which was just loaded. Also -ENOSPC:
 * there are too many routes. */
int hak_policy_add(struct hak_loaded *b);
/* Is there a route of that name which has to stay: one of the INI, or one that
 * sizes use? */
bool hak_policy_needs_name(const char *name);
/* Another box is to take the index of b, which is closed: no route may lead to
 * b any more. -ENOMEM: some routes have changed; they serve as before. */
int hak_policy_forget(struct hak_loaded *b);
/* The fork handlers' step on the lock. */
void hak_policy_lock(enum hak_fork_phase phase);

#pragma GCC visibility pop

#endif
