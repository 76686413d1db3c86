/* SPDX-License-Identifier: MIT
 * verify.h - [core] verify: checks of what boxes do. Each aborts with the names
 * of the box and the operation.
 */
#ifndef HAKMEM_MALLOC_VERIFY_H
#define HAKMEM_MALLOC_VERIFY_H

#include <core/state/boxes.h>

#pragma GCC visibility push(hidden)

/* Before boxes are loaded, with [core] verify. */
void hak_verify_start(void) __attribute__((cold));
/* Check the slot p that an operation of b returned for a request of size bytes,
 * and enter it into the map of live slots (live.h). p may be NULL. */
void hak_verify_slot(struct hak_loaded *b, const char *operation, const char *p,
                     size_t size);
/* Like hak_verify_slot, for aligned_alloc. */
void hak_verify_aligned(struct hak_loaded *b, const void *p, size_t align,
                        size_t size);
/* Abort if the calling thread is in an operation of a box, other than by a
 * signal handler. call: "malloc" or "free". */
void hak_verify_outside(const char *call);

#pragma GCC visibility pop

#endif
