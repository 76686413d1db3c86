/* SPDX-License-Identifier: MIT
 * helper.h - threads of modules, which the program does not know of.
 *
 * A helper may leave the program's table of descriptors. Then the program
 * cannot close the helper's descriptors, they take no numbers that the program
 * counts on, and the child of a fork does not inherit them. In return the
 * helper has to fetch the program's stderr for each message, which fails once
 * the program's main thread has ended by pthread_exit.
 */
#ifndef HAKMEM_BASE_HELPER_H
#define HAKMEM_BASE_HELPER_H

#include <stdbool.h>
#include <stddef.h>

#pragma GCC visibility push(hidden)

/*
 * hak_helper_start - start a detached thread, which does not keep the process
 * alive: when the program's last thread ends by pthread_exit, that thread calls
 * exit(0), as it does without helpers.
 * name     of at most 15 characters
 * All signals are blocked in it, so that the program's signals arrive at the
 * program's own threads.
 * Returns  0 or -errno
 */
int hak_helper_start(const char *name, void *(*run)(void *),
                     size_t stack_bytes);

/*
 * hak_helper_own_descriptors - give the calling thread an empty table of
 * descriptors (close_range(2) with CLOSE_RANGE_UNSHARE, Linux 5.9).
 * The numbers 0 to 2 are /dev/null, so that no message goes to a file of the
 * thread.
 * Returns  0 or -errno
 */
int hak_helper_own_descriptors(void);

/* Let descriptor 2 of a thread with its own table be the program's stderr, or
 * /dev/null again. */
void hak_helper_lend_stderr(bool lend);

#pragma GCC visibility pop

#endif
