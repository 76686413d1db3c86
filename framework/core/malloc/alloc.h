/* SPDX-License-Identifier: MIT
 * alloc.h - what requests with and without an alignment share.
 */
#ifndef HAKMEM_MALLOC_ALLOC_H
#define HAKMEM_MALLOC_ALLOC_H

#include <core/malloc/slow.h>
#include <core/state/chains.h>

#pragma GCC visibility push(hidden)

/* A block of libc's, if `last` says so; NULL with errno = ENOMEM. */
void *hak_from_libc(struct hak_thread *t, enum hak_fallback last, size_t align,
                    size_t size, bool zero);
/* When every box of the chain has declined. size > 0 */
void *hak_last_resort(struct hak_thread *t, const struct hak_chain *chain,
                      size_t align, size_t size, bool zero);
/* From the sampling box when it is its turn and has room; else NULL. */
void *hak_sampled(struct hak_thread *t, size_t align, size_t size, bool zero);

#pragma GCC visibility pop

#endif
