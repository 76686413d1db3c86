/* SPDX-License-Identifier: MIT
 * sync.h - kit layer 1: an 8-byte lock and the atomics that boxes share.
 *
 * The lock is Drepper's second mutex ("Futexes Are Tricky", 2011), whose word
 * also says who holds it. It spins a little first, since what it guards is
 * short. The word is 0 when the lock is free, else:
 *
 *     63   57 56                       6 5  2   1       0
 *     | again | holder's thread pointer |    | fork | waited |
 *
 * waited  somebody may sleep at it
 * fork    hak_lock_fork took it, so what it guards is whole
 * again   so many forks of its holder came when it was taken already
 *
 * Fork: the forking thread takes every lock before and drops it after, in
 * parent and child. A signal handler that forks may have interrupted its own
 * thread where that holds a lock: hak_lock_fork leaves such a lock to the call
 * that took it, which drops it once in each process.
 */
#ifndef HAK_KIT_SYNC_H
#define HAK_KIT_SYNC_H

#include "base.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>

struct hak_lock {
    uint64_t word;
};

enum { HAK_LOCK_SPINS = 100, HAK_LOCK_AGAIN_SHIFT = 57 };
#define HAK_LOCK_WAITED ((uint64_t)1)
#define HAK_LOCK_FORK ((uint64_t)2)
#define HAK_LOCK_AGAIN ((uint64_t)1 << HAK_LOCK_AGAIN_SHIFT)
#define HAK_LOCK_HOLDER (HAK_LOCK_AGAIN - 64)

/*
 * futex(2). By the instruction itself: free keeps errno, and a box imports no
 * function that makes system calls, so that what it does is the host's to see.
 */
static inline long hak_futex(struct hak_lock *lock, long operation, long value)
{
    long result = SYS_futex;
    __asm__ volatile("xorl %%r10d, %%r10d\n\t" /* no timeout */
                     "syscall"
                     : "+a"(result)
                     : "D"(&lock->word), "S"(operation), "d"(value)
                     : "rcx", "r10", "r11", "memory");
    return result;
}

/* The thread pointer: one a thread, the same in a fork's child, aligned to 64.
 * (The ABI has it at its own address. A box has no thread-local variables.) */
static inline uint64_t hak_lock_self(void)
{
    uint64_t self = 0; /* cppcheck does not see that asm sets it */
    __asm__("movq %%fs:0, %0" : "=r"(self));
    return self;
}

static inline bool hak_lock_try_as(struct hak_lock *lock, uint64_t word)
{
    uint64_t free_word = 0;
    return __atomic_compare_exchange_n(&lock->word, &free_word, word, false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline bool hak_lock_try(struct hak_lock *lock)
{
    return hak_lock_try_as(lock, hak_lock_self());
}

/* Who has slept leaves `waited` set: others may sleep as well. A futex is 32
 * bits: the low half, in which `waited` is. */
__attribute__((noinline, unused)) static void
hak_lock_wait(struct hak_lock *lock, uint64_t mine)
{
    for (int i = 0; i < HAK_LOCK_SPINS; i++) {
        __builtin_ia32_pause();
        if (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) == 0 &&
            hak_lock_try_as(lock, mine))
            return;
    }
    while (!hak_lock_try_as(lock, mine | HAK_LOCK_WAITED)) {
        uint64_t word = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);
        uint64_t waited = word | HAK_LOCK_WAITED;
        if (word != 0 &&
            (word == waited ||
             __atomic_compare_exchange_n(&lock->word, &word, waited, false,
                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED)))
            hak_futex(lock, FUTEX_WAIT_PRIVATE, (uint32_t)waited);
    }
}

static inline void hak_lock_take(struct hak_lock *lock)
{
    if (unlikely(!hak_lock_try(lock)))
        hak_lock_wait(lock, hak_lock_self());
}

static inline void hak_lock_drop(struct hak_lock *lock)
{
    if (unlikely(__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) &
                 HAK_LOCK_WAITED))
        hak_futex(lock, FUTEX_WAKE_PRIVATE, 1);
}

