/* SPDX-License-Identifier: MIT
 * window.c - keeps track of the granules: used, mapped, dirty; measures growth.
 */
#include <core/memory/window.h>

#include <base/random.h>

#include <errno.h>
#include <string.h>

enum {
    /* hak_space_owed reports growth from the larger of OWED_LEAST granules and
     * 1 / OWED_SHARE of `high` on. */
    OWED_LEAST = 16,
    OWED_SHARE = 16,
    LEAST_BITS = 32768, /* 2 GiB of window: one page of each bitmap */
};

struct hak_window hak_window;

/*
 * Choose a random base between 17 TiB (above ASan's shadow) and 42 TiB. It is a
 * multiple of 4 GiB, the largest alignment of a request.
 *
 * The window is not mapped as a whole, so the kernel could place other mappings
 * in it. It does not choose addresses in this range: mmap goes down from below
 * the stack, or (with an unlimited stack) up from a third of the address space,
 * 42.7 TiB. Under ThreadSanitizer the base is between 126.5 and 127 TiB, where
 * it lets a program map.
 */
static uintptr_t choose_base(size_t window_bytes)
{
    const bool tsan = hak_os_tsan();
    const uint64_t low = tsan ? (uint64_t)253 << 39 : (uint64_t)17 << 40;
    const uint64_t high = (uint64_t)(tsan ? 127 : 42) << 40;
    uint64_t room = (high - low - window_bytes) / HAK_BASE_ALIGN_BYTES;
    return (uintptr_t)(low + hak_random() % room * HAK_BASE_ALIGN_BYTES);
}

/* Replace the bitmaps by ones of nbits, with the same content. False = no
 * memory, nothing changed. Called at start, or with mapping held. */
static bool make_bitmaps(size_t nbits)
{
    const uint64_t *const from[] = {hak_window.used, hak_window.idle,
                                    hak_window.dirty, hak_window.old};
    size_t nwords = HAK_BITS_WORDS(nbits);
    uint64_t *maps = hak_meta(nwords * sizeof *maps * 4);
    if (maps == NULL)
        return false;
    hak_lock_take(&hak_window.lock);
    for (size_t i = 0; i < 4 && hak_window.nbits != 0; i++)
        memcpy(maps + nwords * i, from[i],
               HAK_BITS_WORDS(hak_window.frontier) * 8);
    hak_window.used = maps;
    hak_window.idle = maps + nwords;
    hak_window.dirty = maps + nwords * 2;
    hak_window.old = maps + nwords * 3;
    hak_window.nbits = nbits;
    hak_lock_drop(&hak_window.lock);
    return true;
}

void hak_window_make_room(size_t n, size_t align)
{
    size_t want = hak_window.frontier + n + align + HAK_GROW_MOST_GRANULES;
    if (unlikely(want > hak_window.nbits &&
                 hak_window.nbits < hak_window.ngranules))
        make_bitmaps(
            hak_min(hak_max(want, hak_window.nbits * 2), hak_window.ngranules));
}

int hak_space_start(size_t window_bytes, uint64_t purge_delay_ms)
{
    hak_window.ngranules = hak_window_granules(window_bytes);
    hak_window.purge_delay_ms = purge_delay_ms;
    hak_window.purge_delay_most_ms = UINT64_MAX;
    hak_window.base = (char *)choose_base(window_bytes);
    if (!make_bitmaps(hak_min(hak_window.ngranules, LEAST_BITS)))
        return -ENOMEM;
    return hak_directory_start((uintptr_t)hak_window.base, window_bytes);
}

uint64_t hak_space_purge_delay_ms(void)
{
    return hak_min(
        __atomic_load_n(&hak_window.purge_delay_ms, __ATOMIC_RELAXED),
        __atomic_load_n(&hak_window.purge_delay_most_ms, __ATOMIC_RELAXED));
}

void hak_space_set_purge_delay(uint64_t ms)
{
    __atomic_store_n(&hak_window.purge_delay_ms, ms, __ATOMIC_RELAXED);
    __atomic_store_n(&hak_window.next_tick_ms, 0, __ATOMIC_RELAXED);
}

/* The next tick may be far ahead by a longer delay, so it becomes due now. */
void hak_space_limit_purge_delay(uint64_t most_ms)
{
    __atomic_store_n(&hak_window.purge_delay_most_ms, most_ms,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&hak_window.next_tick_ms, 0, __ATOMIC_RELAXED);
}

/*
 * The fork handlers' step on `mapping` or `purging`. A signal handler may fork
 * while the thread that it interrupted holds `lock`. Another thread that holds
 * mapping or purging may wait for `lock`, so the handler must not wait for
 * these two. They are then left out, and what other threads have in flight
 * stays `used` in the child.
 */
