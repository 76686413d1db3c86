/* SPDX-License-Identifier: MIT
 * seal.h - sealed data: read-only from the end of the start on.
 */
#ifndef HAKMEM_BASE_SEAL_H
#define HAKMEM_BASE_SEAL_H

#include <base/sections.h>
#include <hakmem/box.h>

#pragma GCC visibility push(hidden)

/* Zeroed memory that is sealed together with HAK_SEALED variables, and never
 * given back. At start, between hak_seal_open and hak_seal_close, or between
 * hak_seal_stage and hak_seal_staged. NULL = no memory. */
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
/*
 * hak_seal_stage - until hak_seal_staged, let all threads get sealed memory
 * that stays writable. What was sealed before stays read-only. One thread at a
 * time.
 * Returns  false: no memory; hak_seal_staged must not be called
 */
bool hak_seal_stage(void);
void hak_seal_staged(void);
/* The fork handlers' step on the locks. */
void hak_seal_lock(enum hak_fork_phase phase);

#pragma GCC visibility pop

#endif