/*
 * For a process of one thread (__libc_single_threaded), without an atomic: the
 * word says that the thread is inside, to hak_lock_fork. hak_lock_drop may end
 * what hak_lock_enter began.
 */
static inline void hak_lock_enter(struct hak_lock *lock)
{
    __atomic_store_n(&lock->word, hak_lock_self(), __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void hak_lock_leave(struct hak_lock *lock)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&lock->word, 0, __ATOMIC_RELAXED);
}

/* ---- fork ---- */

static inline bool hak_lock_is_mine(const struct hak_lock *lock)
{
    uint64_t word = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);
    return (word & HAK_LOCK_HOLDER) == hak_lock_self();
}

/* Between HAK_FORK_PREPARE and the end: no call of the thread was interrupted
 * where it held the lock. What it guards may be changed. */
static inline bool hak_lock_is_whole(const struct hak_lock *lock)
{
    return (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) & HAK_LOCK_FORK) !=
           0;
}

/* By how many forks, one inside of the other, it is held but for the first. */
static inline uint32_t hak_lock_again(const struct hak_lock *lock)
{
    return (uint32_t)(__atomic_load_n(&lock->word, __ATOMIC_RELAXED) >>
                      HAK_LOCK_AGAIN_SHIFT);
}

/*
 * hak_lock_fork - what the fork operation does with each of its locks.
 * phase  HAK_FORK_PREPARE: take it, but for one that the calling thread holds:
 *        by a fork that it is inside of, or else by a call that a signal
 *        handler interrupted; then errno becomes EDEADLK (else it is kept).
 *        HAK_FORK_PARENT: as before PREPARE.
 *        HAK_FORK_CHILD: free, but where an interrupted call has it, which
 *        will drop it. Forks outside of this one find it free: that is right
 */
__attribute__((noinline, unused)) static void
hak_lock_fork(struct hak_lock *lock, enum hak_fork_phase phase)
{
    uint64_t self = hak_lock_self();
    int kept = errno;
    if (!hak_lock_is_mine(lock)) {
        if (phase == HAK_FORK_PREPARE &&
            !hak_lock_try_as(lock, self | HAK_LOCK_FORK))
            hak_lock_wait(lock, self | HAK_LOCK_FORK);
        errno = kept;
    } else if (phase == HAK_FORK_PREPARE) {
        __atomic_add_fetch(&lock->word, HAK_LOCK_AGAIN, __ATOMIC_RELAXED);
        errno = hak_lock_is_whole(lock) ? kept : EDEADLK;
    } else if (phase == HAK_FORK_CHILD && !hak_lock_is_whole(lock)) {
        __atomic_store_n(&lock->word, self, __ATOMIC_RELAXED);
    } else if (phase == HAK_FORK_PARENT && hak_lock_again(lock) != 0) {
        __atomic_sub_fetch(&lock->word, HAK_LOCK_AGAIN, __ATOMIC_RELAXED);
    } else if (hak_lock_is_whole(lock)) {
        hak_lock_drop(lock);
    }
}

/* ---- counters ---- */

/* Counters with one writer: other threads may read them at any time. */
static inline void hak_count(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline uint64_t hak_counted(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Counters with many writers. Returns the new value. */
static inline uint64_t hak_count_shared(uint64_t *counter, int64_t n)
{
    return __atomic_add_fetch(counter, (uint64_t)n, __ATOMIC_RELAXED);
}

/* Has the time come? Then the next time is set: one of all threads gets true.
 */
static inline bool hak_is_due(uint64_t *due_ms, uint64_t now_ms,
                              uint64_t next_ms)
{
    uint64_t due = __atomic_load_n(due_ms, __ATOMIC_RELAXED);
    return now_ms >= due &&
           __atomic_compare_exchange_n(due_ms, &due, next_ms, false,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Raise *peak to value if it is higher. */
static inline void hak_count_peak(uint64_t *peak, uint64_t value)
{
    uint64_t seen = __atomic_load_n(peak, __ATOMIC_RELAXED);
    while (seen < value &&
           !__atomic_compare_exchange_n(peak, &seen, value, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

#endif
