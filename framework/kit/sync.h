/* SPDX-License-Identifier: MIT
 * sync.h - kit layer 1: an 8-byte lock, and atomic counters.
 *
 * The lock is Drepper's second mutex ("Futexes Are Tricky", 2011). Its word
 * also has the holder. A thread spins a little before it sleeps, since the
 * critical sections are short. The word is 0 when the lock is free, else:
 *
 *     63   57 56                       6 5  2   1       0
 *     | again | holder's thread pointer |    | fork | waited |
 *
 * waited  a thread may be sleeping at the lock
 * fork    hak_lock_fork took the lock, so the data that it guards are whole
 * again   how many further forks of the holder have found it taken already
 *
 * Fork: the forking thread takes every lock before the fork and drops it after,
 * in parent and child. A signal handler that forks may have interrupted a call
 * of its own thread that holds the lock. hak_lock_fork leaves such a lock to
 * that call, which drops it once in each process.
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
 * The system call futex, by its instruction and not by libc's syscall(). free
 * must keep errno. And a box imports no function that makes system calls, so
 * that the host sees what a box does.
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

/* The thread pointer. It identifies a thread, is aligned to 64, and stays the
 * same in the child of a fork. The x86-64 ABI stores it at %fs:0, so no
 * thread-local variable is needed, which a box may not have. */
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

/* A thread that has slept takes the lock with `waited` set, since others may be
 * sleeping too. A futex has 32 bits: it is the low half of the word, which has
 * `waited`. */
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
 * Take the lock in a process of one thread (__libc_single_threaded), without an
 * atomic instruction. The word still tells hak_lock_fork that the thread holds
 * the lock. hak_lock_leave releases it, and so does hak_lock_drop.
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

/* Asked by the forking thread between HAK_FORK_PREPARE and the end: may it
 * change the data that the lock guards? False: a call of the thread holds the
 * lock, and was interrupted. */
static inline bool hak_lock_is_whole(const struct hak_lock *lock)
{
    return (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) & HAK_LOCK_FORK) !=
           0;
}

/* How many forks hold the lock beyond the first; they are nested. */
static inline uint32_t hak_lock_again(const struct hak_lock *lock)
{
    return (uint32_t)(__atomic_load_n(&lock->word, __ATOMIC_RELAXED) >>
                      HAK_LOCK_AGAIN_SHIFT);
}

/*
 * hak_lock_fork - take or release one lock around a fork. The fork operation of
 * a box calls it for each of its locks.
 * phase  HAK_FORK_PREPARE: take the lock. If the calling thread holds it
 *        already, only count: an outer fork took it, or a call that a signal
 *        handler has interrupted. In the second case set errno to EDEADLK; else
 *        keep errno.
 *        HAK_FORK_PARENT: undo PREPARE.
 *        HAK_FORK_CHILD: free the lock, unless an interrupted call holds it,
 *        which will drop it. Outer forks then find it free and do nothing.
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

/* Add to a counter that has one writer. Other threads may read it at any time
 * by hak_counted. */
static inline void hak_count(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline uint64_t hak_counted(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Add to a counter that has many writers. Returns the new value. */
static inline uint64_t hak_count_shared(uint64_t *counter, int64_t n)
{
    return __atomic_add_fetch(counter, (uint64_t)n, __ATOMIC_RELAXED);
}

/* Is a time that was put off by pause_ms reached? Also true when it lies more
 * than twice that ahead: it was set when the pause, which goes by the purge
 * delay, was longer. */
static inline bool hak_has_come(uint64_t due_ms, uint64_t now_ms,
                                uint64_t pause_ms)
{
    return now_ms >= due_ms || (due_ms - now_ms) / 2 > pause_ms;
}

/* Is now_ms at or after *due_ms, or has the pause become shorter? Then set
 * *due_ms to next_ms. Of all threads that ask, one gets true. */
static inline bool hak_is_due(uint64_t *due_ms, uint64_t now_ms,
                              uint64_t next_ms)
{
    uint64_t due = __atomic_load_n(due_ms, __ATOMIC_RELAXED);
    return hak_has_come(due, now_ms, next_ms - now_ms) &&
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

/* The larger of n and what was told before. A figure that is added up while
 * others count may decrease for a moment, which looks like a restart to whoever
 * computes rates. */
static inline uint64_t hak_count_told(uint64_t *most, uint64_t n)
{
    hak_count_peak(most, n);
    return hak_counted(most);
}

#endif
