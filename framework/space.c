/* SPDX-License-Identifier: MIT
 * space.c - the window: the one range of addresses that boxes live in.
 *
 * Granules of 64 KiB, and four bitmaps over them:
 *
 *     used            in the hands of a box, mapped or reserved
 *     idle            free, mapped               used & idle == 0
 *     dirty <= idle   free, mapped, holds pages that somebody wrote
 *     old   <= dirty  was dirty at the last tick already
 *
 * A granule in none of them is not mapped. Nor is one that a box has reserved,
 * but for the pages of it that the box has opened: what the rest costs is
 * addresses and nothing else, neither memory nor a mapping of the kernel's,
 * and every access of it faults. What a box gives back becomes
 * dirty; a tick every half purge delay returns to the system what is still
 * `old` and ages the rest, so a granule waits between half a delay and a
 * whole one. Short runs are purged in place (MADV_DONTNEED), long ones are
 * unmapped, which gives address space back too.
 *
 * Placement is first fit from the low end, mapped granules first (for what is
 * reserved, unmapped ones only): what is freed at the high end gets its chance
 * to go. The window's base is random.
 */
#include "core.h"
#include <boxkit/bits.h>

#include <errno.h>

enum {
    UNMAP_GRANULES = 32,      /* 2 MiB: shorter runs are purged in place */
    GROW_LEAST_GRANULES = 16, /* 1 MiB: mapped ahead at the frontier */
    GROW_MOST_GRANULES = 512, /* 32 MiB */
};

static struct {
    struct hak_lock lock;
    char *base;
    size_t ngranules;
    uint64_t *used, *idle, *dirty, *old;
    size_t frontier;  /* no granule from here on was ever mapped or reserved */
    size_t free_hint; /* every granule below is used */
    uint64_t nidle, nused; /* mapped; used does not count what is reserved */
    size_t ndirty;
    uint64_t open_bytes; /* of what is reserved; atomic */
    uint64_t purge_delay_ms, next_tick_ms;
    struct hak_space_figures figures;
} space;

static size_t granules(size_t size_bytes)
{
    return size_bytes >> HAK_GRANULE_SHIFT;
}

static char *address(size_t g)
{
    return space.base + (g << HAK_GRANULE_SHIFT);
}

static size_t bytes(size_t n)
{
    return n << HAK_GRANULE_SHIFT;
}

#define BASE_ALIGN_BYTES ((size_t)4 << 30)

/*
 * Between 17 TiB (above ASan's shadow) and 42 TiB, at a multiple of 4 GiB: the
 * most that a request can be aligned to. Nothing keeps others from mapping what
 * is not mapped there, so it is where the kernel does not choose to: mmap goes
 * down from below the stack, or (with an unlimited stack) up from a third of
 * the address space, 42.7 TiB. Between 126.5 and 127 TiB, where ThreadSanitizer
 * lets a program map, when it is there.
 */
static uintptr_t choose_base(size_t window_bytes)
{
    const bool tsan = hak_os_tsan();
    const uint64_t low = tsan ? (uint64_t)253 << 39 : (uint64_t)17 << 40;
    const uint64_t high = (uint64_t)(tsan ? 127 : 42) << 40;
    uint64_t room = (high - low - window_bytes) / BASE_ALIGN_BYTES;
    return (uintptr_t)(low + hak_os_random() % room * BASE_ALIGN_BYTES);
}

int hak_space_start(size_t window_bytes, uint64_t purge_delay_ms)
{
    size_t map_bytes = granules(window_bytes) / 8;
    uint64_t *maps = hak_meta(map_bytes * 4);
    if (maps == NULL)
        return -ENOMEM;
    space.ngranules = granules(window_bytes);
    space.used = maps;
    space.idle = maps + map_bytes / 8;
    space.dirty = maps + map_bytes / 8 * 2;
    space.old = maps + map_bytes / 8 * 3;
    space.purge_delay_ms = purge_delay_ms;
    space.base = (char *)choose_base(window_bytes);
    return hak_directory_start((uintptr_t)space.base, window_bytes);
}

uint64_t hak_space_purge_delay_ms(void)
{
    return space.purge_delay_ms;
}

void hak_space_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&space.lock, phase);
}

/* Both are read without the lock, to see whether it is worth taking. */
static void count_dirty(size_t more)
{
    __atomic_store_n(&space.ndirty, space.ndirty + more, __ATOMIC_RELAXED);
}

static void count_idle(size_t more)
{
    hak_count(&space.nidle, more);
}

static void tick_after(uint64_t now_ms)
{
    __atomic_store_n(&space.next_tick_ms, now_ms + space.purge_delay_ms / 2,
                     __ATOMIC_RELAXED);
}

