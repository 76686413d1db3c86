/* SPDX-License-Identifier: MIT
 * sampled.h - sampled requests: taken by malloc, found again by free.
 *
 * A block that is sampled by bytes (route/sample_bytes.c) has to be noticed
 * when it is freed, although free() pushes slots inline and may not pay for a
 * test. So the program gets an address inside of the slot:
 *
 *     slot             block
 *     | 0 | proxy |    | asked_bytes ...            |
 *     | offset_bytes   |
 *
 * free() checks inline whether its argument is the start of a slot. This one is
 * not, so free takes the slow path and asks the module, which knows the block
 * and its offset. Other blocks cost nothing more. In boxes without lanes each
 * free is a slow path, so blocks of these have no offset.
 *
 * Such a slot is mostly of a larger size than the request would get, in a page
 * of that size. The proxy is an empty slot of the right size. It stays as long
 * as the block, so that pages are as full, and kept by the same blocks, as
 * without samples; and the module can tell how full they are. Blocks that stand
 * for few others have none, as they are a large part of the memory.
 */
#ifndef HAKMEM_MALLOC_SAMPLED_H
#define HAKMEM_MALLOC_SAMPLED_H

#include <core/state/build.h>
#include <core/state/thread.h>
#include <hakmem/module.h>

#pragma GCC visibility push(hidden)

/*
 * hak_sampled - get a block if a sample is due: from the sampling box, or one
 * that a module records.
 * t        the calling thread, attached
 * Returns  NULL: no sample is due, or it was declined. Keeps errno.
 */
void *hak_sampled(struct hak_thread *t, size_t align, size_t size, bool zero)
    __attribute__((cold));
/* A box has resized a block to p with size_bytes, which counts as a request.
 * What was recorded of the old block is forgotten already. */
void hak_sampled_resized(void *p, size_t size_bytes) __attribute__((cold));

void *hak_sample_forget_slow(void *p); /* hak_sample_forget, sampled or not */
/* Forget block p, which is about to be given back, and free its proxy. Returns
 * its slot. Any p. */
static inline void *hak_sample_forget(void *p)
{
    return likely(!hak_asks_frees()) ? p : hak_sample_forget_slow(p);
}

/* The bytes between the slot of block p and p. Any p. */
static inline size_t hak_sample_offset(const void *p)
{
    if (likely(!hak_asks_frees()))
        return 0;
    int64_t offset = hak_core.sample_ops->offset(p);
    return offset > 0 ? (size_t)offset : 0;
}

#pragma GCC visibility pop

#endif
