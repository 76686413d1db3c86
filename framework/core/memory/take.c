/* SPDX-License-Identifier: MIT
 * take.c - hands out runs of granules, takes them back, resizes and moves them.
 */
#include <core/memory/window.h>

#include <errno.h>
#include <string.h>

enum {
    GROW_LEAST_GRANULES = 16, /* 1 MiB: least that is mapped ahead */
    /*
     * A thread that gives n granules back purges at least GIVE_GRANULES and
     * 2 * n in its tick, so that it leaves little work to other threads. It
     * purges at once what is dirty beyond a limit: the larger of
     * DIRTY_MOST_GRANULES and 1 / DIRTY_MOST_DIVISOR of all mapped granules.
     */
    GIVE_GRANULES = 32,         /* 2 MiB */
    DIRTY_MOST_GRANULES = 8192, /* 512 MiB */
    DIRTY_MOST_DIVISOR = 16,
};

/* The run [g, g + n), which was in flight, is mapped and free now. lock held.
 */
static void add_idle(size_t g, size_t n)
{
    hak_window_clear_used(g, n);
    hak_bits_set(hak_window.idle, g, n);
    hak_window_count_idle(n);
}

/*
 * Part of the run [g, g + n), which is in flight, is mapped by other code of
 * the process. Map it granule by granule. Foreign granules stay `used` for
 * good, so that they are never tried again.
 * Returns -EEXIST: the caller searches again; -ENOMEM: the rest of the run is
 * free and not mapped.
 * This function and map_run are called with mapping and lock held, and release
 * lock during the system calls.
 */
static int map_each(size_t g, size_t n)
{
    for (size_t i = g; i < g + n; i++) {
        hak_lock_drop(&hak_window.lock);
        int error = hak_os_map_at(hak_window_address(i), HAK_GRANULE_BYTES);
        hak_lock_take(&hak_window.lock);
        if (error == 0) {
            add_idle(i, 1);
        } else if (error != -EEXIST) {
            hak_window_clear_used(i, g + n - i);
            return error;
        }
    }
    return -EEXIST;
}

/* How many granules to map in addition, behind the run [g, g + n): an eighth of
 * frontier if the run reaches the frontier, else none. */
static size_t ahead_of(size_t g, size_t n)
{
    if (g + n < hak_window.frontier || hak_window.locked)
        return 0;
    size_t want = hak_min(hak_max(hak_window.frontier / 8, GROW_LEAST_GRANULES),
                          HAK_GROW_MOST_GRANULES);
    return hak_min(hak_max(want, n), hak_window.nbits - g) - n;
}

static int map_pages(size_t g, size_t n)
{
    if (!hak_directory_ready(hak_window_address(g), hak_window_bytes(n)))
        return -ENOMEM;
    return hak_os_map_at(hak_window_address(g), hak_window_bytes(n));
}

/*
 * The run [g, g + all) has just been mapped, and n granules of it were wanted.
 * If the program has locked its memory (mlockall), all of the run is in memory
 * now, so the part behind n is unmapped. Locked memory is recognised by the
 * kernel's refusal to purge it. Returns the number of granules that stay.
 */
static size_t keep_unless_locked(size_t g, size_t n, size_t all)
{
    if (all == n && !hak_window.locked)
        return n;
    char *last = hak_window_address(g + all - 1);
    hak_window.locked = hak_os_purge(last, HAK_GRANULE_BYTES) == -EINVAL;
    bool gone =
        hak_window.locked && all > n &&
        hak_os_unmap(hak_window_address(g + n), hak_window_bytes(all - n));
    return gone ? n : all;
}

/* Map the run [g, g + n), which is neither mapped nor used, and more behind it
 * at the frontier. 0: it is idle now; -errno as from map_each. */
static int map_run(size_t g, size_t n)
{
    const size_t most = n + ahead_of(g, n), frontier = hak_window.frontier;
    size_t all = most;
    hak_window_set_used(g, most);
    hak_window.frontier = hak_max(frontier, g + most);
    hak_lock_drop(&hak_window.lock);
    int error = map_pages(g, all);
    if (error != 0 && all > n) {
        all = n;
        error = map_pages(g, all);
    }
    if (error == 0)
        all = keep_unless_locked(g, n, all);
    hak_lock_take(&hak_window.lock);
    hak_window_clear_used(g + all, most - all);
    hak_window.frontier = hak_max(frontier, g + all);
    if (error == 0)
        add_idle(g, all);
    else if (error == -EEXIST)
        return map_each(g, n);
    else
        hak_window_clear_used(g, n);
    return error;
}

/*
 * Map the first unmapped part of the free run [g, g + n).
 * Returns 1: all of the run is mapped; 0: a part was mapped, and the caller
 * searches again, since lock was released; -errno as from map_each
 */
static int map_missing(size_t g, size_t n)
{
    size_t at = hak_bits_next(hak_window.idle, ~0ull, g, g + n);
    if (at == g + n)
        return 1;
    return map_run(at, hak_bits_next(hak_window.idle, 0, at, g + n) - at);
}

