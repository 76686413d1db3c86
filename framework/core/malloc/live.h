/* SPDX-License-Identifier: MIT
 * live.h - [core] verify: the slots that are out, so that one that overlaps
 * another is found when the box hands it out.
 *
 * The map covers the window. A slot outside of it, of a foreign box, is not
 * entered. Without memory for the map, slots are missing in it, and overlaps
 * with these are not found.
 */
#ifndef HAKMEM_MALLOC_LIVE_H
#define HAKMEM_MALLOC_LIVE_H

#include <kit/base.h>

#pragma GCC visibility push(hidden)

/* Make the map, before boxes are loaded. */
void hak_live_start(void) __attribute__((cold));
/*
 * hak_live_enter - a box has handed out slot p.                  [any thread]
 * size_bytes  usable; 0: nothing is entered
 * Returns     NULL; or the start of a live slot that p overlaps with
 */
const void *hak_live_enter(const void *p, size_t size_bytes);
/*
 * hak_live_leave - slot p is about to be given back to its box. Called before
 * that, since the box may hand it to another thread at once. [any thread]
 * Returns     the bytes that were entered for p, a multiple of 16; 0: p is not
 *             the start of a live slot
 */
size_t hak_live_leave(const void *p);

#pragma GCC visibility pop

#endif
