/* SPDX-License-Identifier: MIT
 * owner.h - finds the box that owns a pointer.
 */
#ifndef HAKMEM_MALLOC_OWNER_H
#define HAKMEM_MALLOC_OWNER_H

#include <core/malloc/slow.h>
#include <core/state/boxes.h>

#pragma GCC visibility push(hidden)

/*
 * hak_owner_box - find the box that owns p. Any p, any thread.
 * span     gets the span that the directory has for p, or NULL
 * Returns  NULL: no box owns it. With [core] verify it aborts if the directory
 *          and the owns() walk disagree.
 */
struct hak_loaded *hak_owner_box(const void *p, struct hak_span **span);
/* May another allocator in the process have made p, which no box owns? */
bool hak_may_be_others(const void *p);
/* Abort, naming the call, unless p, which no box owns, may be libc's. */
void hak_expect_libc(const char *call, const void *p);
/* Usable bytes of p. b and span are the results of hak_owner_box. Aborts,
 * naming the call, if p is not live as far as the box can tell. */
size_t hak_usable_in(const char *call, const struct hak_loaded *b,
                     const struct hak_span *span, const void *p);

/* realloc left a block in place although less than half of it is used, because
 * there was no memory for a copy. From then on a slot may be of any smaller
 * request. Atomic. */
extern bool hak_shrunk_in_place;

#pragma GCC visibility pop

#endif
