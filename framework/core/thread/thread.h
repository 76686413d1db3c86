/* SPDX-License-Identifier: MIT
 * thread.h - threads attach, end, are parked and reaped.
 */
#ifndef HAKMEM_THREAD_THREAD_H
#define HAKMEM_THREAD_THREAD_H

#include <core/state/thread.h>

#pragma GCC visibility push(hidden)

/* Set this part up, before any other call. 0 or -errno. */
int hak_thread_start(void);
bool hak_thread_is_started(void);
/* The number of thread structures: the most threads that ever ran at once, at
 * most 65534. Any thread. */
size_t hak_thread_count(void);
/* Give the calling thread a structure: a parked one or a new one. NULL: no
 * memory, or the thread is inside fork. */
struct hak_thread *hak_thread_attach(void);
/* The heap of t, the calling thread, in box b. open: make one if there is none.
 * NULL: there is none, or no memory. */
void *hak_thread_heap(struct hak_thread *t, struct hak_loaded *b, bool open);
/* Close the heap of that index of t, which is the calling thread or one that
 * has ended. t has one. */
void hak_thread_close_heap(struct hak_thread *t, uint32_t index);
/* Close the heaps that t, the calling thread, has in closed boxes. Keeps errno.
 */
void hak_thread_leave_closed(struct hak_thread *t);
/* Reap one thread that has been parked for long: close its heaps. all: reap
 * every parked thread, however long it has been parked. Any thread. */
void hak_thread_reap(uint64_t now_ms, bool all);
/* The fork handlers' step on the lock of the lists. */
void hak_thread_lock(enum hak_fork_phase phase);
/* In the child of a fork, with all locks held. forking: the structure of the
 * thread that forked. */
void hak_thread_fork_child(struct hak_thread *forking);

#pragma GCC visibility pop

#endif