static void lock_calls(struct hak_lock *calls, enum hak_fork_phase phase)
{
    bool mine = hak_lock_is_mine(calls);
    bool waits = !hak_lock_is_mine(&hak_window.lock) ||
                 hak_lock_is_whole(&hak_window.lock);
    if (mine || (phase == HAK_FORK_PREPARE && waits))
        hak_lock_fork(calls, phase);
    else if (phase == HAK_FORK_CHILD)
        *calls = (struct hak_lock){0}; /* its holder is not in the child */
}

void hak_space_lock(enum hak_fork_phase phase)
{
    lock_calls(&hak_window.mapping, phase);
    lock_calls(&hak_window.purging, phase);
    hak_lock_fork(&hak_window.lock, phase);
}

void hak_window_count_dirty(size_t more)
{
    __atomic_store_n(&hak_window.ndirty, hak_window.ndirty + more,
                     __ATOMIC_RELAXED);
}

void hak_window_count_idle(size_t more)
{
    hak_count(&hak_window.nidle, more);
}

void hak_window_tick_after(uint64_t now_ms)
{
    __atomic_store_n(&hak_window.next_tick_ms,
                     now_ms + hak_space_purge_delay_ms() / 2, __ATOMIC_RELAXED);
}

void hak_window_set_used(size_t g, size_t n)
{
    hak_bits_set(hak_window.used, g, n);
    if (g <= hak_window.free_hint && g + n > hak_window.free_hint)
        hak_window.free_hint = g + n;
}

void hak_window_clear_used(size_t g, size_t n)
{
    hak_bits_clear(hak_window.used, g, n);
    hak_window.free_hint = hak_min(hak_window.free_hint, g);
}

size_t hak_window_in_memory(void)
{
    return hak_window.nused + hak_window.ndirty;
}

void hak_window_set_high(size_t high)
{
    __atomic_store_n(&hak_window.high, high, __ATOMIC_RELAXED);
}

void hak_window_count_growth(void)
{
    size_t now = hak_window_in_memory();
    if (now <= hak_window.high)
        return;
    hak_count_shared(&hak_window.owed, (int64_t)(now - hak_window.high));
    hak_window_set_high(now);
}

void hak_window_lower_high(size_t n)
{
    hak_lock_take(&hak_window.lock);
    hak_window_set_high(hak_max(hak_window.high - hak_min(n, hak_window.high),
                                hak_window_in_memory()));
    hak_lock_drop(&hak_window.lock);
}

size_t hak_space_will_grow(size_t size_bytes)
{
    size_t n = hak_window_granules(size_bytes);
    size_t ndirty = __atomic_load_n(&hak_window.ndirty, __ATOMIC_RELAXED);
    size_t then = hak_counted(&hak_window.nused) + ndirty + n;
    if (then <= __atomic_load_n(&hak_window.high, __ATOMIC_RELAXED) ||
        then <= __atomic_load_n(&hak_window.dry_until, __ATOMIC_RELAXED) ||
        ndirty >= 2 * n)
        return 0;
    return hak_window_bytes(hak_max(n, OWED_LEAST));
}

void hak_space_reclaimed(size_t want_bytes, size_t got_bytes)
{
    if (got_bytes >= want_bytes / 2)
        return;
    size_t high = __atomic_load_n(&hak_window.high, __ATOMIC_RELAXED);
    __atomic_store_n(&hak_window.dry_until,
                     high + hak_max(OWED_LEAST, high / OWED_SHARE),
                     __ATOMIC_RELAXED);
}

size_t hak_space_owed(void)
{
    uint64_t owed = hak_counted(&hak_window.owed);
    size_t high = __atomic_load_n(&hak_window.high, __ATOMIC_RELAXED);
    if (likely(owed < hak_max(OWED_LEAST, high / OWED_SHARE)))
        return 0;
    return hak_window_bytes(
        __atomic_exchange_n(&hak_window.owed, 0, __ATOMIC_RELAXED));
}

void hak_space_read(struct hak_space_figures *out)
{
    hak_lock_take(&hak_window.lock);
    out->mapped_peak_bytes = hak_counted(&hak_window.figures.mapped_peak_bytes);
    out->maps = hak_counted(&hak_window.figures.maps);
    out->unmaps = hak_counted(&hak_window.figures.unmaps);
    out->purged_bytes = hak_counted(&hak_window.figures.purged_bytes);
    out->used_bytes = hak_window_bytes(hak_window.nused) +
                      hak_counted(&hak_window.open_bytes);
    out->free_bytes = hak_window_bytes(hak_window.nidle);
    out->dirty_bytes = hak_window_bytes(hak_window.ndirty);
    out->purges = hak_counted(&hak_window.figures.purges);
    out->purges_refused = hak_counted(&hak_window.figures.purges_refused);
    hak_lock_drop(&hak_window.lock);
}
