/* SPDX-License-Identifier: MIT
 * player_slots.c - the table of blocks: threads wait there for blocks that
 * another thread makes or frees.
 */
#include "player.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The words are in memory that hakctl-trace maps too, so they are no private
 * ones. */
void play_sleep_on(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns)
{
    struct timespec t = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                         .tv_nsec = (long)(timeout_ns % 1000000000u)};
    syscall(SYS_futex, word, FUTEX_WAIT, value, timeout_ns != 0 ? &t : NULL,
            NULL, 0);
}

void play_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

/* Threads sleep on one of these, by the number of the slot. */
enum { QUEUES = 64 };
static struct queue {
    _Alignas(64) _Atomic uint32_t sleepers;
    _Atomic uint32_t changes;
} queues[QUEUES];

static bool is_there(uint64_t entry, uint64_t value, bool any_address)
{
    if (!any_address)
        return entry == value;
    return (entry ^ value) >> 48 == 0 && entry << 16 != 0;
}

/* A wakeup can be missed, since play_set_slot does not fence between its store
 * and its look at `sleepers`. So nobody sleeps for long. */
static void sleep_for_slot(uint64_t slot, uint64_t value, bool any_address)
{
    enum { MS = 1000000 };
    struct queue *q = &queues[slot % QUEUES];
    atomic_fetch_add(&q->sleepers, 1);
    uint32_t changes = atomic_load(&q->changes);
    if (!is_there(atomic_load(&player.table[slot]), value, any_address))
        play_sleep_on(&q->changes, changes, MS);
    atomic_fetch_sub(&q->sleepers, 1);
}

uint64_t play_await(uint64_t slot, uint64_t value, bool any_address)
{
    enum { SPINS = 200, YIELDS = 210 };
    for (unsigned tries = 0;; tries++) {
        uint64_t entry =
            atomic_load_explicit(&player.table[slot], memory_order_acquire);
        if (is_there(entry, value, any_address))
            return entry;
        if (tries < SPINS)
            play_pause_a_little();
        else if (tries < YIELDS)
            sched_yield();
        else
            sleep_for_slot(slot, value, any_address);
    }
}

void play_set_slot(uint64_t slot, uint64_t value)
{
    struct queue *q = &queues[slot % QUEUES];
    atomic_store_explicit(&player.table[slot], value, memory_order_release);
    if (atomic_load_explicit(&q->sleepers, memory_order_relaxed) == 0)
        return;
    atomic_fetch_add(&q->changes, 1);
    play_wake(&q->changes, INT32_MAX);
}
