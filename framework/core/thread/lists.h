/* SPDX-License-Identifier: MIT
 * lists.h - the lists that structures of threads are in; for core/thread/.
 *
 *     running --destructor--> ending --it is gone--> parked --later--> reaped
 *        ^                                             |
 *        +---------------- the next thread takes it ---+
 *
 * A structure is never freed. hak_threads has all of them.
 */
#ifndef HAKMEM_THREAD_LISTS_H
#define HAKMEM_THREAD_LISTS_H

#include <core/thread/thread.h>

#pragma GCC visibility push(hidden)

enum { HAK_LOOKS = 16 }; /* at threads that may be gone, at a time */

/* Guarded by lock; the heads of lists are also looked at without it. */
struct hak_thread_lists {
    struct hak_lock lock;
    struct hak_thread *parked;
    /* looked at in turn: their threads may still run for a moment */
    struct hak_thread *ending, **ending_end;
    /* in a fork's child: the parent's threads, whose heaps wait to be searched
     * for spans that are free */
    struct hak_thread *left;
    struct hak_thread *look; /* the next of all to look at */
    pthread_key_t key;
    pthread_mutexattr_t robust;
    uint32_t ntags;
};
extern struct hak_thread_lists hak_lists;

/* All below: the lock is held, unless it says otherwise. */

/* Store the head of a list, or a link in it. */
void hak_lists_set_next(struct hak_thread **at, struct hak_thread *t);
/* t has ended at this moment: it waits for the next thread, or for the reaper.
 */
void hak_lists_park(struct hak_thread *t);
void hak_lists_put_parked(struct hak_thread *t);
/* at: a place of the list. NULL: its end */
struct hak_thread *hak_lists_take_parked(struct hak_thread **at);
/* Look more often from here on whether the calling thread, whose t is, is gone.
 * The lock is not held. */
void hak_lists_begin_ending(struct hak_thread *t);
/* at: a place of the list, not its end */
struct hak_thread *hak_lists_take_ending(struct hak_thread **at);
/* t is the calling thread's from now on. */
void hak_lists_hold_alive(struct hak_thread *t);
/* Park those of the next `looks` ending threads that are gone. */
void hak_lists_park_gone(uint32_t looks);
/* Of all threads, some at a time, those that ended without a destructor. */
void hak_lists_park_some_lost(void);
/* The lock is not held. */
void hak_lists_park_all_gone(void);

#pragma GCC visibility pop

#endif