/* ---- returning memory to the system ---------------------------------- */

/* Returns n, or 0 when the kernel did neither: the run stays dirty. */
static size_t purge_run(size_t g, size_t n)
{
    if (n >= UNMAP_GRANULES && hak_os_unmap(address(g), bytes(n))) {
        hak_bits_clear(space.idle, g, n);
        count_idle(-n);
    } else if (hak_os_purge(address(g), bytes(n)) != 0) {
        return 0;
    }
    hak_bits_clear(space.dirty, g, n);
    hak_bits_clear(space.old, g, n);
    count_dirty(-n);
    hak_count_shared(&space.figures.purged_bytes, (int64_t)bytes(n));
    return n;
}

/* Purge every run of `which`, a subset of dirty. */
static size_t purge_all(uint64_t *which)
{
    size_t done = 0;
    size_t g = hak_bits_next(which, 0, 0, space.frontier);
    while (g < space.frontier) {
        size_t stop = hak_bits_next(which, ~0ull, g, space.frontier);
        done += purge_run(g, stop - g);
        g = hak_bits_next(which, 0, stop, space.frontier);
    }
    return done;
}

void hak_space_tick(void)
{
    if (__atomic_load_n(&space.ndirty, __ATOMIC_RELAXED) == 0)
        return;
    uint64_t now = hak_os_now_ms();
    if (now < __atomic_load_n(&space.next_tick_ms, __ATOMIC_RELAXED) ||
        !hak_lock_try(&space.lock))
        return;
    tick_after(now);
    purge_all(space.old);
    memcpy(space.old, space.dirty, HAK_BITS_WORDS(space.frontier) * 8);
    hak_lock_drop(&space.lock);
}

size_t hak_space_trim(void)
{
    hak_lock_take(&space.lock);
    size_t n = purge_all(space.dirty);
    hak_lock_drop(&space.lock);
    return bytes(n);
}

int hak_space_purge(void *p, size_t size_bytes)
{
    int error = hak_os_purge(p, size_bytes);
    if (error == 0)
        hak_count_shared(&space.figures.purged_bytes, (int64_t)size_bytes);
    return error;
}

/* ---- taking ------------------------------------------------------------ */

/* Map [g, g + n), none of it mapped; more ahead of it at the frontier. */
static int map_run(size_t g, size_t n)
{
    size_t ahead = 0;
    if (g + n >= space.frontier) {
        size_t want = hak_min(hak_max(space.frontier / 8, GROW_LEAST_GRANULES),
                              GROW_MOST_GRANULES);
        want = hak_min(hak_max(want, n), space.ngranules - g);
        ahead = want - n;
    }
    if (!hak_directory_ready(address(g), bytes(n + ahead)))
        return -ENOMEM;
    int error = hak_os_map_at(address(g), bytes(n + ahead));
    if (error != 0 && ahead != 0) {
        ahead = 0;
        error = hak_os_map_at(address(g), bytes(n));
    }
    if (error != 0)
        return error;
    hak_bits_set(space.idle, g, n + ahead);
    count_idle(n + ahead);
    space.frontier = hak_max(space.frontier, g + n + ahead);
    return 0;
}

/*
 * Somebody else has mapped in [g, g + n): map the granules that can be, the
 * others count as used. -EEXIST, or -ENOMEM: some may be either.
 */
static int give_up_on(size_t g, size_t n)
{
    for (size_t i = g; i < g + n; i++) {
        int error = hak_os_map_at(address(i), HAK_GRANULE_BYTES);
        if (error == 0) {
            hak_bits_set(space.idle, i, 1);
            count_idle(1);
            space.frontier = hak_max(space.frontier, i + 1);
        } else if (error == -EEXIST) {
            hak_bits_set(space.used, i, 1);
        } else {
            return error;
        }
    }
    return -EEXIST;
}

/* Make the free run [g, g + n) mapped. -EEXIST: it is no longer free. */
static int map_missing(size_t g, size_t n)
{
    size_t at = hak_bits_next(space.idle, ~0ull, g, g + n);
    while (at < g + n) {
        size_t stop = hak_bits_next(space.idle, 0, at, g + n);
        int error = map_run(at, stop - at);
        if (error == -EEXIST)
            error = give_up_on(at, stop - at);
        if (error != 0)
            return error;
        at = hak_bits_next(space.idle, ~0ull, stop, g + n);
    }
    return 0;
}

/* Of all that is mapped. Any thread, without the lock. */
static void count_peak(void)
{
    hak_count_peak(
        &space.figures.mapped_peak_bytes,
        bytes(hak_counted(&space.nused) + hak_counted(&space.nidle)) +
            hak_counted(&space.open_bytes));
}

