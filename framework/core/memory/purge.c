/* SPDX-License-Identifier: MIT
 * purge.c - gives free memory of the window back to the system.
 */
#include <core/memory/window.h>

#include <errno.h>

enum {
    UNMAP_GRANULES = 32, /* 2 MiB: shorter runs are purged in place */
    /*
     * The most that one system call unmaps or purges: other calls of the
     * process that change mappings wait for it in the kernel. Purges of boxes
     * use larger pieces, since page faults go on during a purge, and much of
     * what boxes purge is not in memory.
     */
    PIECE_GRANULES = 64, /* 4 MiB */
    /*
     * The least and the most that one tick purges. A tick is part of some
     * thread's malloc, so it purges in proportion to the time since the last
     * tick: all old granules are purged in BACK_DELAYS purge delays.
     */
    TICK_LEAST_GRANULES = 4,  /* 256 KiB */
    TICK_MOST_GRANULES = 512, /* 32 MiB */
    BACK_DELAYS = 3,
    CUTS_MOST = 8192, /* of the 65530 mappings a process may have */
};

int hak_window_purge_pages(char *p, size_t size_bytes)
{
    const size_t piece = hak_window_bytes(HAK_PURGE_PIECE_GRANULES);
    int error = 0;
    for (size_t at = 0; error == 0 && at < size_bytes; at += piece)
        error = hak_os_purge(p + at, hak_min(size_bytes - at, piece));
    return error;
}

enum outcome { KEPT, PURGED, UNMAPPED };

/* Purge or unmap the run [g, g + n), which is in flight. The kernel does not
 * purge pages that the program has locked (-EINVAL), so they are unmapped. That
 * may split a mapping, and the number of mappings is limited, so it is done
 * CUTS_MOST times at most. */
static enum outcome give_to_system(size_t g, size_t n, bool unmap)
{
    if (unmap && hak_os_unmap(hak_window_address(g), hak_window_bytes(n)))
        return UNMAPPED;
    int error = hak_os_purge(hak_window_address(g), hak_window_bytes(n));
    if (error == -EINVAL && hak_window.ncuts < CUTS_MOST &&
        hak_os_unmap(hak_window_address(g), hak_window_bytes(n))) {
        hak_window.ncuts++;
        return UNMAPPED;
    }
    return error == 0 ? PURGED : KEPT;
}

/*
 * Purge the idle run [g, g + n), or unmap it. Called with purging and lock
 * held; lock is released during the system call.
 * Returns the number of granules that were dirty; 0 if the kernel refused. All
 * of the run is dirty then, and waits for another purge delay.
 */
static size_t purge_run(size_t g, size_t n, bool unmap)
{
    size_t ndirty = hak_bits_count(hak_window.dirty, g, n);
    hak_bits_clear(hak_window.idle, g, n);
    hak_bits_clear(hak_window.dirty, g, n);
    hak_bits_clear(hak_window.old, g, n);
    hak_window_set_used(g, n);
    hak_lock_drop(&hak_window.lock);
    enum outcome outcome = give_to_system(g, n, unmap);
    hak_lock_take(&hak_window.lock);
    hak_window_clear_used(g, n);
    if (outcome == UNMAPPED)
        hak_window_count_idle(-n);
    else
        hak_bits_set(hak_window.idle, g, n);
    hak_window_count_purge(outcome != KEPT);
    if (outcome == KEPT) {
        hak_bits_set(hak_window.dirty, g, n);
        hak_window_count_dirty(n - ndirty);
        return 0;
    }
    hak_window_count_dirty(-ndirty);
    hak_count_shared(&hak_window.figures.purged_bytes,
                     (int64_t)hak_window_bytes(ndirty));
    return ndirty;
}

/* Is the granule before g unmapped? Unmapping from g on then splits no mapping.
 * This holds for the rest of a run whose first pieces were unmapped. */
static bool is_behind_hole(size_t g)
{
    return g != 0 && !hak_bit(hak_window.used, g - 1) &&
           !hak_bit(hak_window.idle, g - 1);
}

