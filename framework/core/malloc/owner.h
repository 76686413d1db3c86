/* SPDX-License-Identifier: MIT
 * owner.h - whose a pointer is.
 */
#ifndef HAKMEM_MALLOC_OWNER_H
#define HAKMEM_MALLOC_OWNER_H

#include <core/malloc/slow.h>
#include <core/state/boxes.h>

#pragma GCC visibility push(hidden)

/* The box of p, or NULL; span: what the directory has of p. With [core] verify
 * directory and walk must agree. */
struct hak_loaded *hak_owner_box(const void *p, struct hak_span **span);
/* May another allocator have made p, which no box owns? */
bool hak_may_be_others(const void *p);
/* No box owns p; unless it may be libc's, the program is wrong, and ends. */
void hak_expect_libc(const char *call, const void *p);
/* Usable bytes of p; b, span: as hak_owner_box has them. */
size_t hak_usable_in(const char *call, const struct hak_loaded *b,
                     const struct hak_span *span, const void *p);

/* Without memory realloc once left a block where it was to make it smaller, so
 * a block may be of any smaller request. Atomic. */
extern bool hak_shrunk_in_place;

#pragma GCC visibility pop

#endif