/* The free run [g, g + n) becomes used, and free again. */
static void hold(size_t g, size_t n)
{
    hak_bits_set(space.used, g, n);
    if (g <= space.free_hint && g + n > space.free_hint)
        space.free_hint = g + n;
}

static void let_go(size_t g, size_t n)
{
    hak_bits_clear(space.used, g, n);
    space.free_hint = hak_min(space.free_hint, g);
}

/* The free, mapped run [g, g + n) becomes used. */
static void claim(size_t g, size_t n, uint32_t flags)
{
    if (space.ndirty != 0) {
        size_t at = hak_bits_next(space.dirty, 0, g, g + n);
        while (at < g + n) {
            size_t stop = hak_bits_next(space.dirty, ~0ull, at, g + n);
            size_t run = bytes(stop - at);
            if (flags & HAK_MAP_ZERO && hak_os_purge(address(at), run) != 0)
                memset(address(at), 0, run);
            count_dirty(at - stop);
            at = hak_bits_next(space.dirty, 0, stop, g + n);
        }
        hak_bits_clear(space.dirty, g, n);
        hak_bits_clear(space.old, g, n);
    }
    hak_bits_clear(space.idle, g, n);
    hold(g, n);
    count_idle(-n);
    hak_count(&space.nused, n);
    count_peak();
}

/*
 * A run that is mapped already, else any free one. A tight limit on address
 * space sets what was mapped ahead or waits for its purge against us, hence
 * the second try.
 */
static size_t find(size_t n, size_t align)
{
    size_t g = HAK_BITS_NONE;
    if (space.nidle >= n)
        g = hak_bits_run(space.idle, 0, space.free_hint, space.frontier, n,
                         align);
    if (g == HAK_BITS_NONE)
        g = hak_bits_run(space.used, ~0ull, space.free_hint, space.ngranules, n,
                         align);
    return g;
}

static void unmap_idle(void)
{
    size_t g = hak_bits_next(space.idle, 0, 0, space.frontier);
    while (g < space.frontier) {
        size_t stop = hak_bits_next(space.idle, ~0ull, g, space.frontier);
        if (hak_os_unmap(address(g), bytes(stop - g))) {
            count_dirty(-hak_bits_count(space.dirty, g, stop - g));
            count_idle(g - stop);
            hak_bits_clear(space.idle, g, stop - g);
            hak_bits_clear(space.dirty, g, stop - g);
            hak_bits_clear(space.old, g, stop - g);
        }
        g = hak_bits_next(space.idle, 0, stop, space.frontier);
    }
}

static size_t take(size_t n, size_t align)
{
    bool retried = false;
    for (;;) {
        size_t g = find(n, align);
        if (g == HAK_BITS_NONE)
            return g;
        int error = map_missing(g, n);
        if (error == 0)
            return g;
        if (error == -EEXIST)
            continue; /* give_up_on took it out of the free ones */
        if (retried)
            return HAK_BITS_NONE;
        retried = true;
        unmap_idle();
    }
}

void *hak_space_take(size_t size_bytes, size_t align_bytes, uint32_t flags)
{
    size_t n = granules(size_bytes);
    size_t align = hak_max(granules(align_bytes), 1);
    if (n == 0 || n > space.ngranules || align_bytes > BASE_ALIGN_BYTES)
        return NULL;
    hak_space_tick();
    hak_lock_take(&space.lock);
    size_t g = take(n, align);
    if (g != HAK_BITS_NONE) {
        claim(g, n, flags);
        space.figures.maps++;
    }
    hak_lock_drop(&space.lock);
    if (g == HAK_BITS_NONE)
        return NULL;
    if (flags & HAK_MAP_HUGE)
        hak_os_huge(address(g), size_bytes);
    return address(g);
}

static void release(size_t g, size_t n)
{
    let_go(g, n);
    hak_count(&space.nused, -n);
}

/* The used run [g, g + n), which is mapped, becomes free and dirty. */
static void put_back(size_t g, size_t n)
{
    release(g, n);
    hak_bits_set(space.idle, g, n);
    hak_bits_set(space.dirty, g, n);
    count_idle(n);
    if (space.ndirty == 0) /* the clock of an empty store starts anew */
        tick_after(hak_os_now_ms());
    count_dirty(n);
}

void hak_space_give(void *p, size_t size_bytes)
{
    size_t g = granules((size_t)((char *)p - space.base));
    hak_lock_take(&space.lock);
    put_back(g, granules(size_bytes));
    space.figures.unmaps++;
    hak_lock_drop(&space.lock);
    hak_space_tick();
}

/* ---- growing ---- */

