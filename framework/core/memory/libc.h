/* SPDX-License-Identifier: MIT
 * libc.h - glibc's allocator, the last resort.
 */
#ifndef HAKMEM_CORE_LIBC_H
#define HAKMEM_CORE_LIBC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* Look up glibc's functions: at start, or earlier at the first use. */
void hak_libc_start(void);
/* Make glibc initialise its malloc. Called before its first block, and before
 * a fork, so that no child finds it half initialised. */
void hak_libc_set_up(void);
/*
 * The allocator's functions. Any thread. hak_libc_alloc returns NULL for no
 * memory, and takes an alignment that is a power of two. hak_libc_free keeps
 * errno. p is a block of libc's.
 */
void *hak_libc_alloc(size_t align_bytes, size_t size_bytes, bool zero);
void hak_libc_free(void *p);
size_t hak_libc_usable(void *p);
void *hak_libc_realloc(void *p, size_t size_bytes);
uint64_t hak_libc_blocks(void); /* blocks that hak_libc_alloc handed out */
/*
 * hak_libc_owns - is p a live block of hak_libc_alloc?
 * Any p, any thread, lock-free. Each block is recorded in a table, from the
 * first one until hak_libc_forget(). After that the answer is always false, and
 * hak_libc_may_own() is always true.
 */
bool hak_libc_owns(const void *p);
extern uint64_t hak_libc_nkept; /* atomic: blocks that are recorded */
/* Is any block recorded? If not, hak_libc_owns() is false for every p. */
static inline bool hak_libc_keeps(void)
{
    return __atomic_load_n(&hak_libc_nkept, __ATOMIC_RELAXED) != 0;
}
/* May p be a block of libc's? True for all p once blocks are not recorded. */
bool hak_libc_may_own(const void *p);
/* Record no blocks from now on. At start. */
void hak_libc_forget(void);
/* What to do when there is no memory to record a block. true (the default): the
 * request fails; false: hak_libc_forget(). At start. */
void hak_libc_bound(bool bound);
struct hak_object;
/* Is that object libc itself? */
bool hak_libc_is(const struct hak_object *object);

#pragma GCC visibility pop

#endif
