/* SPDX-License-Identifier: MIT
 * thread.h - threads that attach, end, park and are reaped.
 */
#ifndef HAKMEM_THREAD_THREAD_H
#define HAKMEM_THREAD_THREAD_H

#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

int hak_thread_start(void); /* before any of the others; 0 or -errno */
bool hak_thread_is_started(void);
/* Structures of threads: as many as ever ran at once. */
size_t hak_thread_count(void);
/* Give the calling thread a structure. NULL: no memory, or it is forking. */
struct hak_thread *hak_thread_attach(void);
/* t's heap in b; open: make one if there is none. NULL: there is none. */
void *hak_thread_heap(struct hak_thread *t, struct hak_loaded *b, bool open);
/* Close the heaps of a thread that has been parked for long; all: of every
 * parked one. */
void hak_thread_reap(uint64_t now_ms, bool all);
void hak_thread_lock(enum hak_fork_phase phase);
/* In the child of a fork; forking: the thread that forked. */
void hak_thread_fork_child(struct hak_thread *forking);

#pragma GCC visibility pop

#endif
