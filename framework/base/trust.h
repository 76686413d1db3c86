/* SPDX-License-Identifier: MIT
 * trust.h - files that root alone can change.
 */
#ifndef HAKMEM_BASE_TRUST_H
#define HAKMEM_BASE_TRUST_H

#include <stdbool.h>
#include <stddef.h>

#pragma GCC visibility push(hidden)

/*
 * hak_trust_open - open what root alone can change, to read it: path and each
 * directory and link on the way to it are root's, and nobody else can write.
 * path       absolute; to a regular file, or to a directory (O_PATH then)
 * Returns    a descriptor, the caller's; -errno, and why says what of the path
 *            is not so. Cost: two system calls a name
 */
int hak_trust_open(const char *path, bool directory, char *why,
                   size_t why_bytes) __attribute__((cold));

#pragma GCC visibility pop

#endif
