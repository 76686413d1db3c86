/* SPDX-License-Identifier: MIT
 * policy.h - changes of the routes.
 */
#ifndef HAKMEM_ROUTE_POLICY_H
#define HAKMEM_ROUTE_POLICY_H

#include <core/state/chains.h>

#pragma GCC visibility push(hidden)

void hak_policy_build(const struct hak_conf *c,
                      struct hak_loaded *const loaded[HAK_MAX_BOXES]);
/* Point indexes first..last at a route by name. 0, -EINVAL, -ENOENT, -ENOMEM.
 */
int hak_policy_set(uint32_t first, uint32_t last, const char *route);
/* Point them where [policy] did at start. 0, -EINVAL or -ENOMEM. */
int hak_policy_reset(uint32_t first, uint32_t last);
/* Does the route of that name lead to a box, now? */
bool hak_policy_leads_to_box(const char *route);
/* Take a box out of every chain. 0, or -ENOMEM: out of some only. */
int hak_policy_drop(struct hak_loaded *b);
void hak_policy_lock(enum hak_fork_phase phase);

#pragma GCC visibility pop

#endif
