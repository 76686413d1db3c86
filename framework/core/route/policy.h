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
/* Remove a box from every chain. 0; -ENOMEM: it was removed from some chains
 * only. */
int hak_policy_drop(struct hak_loaded *b);
/* The fork handlers' step on the lock. */
void hak_policy_lock(enum hak_fork_phase phase);

#pragma GCC visibility pop

#endif