/* Take exactly [g, g + n) if it is free; it will read zero. */
static bool take_at(size_t g, size_t n)
{
    if (g + n > space.ngranules ||
        hak_bits_next(space.used, 0, g, g + n) != g + n ||
        map_missing(g, n) != 0)
        return false;
    claim(g, n, HAK_MAP_ZERO);
    return true;
}

/* mremap to a fresh place; the old range is not mapped any more. */
static void *move(size_t g, size_t old_n, size_t new_n)
{
    size_t to = take(new_n, 1);
    if (to == HAK_BITS_NONE)
        return NULL;
    claim(to, new_n, 0);
    if (!hak_os_move(address(g), bytes(old_n), address(to), bytes(new_n))) {
        if (hak_os_is_mapped(address(to)))
            put_back(to, new_n);
        else
            release(to, new_n); /* the kernel made room there, and no more */
        return NULL;
    }
    release(g, old_n);
    return address(to);
}

void *hak_space_move(void *p, size_t old_bytes, size_t new_bytes)
{
    size_t g = granules((size_t)((char *)p - space.base));
    size_t old_n = granules(old_bytes), new_n = granules(new_bytes);
    if (new_n > space.ngranules)
        return NULL;
    hak_lock_take(&space.lock);
    void *result = p;
    if (new_n > old_n && !take_at(g + old_n, new_n - old_n))
        result = move(g, old_n, new_n);
    hak_lock_drop(&space.lock);
    if (new_n < old_n)
        hak_space_give(address(g + new_n), bytes(old_n - new_n));
    return result;
}

/* ---- reserving ---- */

/* A run of n that is neither used nor mapped, or HAK_BITS_NONE. */
static size_t find_unmapped(size_t n, size_t align)
{
    size_t g = space.free_hint;
    for (;;) {
        g = hak_bits_run(space.used, ~0ull, g, space.ngranules, n, align);
        if (g == HAK_BITS_NONE)
            return g;
        size_t idle = hak_bits_next(space.idle, 0, g, g + n);
        if (idle == g + n)
            return g;
        g = hak_bits_next(space.idle, ~0ull, idle, space.ngranules);
    }
}

void *hak_space_reserve(size_t size_bytes, size_t align_bytes)
{
    size_t n = granules(size_bytes);
    size_t align = hak_max(granules(align_bytes), 1);
    if (n == 0 || n > space.ngranules || align_bytes > BASE_ALIGN_BYTES)
        return NULL;
    hak_lock_take(&space.lock);
    size_t g = find_unmapped(n, align);
    if (g == HAK_BITS_NONE) {
        unmap_idle();
        g = find_unmapped(n, align);
    }
    if (g != HAK_BITS_NONE && !hak_directory_ready(address(g), bytes(n)))
        g = HAK_BITS_NONE;
    if (g != HAK_BITS_NONE) {
        hold(g, n);
        space.frontier = hak_max(space.frontier, g + n);
        space.figures.maps++;
    }
    hak_lock_drop(&space.lock);
    return g == HAK_BITS_NONE ? NULL : address(g);
}

void hak_space_unreserve(void *p, size_t size_bytes)
{
    hak_lock_take(&space.lock);
    let_go(granules((size_t)((char *)p - space.base)), granules(size_bytes));
    space.figures.unmaps++;
    hak_lock_drop(&space.lock);
}

/* Under a limit on address space, free granules that are mapped may be what
 * lacks: hence the second try. */
int hak_space_open(void *p, size_t size_bytes, bool now)
{
    int (*map)(void *, size_t) = now ? hak_os_populate_at : hak_os_map_at;
    int error = map(p, size_bytes);
    if (error != 0 && error != -EEXIST && hak_counted(&space.nidle) != 0) {
        hak_lock_take(&space.lock);
        unmap_idle();
        hak_lock_drop(&space.lock);
        error = map(p, size_bytes);
    }
    if (error != 0)
        return error == -EEXIST ? error : -ENOMEM;
    hak_count_shared(&space.open_bytes, (int64_t)size_bytes);
    count_peak();
    return 0;
}

bool hak_space_close(void *p, size_t size_bytes)
{
    bool closed = hak_os_unmap(p, size_bytes);
    if (!closed && hak_os_purge(p, size_bytes) != 0)
        return false;
    if (closed)
        hak_count_shared(&space.open_bytes, -(int64_t)size_bytes);
    hak_count_shared(&space.figures.purged_bytes, (int64_t)size_bytes);
    return closed;
}

void hak_space_read(struct hak_space_figures *out)
{
    hak_lock_take(&space.lock);
    *out = space.figures;
    out->purged_bytes = hak_counted(&space.figures.purged_bytes);
    out->used_bytes = bytes(space.nused) + hak_counted(&space.open_bytes);
    out->free_bytes = bytes(space.nidle);
    hak_lock_drop(&space.lock);
}
