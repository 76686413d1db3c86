/* SPDX-License-Identifier: MIT
 * player_windows.c - keeps threads close to each other: none enters a window of
 * the trace before the others have left the windows some way behind it.
 */
#include "player.h"

#include <string.h>

void play_begin_windows(void)
{
    const struct play_batch *b = player.batch;
    uint64_t bytes = (b->nwindows + 1) * sizeof *player.pending;
    if (bytes > player.pending_bytes) {
        player.pending = play_map(2 * bytes, true);
        player.pending_bytes = 2 * bytes;
    }
    memcpy((void *)(uintptr_t)player.pending, (const char *)b + b->windows_at,
           b->nwindows * sizeof *player.pending);
    atomic_store(&player.done, 0);
}

/* May a thread enter the window? */
static bool is_open(uint32_t window)
{
    return atomic_load(&player.done) + (uint64_t)player.batch->slack >= window;
}

/* Wake the threads whose windows are open by now. */
static void wake_waiting(void)
{
    for (uint32_t i = 0; i < player.control->nseats; i++) {
        _Atomic uint32_t *waiting = &player.seats[i].waiting;
        uint32_t window = atomic_load(waiting);
        if (window != 0 && is_open(window - 1) &&
            atomic_compare_exchange_strong(waiting, &window, 0))
            play_wake(waiting, 1);
    }
}

/* A thread has left a window. With the last one the window is done, and so may
 * be those behind it. */
static void leave_window(uint32_t window)
{
    uint32_t done = atomic_load(&player.done);
    bool opened = false;
    if (atomic_fetch_sub(&player.pending[window], 1) != 1)
        return;
    while (done < player.batch->nwindows &&
           atomic_load(&player.pending[done]) == 0)
        if (atomic_compare_exchange_strong(&player.done, &done, done + 1)) {
            done++;
            opened = true;
        }
    if (opened)
        wake_waiting();
}

static void wait_for_window(struct worker *me, uint32_t window)
{
    enum { SPINS = 200 };
    _Atomic uint32_t *waiting = &me->seat->waiting;
    for (unsigned i = 0; i < SPINS && !is_open(window); i++)
        play_pause_a_little();
    if (is_open(window))
        return;
    atomic_store(waiting, window + 1);
    if (is_open(window)) /* nobody may have seen that it waits */
        atomic_store(waiting, 0);
    while (atomic_load(waiting) == window + 1)
        play_sleep_on(waiting, window + 1, 0);
}

void play_change_window(struct worker *me, uint32_t leave, uint32_t enter)
{
    if (player.control->nseats == 1 || player.control->free_run)
        return;
    if (leave != PLAY_NONE)
        leave_window(leave);
    if (enter != PLAY_NONE)
        wait_for_window(me, enter);
}
