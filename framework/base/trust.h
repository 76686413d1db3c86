/* SPDX-License-Identifier: MIT
 * trust.h - opens files that only root can change.
 */
#ifndef HAKMEM_BASE_TRUST_H
#define HAKMEM_BASE_TRUST_H

#include <stdbool.h>
#include <stddef.h>

#pragma GCC visibility push(hidden)

/*
 * hak_trust_open - open a file or directory if only root can change it: path,
 * and each directory and link on the way to it, belong to root, and nobody else
 * may write to them.
 * path       absolute
 * directory  true: path names a directory, which is opened with O_PATH; false:
 *            it names a regular file, which is opened for reading
 * Returns    a descriptor, the caller's; -errno, and why says which part of the
 *            path fails the check
 * Cost       two system calls for each name of the path
 */
int hak_trust_open(const char *path, bool directory, char *why,
                   size_t why_bytes) __attribute__((cold));

#pragma GCC visibility pop

#endif
