/* SPDX-License-Identifier: MIT
 * alloc.h - functions that requests with and without an alignment share.
 */
#ifndef HAKMEM_MALLOC_ALLOC_H
#define HAKMEM_MALLOC_ALLOC_H

#include <core/malloc/slow.h>
#include <core/state/chains.h>

#pragma GCC visibility push(hidden)

/* Get a block from libc, if `last` allows it. t: the calling thread, attached
 * or not. NULL: errno is ENOMEM. */
void *hak_from_libc(struct hak_thread *t, enum hak_fallback last, size_t align,
                    size_t size, bool zero);
/* Get a block from the residual box or libc, after every box of the chain has
 * declined. t: attached; size > 0. NULL: no memory, or the route allows none.
 */
void *hak_last_resort(struct hak_thread *t, const struct hak_chain *chain,
                      size_t align, size_t size, bool zero);
/* Get a block from the chain of that size index. t: attached. NULL: errno is
 * ENOMEM. */
void *hak_from_chain(struct hak_thread *t, uint32_t index, size_t size,
                     bool zero);
/* Like hak_from_chain, aligned to `align`, a power of two above 16. size > 0.
 */
void *hak_from_chain_aligned(struct hak_thread *t, size_t align, size_t size);

#pragma GCC visibility pop

#endif
