/* SPDX-License-Identifier: MIT
 * libc.h - glibc's allocator, the last resort.
 */
#ifndef HAKMEM_CORE_LIBC_H
#define HAKMEM_CORE_LIBC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* Find libc's functions; at start, or before that at the first need. */
void hak_libc_start(void);
/* Before its first block; before a fork, which must not find it half done. */
void hak_libc_set_up(void);
void *hak_libc_alloc(size_t align_bytes, size_t size_bytes, bool zero);
void hak_libc_free(void *p);
size_t hak_libc_usable(void *p);
void *hak_libc_realloc(void *p, size_t size_bytes);
uint64_t hak_libc_blocks(void); /* handed out so far by the fallback */
/*
 * Is p a live block that libc gave out by hak_libc_alloc? Known from the first
 * one until hak_libc_forget(); from then on never, and hak_libc_may_own() is
 * true of all. Any p, any thread, lock-free. Where the table of blocks cannot
 * grow since there is no memory, libc has none either; with
 * hak_libc_bound(false) it has, and forgets.
 */
bool hak_libc_owns(const void *p);
extern uint64_t hak_libc_nkept; /* atomic: of how many it is true */
static inline bool hak_libc_keeps(void)
{
    return __atomic_load_n(&hak_libc_nkept, __ATOMIC_RELAXED) != 0;
}
bool hak_libc_may_own(const void *p);
void hak_libc_forget(void);      /* at start */
void hak_libc_bound(bool bound); /* at start */
struct hak_object;
bool hak_libc_is(const struct hak_object *object);

#pragma GCC visibility pop

#endif
