/* SPDX-License-Identifier: MIT
 * meta.h - memory for metadata, which is never given back.
 */
#ifndef HAKMEM_BASE_META_H
#define HAKMEM_BASE_META_H

#include <hakmem/box.h>

#pragma GCC visibility push(hidden)

/*
 * hak_meta - get memory for metadata: zeroed, 64-byte aligned, never freed.
 * Returns  NULL: no memory, or size_bytes is 0. Any thread.
 * Cost     a lock; for 64 KiB and more one mmap instead
 */
void *hak_meta(size_t size_bytes);
/* Whole pages, with an inaccessible page before and after them. The guards are
 * left out where the kernel has no mappings for them. NULL = no memory. */
void *hak_meta_guarded(size_t size_bytes);
const char *hak_meta_text(const char *text); /* a copy; NULL = no memory */
/* The fork handlers' step on the lock of this allocator. */
void hak_meta_lock(enum hak_fork_phase phase);
/* Bytes that hak_meta handed out so far, without tables of 64 KiB and more. */
uint64_t hak_meta_bytes(void);

#pragma GCC visibility pop

#endif
