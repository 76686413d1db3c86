/* SPDX-License-Identifier: MIT
 * other.h - another allocator in the process, for blocks that it made.
 */
#ifndef HAKMEM_CORE_OTHER_H
#define HAKMEM_CORE_OTHER_H

#include <stdbool.h>
#include <stddef.h>

#pragma GCC visibility push(hidden)

/* Look for one among the libraries of the start; the second call of this name
 * says that what is loaded from now on is the program's own dlopen. */
void hak_other_start(void);
void hak_other_started(void);
bool hak_other_is_there(void); /* of the start */
/*
 * Hand p, which is no box's and not libc's, to the allocator that made it. Any
 * thread; no lock of ours is held; errno is as that one leaves it.
 * Returns  false: there is none, or p has come back from it; nothing was done
 */
bool hak_other_free(void *p);
bool hak_other_realloc(void *p, size_t size_bytes, void **out);
bool hak_other_usable(void *p, size_t *out);

#pragma GCC visibility pop

#endif
