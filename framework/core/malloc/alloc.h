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
/* Get a slot from the sampling box if a sample is due. t: attached. NULL: none
 * is due, or the box declines. Keeps errno. */
void *hak_sampled(struct hak_thread *t, size_t align, size_t size, bool zero);

#pragma GCC visibility pop

#endif