void hak_window_count_peak(void)
{
    hak_count_peak(&hak_window.figures.mapped_peak_bytes,
                   hak_window_bytes(hak_counted(&hak_window.nused) +
                                    hak_counted(&hak_window.nidle)) +
                       hak_counted(&hak_window.open_bytes));
}

/* The idle run [g, g + n) becomes used by a box. Returns the smallest run that
 * contains all of its dirty granules. lock held. */
static struct hak_run use_idle_run(size_t g, size_t n)
{
    struct hak_run dirty = {g, 0};
    if (hak_window.ndirty != 0) {
        size_t end = hak_bits_next(hak_window.dirty, 0, g, g + n);
        dirty.g = end;
        while (end < g + n) {
            size_t stop = hak_bits_next(hak_window.dirty, ~0ull, end, g + n);
            dirty.n = stop - dirty.g;
            hak_window_count_dirty(end - stop);
            end = hak_bits_next(hak_window.dirty, 0, stop, g + n);
        }
        hak_bits_clear(hak_window.dirty, g, n);
        hak_bits_clear(hak_window.old, g, n);
    }
    hak_bits_clear(hak_window.idle, g, n);
    hak_window_set_used(g, n);
    hak_window_count_idle(-n);
    hak_count(&hak_window.nused, n);
    hak_window_count_growth();
    hak_window_count_peak();
    return dirty;
}

/* Make a run read zero that only the caller uses. No lock is held. */
static void make_zero(struct hak_run dirty)
{
    if (dirty.n != 0 && hak_window_purge_pages(hak_window_address(dirty.g),
                                               hak_window_bytes(dirty.n)) != 0)
        memset(hak_window_address(dirty.g), 0, hak_window_bytes(dirty.n));
}

/* Find a mapped, free run. A dirty one is preferred, since its pages are in
 * memory already; not if the memory has to read zero. lock held. */
static size_t find_idle(size_t n, size_t align, bool zero)
{
    size_t g = HAK_BITS_NONE;
    if (hak_window.nidle < n)
        return g;
    if (!zero && hak_window.ndirty >= n)
        g = hak_bits_run(hak_window.dirty, 0, hak_window.free_hint,
                         hak_window.frontier, n, align);
    if (g != HAK_BITS_NONE)
        return g;
    return hak_bits_run(hak_window.idle, 0, hak_window.free_hint,
                        hak_window.frontier, n, align);
}

/* Find a mapped, free run, else any free one. lock held. */
static size_t find_free(size_t n, size_t align)
{
    size_t g = find_idle(n, align, false);
    if (g == HAK_BITS_NONE)
        g = hak_bits_run(hak_window.used, ~0ull, hak_window.free_hint,
                         hak_window.nbits, n, align);
    return g;
}

static size_t take_mapped(size_t n, size_t align, bool zero,
                          struct hak_run *dirty)
{
    hak_lock_take(&hak_window.lock);
    size_t g = find_idle(n, align, zero);
    if (g != HAK_BITS_NONE)
        *dirty = use_idle_run(g, n);
    hak_lock_drop(&hak_window.lock);
    return g;
}

/* Map a run and take it. Another thread may take what was mapped here while
 * lock is released, so the search begins again after each system call. */
static size_t map_and_take(size_t n, size_t align, struct hak_run *dirty)
{
    size_t g;
    hak_lock_take(&hak_window.mapping);
    hak_window_make_room(n, align);
    hak_lock_take(&hak_window.lock);
    while ((g = find_free(n, align)) != HAK_BITS_NONE) {
        int done = map_missing(g, n);
        if (done == 1) {
            *dirty = use_idle_run(g, n);
            break;
        }
        if (done != 0 && done != -EEXIST) { /* after -EEXIST, search again */
            g = HAK_BITS_NONE;
            break;
        }
    }
    hak_lock_drop(&hak_window.lock);
    hak_lock_drop(&hak_window.mapping);
    return g;
}

/*
 * Take a run of n granules; *dirty gets the result of use_idle_run. Prefer a
 * run that is already mapped. Mapping may fail under a limit on address space,
 * because free granules still count until they are unmapped. So all idle
 * granules are unmapped then, and the run is tried once more.
 * Returns its first granule, or HAK_BITS_NONE.
 */
static size_t take_run(size_t n, size_t align, bool zero, struct hak_run *dirty)
{
    size_t g = take_mapped(n, align, zero, dirty);
    if (g == HAK_BITS_NONE)
        g = map_and_take(n, align, dirty);
    if (g == HAK_BITS_NONE) {
        hak_window_purge_all(&hak_window.idle);
        g = map_and_take(n, align, dirty);
    }
    return g;
}