size_t hak_window_purge_some(uint64_t *const *which, size_t *at, size_t most)
{
    size_t done = 0, tried = 0;
    hak_lock_take(&hak_window.lock);
    while (tried < most) {
        size_t g = hak_bits_next(*which, 0, *at, hak_window.frontier);
        size_t run = hak_bits_next(*which, ~0ull, g, hak_window.frontier) - g;
        *at = HAK_BITS_NONE;
        if (run == 0)
            break;
        size_t n = hak_min(hak_min(run, PIECE_GRANULES), most - tried);
        bool unmap = which == &hak_window.idle || run >= UNMAP_GRANULES;
        done += purge_run(g, n, unmap || is_behind_hole(g));
        tried += n;
        *at = g + n;
    }
    hak_lock_drop(&hak_window.lock);
    return done;
}

size_t hak_window_purge_all(uint64_t *const *which)
{
    size_t done = 0, at = 0;
    while (at != HAK_BITS_NONE) {
        hak_lock_take(&hak_window.purging);
        done += hak_window_purge_some(which, &at, TICK_MOST_GRANULES);
        hak_lock_drop(&hak_window.purging);
    }
    return done;
}

/* The number of granules that a tick at this time purges: nold in proportion to
 * the time since the last tick. Later ticks purge the rest. */
static size_t tick_granules_at(uint64_t now_us)
{
    uint64_t passed_us = now_us - hak_min(now_us, hak_window.last_us);
    uint64_t all_us =
        hak_max(hak_space_purge_delay_ms() * BACK_DELAYS * 1000, 1);
    size_t step = hak_window.nold * hak_min(passed_us, all_us) / all_us;
    hak_window.last_us = hak_max(now_us, hak_window.last_us);
    return hak_min(hak_max(step, TICK_LEAST_GRANULES), TICK_MOST_GRANULES);
}

/* All that is dirty becomes old, and `high` decays towards the present value:
 * by 1/32 each time, a half-life of 22 calls, one second by default. Called
 * with purging held. */
static void age_dirty(uint64_t now_ms, uint64_t now_us)
{
    hak_lock_take(&hak_window.lock);
    memcpy(hak_window.old, hak_window.dirty,
           HAK_BITS_WORDS(hak_window.frontier) * 8);
    size_t above =
        hak_window.high - hak_min(hak_window_in_memory(), hak_window.high);
    hak_window_set_high(hak_window.high - above / 32);
    __atomic_store_n(&hak_window.dry_until, 0, __ATOMIC_RELAXED);
    hak_window_tick_after(now_ms);
    hak_window.nold = hak_window.ndirty;
    hak_lock_drop(&hak_window.lock);
    hak_window.last_us = now_us + hak_space_purge_delay_ms() * 1000 / 2;
}

void hak_window_purge_if_due(size_t least)
{
    if (__atomic_load_n(&hak_window.ndirty, __ATOMIC_RELAXED) == 0)
        return;
    uint64_t now_ms = hak_os_now_ms();
    if (now_ms < __atomic_load_n(&hak_window.next_tick_ms, __ATOMIC_RELAXED) ||
        !hak_lock_try(&hak_window.purging))
        return;
    uint64_t now_us = hak_os_now_us();
    size_t at = 0;
    hak_window_purge_some(&hak_window.old, &at,
                          hak_max(tick_granules_at(now_us), least));
    if (at == HAK_BITS_NONE)
        age_dirty(now_ms, now_us);
    hak_lock_drop(&hak_window.purging);
}

void hak_space_tick(void)
{
    hak_window_purge_if_due(0);
}

size_t hak_space_trim(void)
{
    return hak_window_bytes(hak_window_purge_all(&hak_window.dirty));
}

size_t hak_space_shrink(size_t want_bytes)
{
    size_t at = 0, done = 0;
    if (__atomic_load_n(&hak_window.ndirty, __ATOMIC_RELAXED) == 0)
        return 0;
    hak_lock_take(&hak_window.purging);
    done = hak_window_purge_some(&hak_window.dirty, &at,
                                 hak_window_granules(want_bytes));
    hak_window_lower_high(done);
    hak_lock_drop(&hak_window.purging);
    return hak_window_bytes(done);
}

int hak_space_purge(void *p, size_t size_bytes)
{
    int error = hak_window_purge_pages(p, size_bytes);
    hak_window_count_purge(error == 0);
    if (error == 0)
        hak_count_shared(&hak_window.figures.purged_bytes, (int64_t)size_bytes);
    return error;
}
