/* SPDX-License-Identifier: MIT
 * sampled.h - sampled requests: taken by malloc, found again by free.
 *
 * A block that is sampled by bytes (route/sample_bytes.c) has to be noticed
 * when it is freed, although free() pushes slots inline and may not pay for a
 * test. So the program gets an address inside of the slot:
 *
 *     slot             block
 *     | offset_bytes   | asked_bytes ...            |
 *
 * free() checks inline whether its argument is the start of a slot. This one is
 * not, so free takes the slow path and asks the module, which knows the block
 * and its offset. Other blocks cost nothing more. In boxes without lanes each
 * free is a slow path, so blocks of these have no offset.
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

/* Forget block p, which is about to be given back. Returns its slot. Any p. */
static inline void *hak_sample_forget(void *p)
{
    if (likely(!hak_asks_frees()))
        return p;
    int64_t offset = hak_core.sample_ops->freed(p);
    return offset > 0 ? (char *)p - offset : p;
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
