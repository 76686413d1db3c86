/* SPDX-License-Identifier: MIT
 * walk.h - the owns() walk, which finds the box that owns a pointer.
 */
#ifndef HAKMEM_BOX_WALK_H
#define HAKMEM_BOX_WALK_H

#include <core/state/boxes.h>

#pragma GCC visibility push(hidden)

/* The first box in order of priority whose owns(p) is true, or NULL. Boxes that
 * are residual or untrusted are not asked. Any p, any thread. Cost: one call
 * for each box. */
struct hak_loaded *hak_walk(const void *p);
/* The box of that name, or NULL. Any thread. */
struct hak_loaded *hak_box_named(const char *name);
/* Add b, which has been started, to hak_boxes, at its index. At start, or with
 * the seal open. Other threads may walk meanwhile if no box has a higher
 * priority than b. */
void hak_walk_enter(struct hak_loaded *b);
/* Let hak_vacant take the place of b, a closed box without memory, in
 * hak_boxes. With the seal open. */
void hak_walk_leave(const struct hak_loaded *b);

#pragma GCC visibility pop

#endif
