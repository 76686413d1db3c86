/* SPDX-License-Identifier: MIT
 * sync.h - kit layer 1: a 4-byte lock and the atomics that boxes share.
 *
 * The lock is Drepper's third mutex ("Futexes Are Tricky", 2011): 0 free,
 * 1 held, 2 held and somebody may sleep. It spins a little first, since what
 * it guards is short. Fork: the forking thread locks before and unlocks
 * after, in parent and child, so the word is valid in both.
 */
#ifndef HAK_KIT_SYNC_H
#define HAK_KIT_SYNC_H

#include "base.h"

#include <linux/futex.h>
#include <sys/syscall.h>

struct hak_lock {
    uint32_t word;
};

enum { HAK_LOCK_SPINS = 100 };

static inline bool hak_lock_try(struct hak_lock *lock)
{
    uint32_t free_word = 0;
    return __atomic_compare_exchange_n(&lock->word, &free_word, 1, false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

__attribute__((noinline, unused)) static void
hak_lock_wait(struct hak_lock *lock)
{
    for (int i = 0; i < HAK_LOCK_SPINS; i++) {
        __builtin_ia32_pause();
        if (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) == 0 &&
            hak_lock_try(lock))
            return;
    }
    while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE) != 0)
        syscall(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

static inline void hak_lock_take(struct hak_lock *lock)
{
    if (unlikely(!hak_lock_try(lock)))
        hak_lock_wait(lock);
}

static inline void hak_lock_drop(struct hak_lock *lock)
{
    if (unlikely(__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2))
        syscall(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

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