void *hak_space_take(size_t size_bytes, size_t align_bytes, uint32_t flags)
{
    size_t n = hak_window_granules(size_bytes);
    size_t align = hak_max(hak_window_granules(align_bytes), 1);
    struct hak_run dirty;
    if (n == 0 || n > hak_window.ngranules ||
        align_bytes > HAK_BASE_ALIGN_BYTES)
        return NULL;
    hak_space_tick();
    size_t g = take_run(n, align, (flags & HAK_MAP_ZERO) != 0, &dirty);
    if (g == HAK_BITS_NONE)
        return NULL;
    hak_count_shared(&hak_window.figures.maps, 1);
    if (flags & HAK_MAP_ZERO)
        make_zero(dirty);
    if (flags & HAK_MAP_HUGE)
        hak_os_huge(hak_window_address(g), size_bytes);
    return hak_window_address(g);
}

static void release_used(size_t g, size_t n)
{
    hak_window_clear_used(g, n);
    hak_count(&hak_window.nused, -n);
}

/* The used run [g, g + n), which is mapped, becomes free and dirty. lock held.
 */
static void free_used_run(size_t g, size_t n)
{
    release_used(g, n);
    hak_bits_set(hak_window.idle, g, n);
    hak_bits_set(hak_window.dirty, g, n);
    hak_window_count_idle(n);
    if (hak_window.ndirty == 0) /* the first dirty run starts the purge delay */
        hak_window_tick_after(hak_os_now_ms());
    hak_window_count_dirty(n);
}

/* The number of dirty granules above the limit. lock held. */
static size_t excess_dirty(void)
{
    size_t most = (hak_window.nused + hak_window.nidle) / DIRTY_MOST_DIVISOR;
    most = hak_max(most, DIRTY_MOST_GRANULES);
    return hak_window.ndirty > most ? hak_window.ndirty - most : 0;
}

static void give_at_once(size_t n)
{
    size_t at = 0;
    if (n == 0 || !hak_lock_try(&hak_window.purging))
        return;
    hak_window_purge_some(&hak_window.dirty, &at, n);
    hak_lock_drop(&hak_window.purging);
}

/* The calling thread purges in proportion to what it gives back. */
void hak_space_give(void *p, size_t size_bytes)
{
    size_t g = hak_window_granules((size_t)((char *)p - hak_window.base));
    size_t n = hak_window_granules(size_bytes),
           mine = hak_max(n * 2, GIVE_GRANULES);
    hak_lock_take(&hak_window.lock);
    free_used_run(g, n);
    size_t more = hak_min(excess_dirty(), mine);
    hak_lock_drop(&hak_window.lock);
    hak_count_shared(&hak_window.figures.unmaps, 1);
    give_at_once(more);
    hak_window_purge_if_due(mine);
}

/* Take exactly the run [g, g + n) if it is free. It will read zero. */
static bool take_at(size_t g, size_t n)
{
    struct hak_run dirty = {g, 0};
    int done = 0;
    hak_lock_take(&hak_window.mapping);
    hak_window_make_room(n, 1);
    hak_lock_take(&hak_window.lock);
    while (done == 0 && g + n <= hak_window.nbits &&
           hak_bits_next(hak_window.used, 0, g, g + n) == g + n)
        done = map_missing(g, n);
    if (done == 1)
        dirty = use_idle_run(g, n);
    hak_lock_drop(&hak_window.lock);
    hak_lock_drop(&hak_window.mapping);
    make_zero(dirty);
    return done == 1;
}

/* Move a run to another place by mremap. The old run is unmapped by that.
 * Returns the new address; NULL: nothing has changed for the caller. */
static void *move_to_new_run(size_t g, size_t old_n, size_t new_n)
{
    struct hak_run overwritten;
    size_t to = take_run(new_n, 1, true, &overwritten);
    if (to == HAK_BITS_NONE)
        return NULL;
    hak_lock_take(&hak_window.mapping);
    bool moved = hak_os_move(hak_window_address(g), hak_window_bytes(old_n),
                             hak_window_address(to), hak_window_bytes(new_n));
    bool is_mapped = moved || hak_os_is_mapped(hak_window_address(to));
    hak_lock_take(&hak_window.lock);
    if (moved)
        release_used(g, old_n);
    else if (is_mapped)
        free_used_run(to, new_n);
    else
        release_used(to, new_n); /* mremap unmapped the target, then failed */
    hak_lock_drop(&hak_window.lock);
    hak_lock_drop(&hak_window.mapping);
    return moved ? hak_window_address(to) : NULL;
}

void *hak_space_move(void *p, size_t old_bytes, size_t new_bytes)
{
    size_t g = hak_window_granules((size_t)((char *)p - hak_window.base));
    size_t old_n = hak_window_granules(old_bytes),
           new_n = hak_window_granules(new_bytes);
    if (new_n > hak_window.ngranules)
        return NULL;
    if (new_n > old_n && !take_at(g + old_n, new_n - old_n))
        return move_to_new_run(g, old_n, new_n);
    if (new_n < old_n)
        hak_space_give(hak_window_address(g + new_n),
                       hak_window_bytes(old_n - new_n));
    return p;
}
