/* SPDX-License-Identifier: MIT
 * walk.h - the owns() walk.
 */
#ifndef HAKMEM_BOX_WALK_H
#define HAKMEM_BOX_WALK_H

#include <core/state/boxes.h>

#pragma GCC visibility push(hidden)

/* Which box owns p, by the walk in priority order; NULL = none. A residual box
 * is not asked. */
struct hak_loaded *hak_walk(const void *p);
/* b, which is set up, is a box of the process from now on. At start. */
void hak_walk_enter(struct hak_loaded *b);

#pragma GCC visibility pop

#endif
