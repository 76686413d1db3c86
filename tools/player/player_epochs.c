/* SPDX-License-Identifier: MIT
 * player_epochs.c - keeps threads close to each other: none enters an epoch of
 * the trace before the others have left the epochs some way behind it.
 */
#include "player.h"

#include <string.h>

void play_begin_epochs(void)
{
    const struct play_batch *b = player.batch;
    uint64_t bytes = (b->nepochs + 1) * sizeof *player.pending;
    if (bytes > player.pending_bytes) {
        player.pending = play_map(2 * bytes, true);
        player.pending_bytes = 2 * bytes;
    }
    memcpy((void *)(uintptr_t)player.pending, (const char *)b + b->epochs_at,
           b->nepochs * sizeof *player.pending);
    atomic_store(&player.done, 0);
}

/* May a thread enter the epoch? */
static bool is_open(uint32_t epoch)
{
    return atomic_load(&player.done) + (uint64_t)player.batch->slack >= epoch;
}

/* Wake the threads whose epochs are open by now. */
static void wake_waiting(void)
{
    for (uint32_t i = 0; i < player.control->nseats; i++) {
        _Atomic uint32_t *waiting = &player.seats[i].waiting;
        uint32_t epoch = atomic_load(waiting);
        if (epoch != 0 && is_open(epoch - 1) &&
            atomic_compare_exchange_strong(waiting, &epoch, 0))
            play_wake(waiting, 1);
    }
}

/* A thread has left an epoch. With the last one the epoch is done, and so may
 * be those behind it. */
static void leave_epoch(uint32_t epoch)
{
    uint32_t done = atomic_load(&player.done);
    bool opened = false;
    if (atomic_fetch_sub(&player.pending[epoch], 1) != 1)
        return;
    while (done < player.batch->nepochs &&
           atomic_load(&player.pending[done]) == 0)
        if (atomic_compare_exchange_strong(&player.done, &done, done + 1)) {
            done++;
            opened = true;
        }
    if (opened)
        wake_waiting();
}

static void wait_for_epoch(struct worker *me, uint32_t epoch)
{
    enum { SPINS = 200 };
    _Atomic uint32_t *waiting = &me->seat->waiting;
    for (unsigned i = 0; i < SPINS && !is_open(epoch); i++)
        play_pause_a_little();
    if (is_open(epoch))
        return;
    atomic_store(waiting, epoch + 1);
    if (is_open(epoch)) /* nobody may have seen that it waits */
        atomic_store(waiting, 0);
    while (atomic_load(waiting) == epoch + 1)
        play_sleep_on(waiting, epoch + 1, 0);
}

void play_change_epoch(struct worker *me, uint32_t leave, uint32_t enter)
{
    if (player.control->nseats == 1 || player.control->free_run)
        return;
    if (leave != PLAY_NONE)
        leave_epoch(leave);
    if (enter != PLAY_NONE)
        wait_for_epoch(me, enter);
}
