/* SPDX-License-Identifier: MIT
 * meta.h - memory for metadata, never given back.
 */
#ifndef HAKMEM_BASE_META_H
#define HAKMEM_BASE_META_H

#include <hakmem/box.h>

#pragma GCC visibility push(hidden)

/* Metadata: zero, 64-byte aligned, never given back. NULL = no memory. */
void *hak_meta(size_t size_bytes);
void *hak_meta_guarded(size_t size_bytes);   /* between pages that are closed */
const char *hak_meta_text(const char *text); /* a copy */
void hak_meta_lock(enum hak_fork_phase phase);
uint64_t hak_meta_bytes(void); /* handed out so far, sparse tables excluded */

#pragma GCC visibility pop

#endif
