/* SPDX-License-Identifier: MIT
 * seal.h - what is read-only while the process runs.
 */
#ifndef HAKMEM_BASE_SEAL_H
#define HAKMEM_BASE_SEAL_H

#include <base/sections.h>
#include <hakmem/box.h>

#pragma GCC visibility push(hidden)

/* Zero, never given back, sealed too; at start or while open. NULL = none. */
void *hak_sealed_memory(size_t size_bytes);
void hak_seal(void); /* at the end of the start, one thread */
/*
 * Around a change: a lock and two system calls, nothing else is called
 * between. False: no memory for that, it is closed. Harmless before hak_seal.
 */
bool hak_seal_open(void);
void hak_seal_close(void);
void hak_seal_lock(enum hak_fork_phase phase);

#pragma GCC visibility pop

#endif
