/* SPDX-License-Identifier: MIT
 * lists.h - the lists of thread structures; private to core/thread/.
 *
 *     running --destructor--> ending --it is gone--> parked --later--> reaped
 *        ^                                             |
 *        +---------- the next thread takes it over ----+
 *
 * A structure is never freed. The list hak_threads contains all of them.
 */
#ifndef HAKMEM_THREAD_LISTS_H
#define HAKMEM_THREAD_LISTS_H

#include <core/thread/thread.h>

#pragma GCC visibility push(hidden)

enum { HAK_LOOKS = 16 }; /* threads that one call tests for being gone */

/* Guarded by hak_lists.lock. The heads of the lists are also read without it.
 */
struct hak_thread_lists {
    struct hak_lock lock;
    struct hak_thread *parked;
    /* A queue. Threads of these structures may still run for a moment, so they
     * are tested in turn. */
    struct hak_thread *ending, **ending_end;
    /* In a child of fork: threads of the parent. Free memory in their heaps
     * has not been searched for yet. */
    struct hak_thread *left;
    struct hak_thread *look; /* the next of hak_threads to test */
    pthread_key_t key;       /* its destructor parks the structure */
    pthread_mutexattr_t robust;
    uint32_t ntags;
};
extern struct hak_thread_lists hak_lists;

/* The caller of the functions below holds hak_lists.lock, unless the comment
 * says otherwise. */

/* Store the head of a list, or a link in it. */
void hak_lists_set_next(struct hak_thread **at, struct hak_thread *t);
/* Park t, whose thread has ended, from the present time on. */
void hak_lists_park(struct hak_thread *t);
/* Add t to the parked ones; its parked_at_ms is set already. */
void hak_lists_put_parked(struct hak_thread *t);
/* Remove the structure that *at leads to from the parked ones. at: the head of
 * that list, or a link in it. Returns NULL at the list's end. */
struct hak_thread *hak_lists_take_parked(struct hak_thread **at);
/* Add t, the calling thread's structure, to the ending ones, which are tested
 * more often. The caller does not hold the lock. */
void hak_lists_begin_ending(struct hak_thread *t);
/* Remove the structure that *at leads to from the ending ones. at: the head of
 * that list, or a link in it, but not its end. */
struct hak_thread *hak_lists_take_ending(struct hak_thread **at);
/* Let the calling thread hold t->alive. The kernel marks it when the thread is
 * gone. */
void hak_lists_hold_alive(struct hak_thread *t);
/* Test the next `looks` ending threads, and park those that are gone. */
void hak_lists_park_gone(uint32_t looks);
/* Test the next HAK_LOOKS of all threads, and park those that are gone without
 * having run the destructor. */
void hak_lists_park_some_lost(void);
/* Test all threads, and park those that are gone. The caller does not hold the
 * lock. */
void hak_lists_park_all_gone(void);

#pragma GCC visibility pop

#endif
