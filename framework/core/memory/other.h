/* SPDX-License-Identifier: MIT
 * other.h - another allocator in the process, for blocks that it made.
 */
#ifndef HAKMEM_CORE_OTHER_H
#define HAKMEM_CORE_OTHER_H

#include <stdbool.h>
#include <stddef.h>

#pragma GCC visibility push(hidden)

/* Look for another allocator among the libraries that were loaded at start. */
void hak_other_start(void);
/* The start is over: libraries that are loaded from now on come from the
 * program's own dlopen. */
void hak_other_started(void);
/* Did hak_other_start find one? */
bool hak_other_is_there(void);
/*
 * Hand block p, which no box and not libc owns, to the allocator that made it.
 * Any thread that holds no lock of the core; errno is set by that allocator.
 * Returns  false: there is no such allocator, or it has handed p back to this
 *          thread's free just now; nothing was done, and *out is unchanged
 */
bool hak_other_free(void *p);
bool hak_other_realloc(void *p, size_t size_bytes, void **out);
bool hak_other_usable(void *p, size_t *out);

#pragma GCC visibility pop

#endif
