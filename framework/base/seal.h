/* SPDX-License-Identifier: MIT
 * seal.h - sealed data: read-only from the end of the start on.
 */
#ifndef HAKMEM_BASE_SEAL_H
#define HAKMEM_BASE_SEAL_H

#include <base/sections.h>
#include <hakmem/box.h>

#pragma GCC visibility push(hidden)

/* Zeroed memory that is sealed together with HAK_SEALED variables, and never
 * given back. At start, or between hak_seal_open and hak_seal_close. NULL = no
 * memory. */
void *hak_sealed_memory(size_t size_bytes);
/* Make all sealed data read-only. Once, at the end of the start, while the
 * process has one thread. */
void hak_seal(void);
/*
 * hak_seal_open - make all sealed data writable, until hak_seal_close.
 * Both may be called before hak_seal. The lock is held in between, so the
 * change has to be short.
 * Returns  false: the kernel has no memory for it. All is sealed, the lock is
 *          free, and hak_seal_close must not be called.
 * Cost     open and close: a lock and two system calls, plus two for each chunk
 */
bool hak_seal_open(void);
void hak_seal_close(void);
/* The fork handlers' step on the lock. */
void hak_seal_lock(enum hak_fork_phase phase);

#pragma GCC visibility pop

#endif
