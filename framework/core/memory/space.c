/* SPDX-License-Identifier: MIT
 * space.c - the window: the one address range that all boxes get memory from.
 *
 * The window is divided into granules of 64 KiB. Four bitmaps describe them:
 *
 *     used   in use by a box, mapped or reserved; or in flight (see Locks)
 *     idle   free and mapped
 *     dirty  free and mapped, and may hold written pages
 *     old    dirty already when the dirty granules were last aged
 *
 *     used & idle == 0,  dirty is a subset of idle,  old is a subset of dirty
 *
 * A granule in none of the bitmaps is not mapped. A reserved granule is in
 * `used` and is not mapped either, except for the pages that its box has
 * opened. The rest of it costs address space only: no memory and no mapping of
 * the kernel's. Any access to it faults.
 *
 * A granule that a box gives back becomes dirty. Every half purge delay, the
 * granules that are `old` begin to be purged, and the other dirty ones become
 * old. So a granule waits between half a delay and a whole one. Short runs are
 * purged in place (MADV_DONTNEED). Long runs are unmapped, which gives address
 * space back too.
 *
 * Placement is first fit from the low end, so that memory at the high end gets
 * free and can be purged. Mapped granules are preferred; a reservation takes
 * unmapped ones only. The window's base is random.
 *
 * Locks. `lock` guards the bitmaps and the counters. No system call is made
 * with it held: a call may take long, for gigabytes or because it waits for
 * another call of the process, and threads that find a mapped run in the
 * bitmaps should not wait for that. A granule is in flight while a system call
 * is made for it: it is in `used` only, so no other thread finds it. A thread
 * holds `mapping` or `purging` around such calls, never both, and takes `lock`
 * inside. The forking thread takes all three, so nothing is in flight in a
 * child.
 */
#include <core/memory/space.h>

#include <base/os.h>
#include <base/seal.h>
#include <core/memory/directory.h>
#include <kit/bits.h>
#include <base/meta.h>
#include <base/random.h>
#include <kit/sync.h>

#include <errno.h>
#include <string.h>

enum {
    UNMAP_GRANULES = 32,      /* 2 MiB: shorter runs are purged in place */
    GROW_LEAST_GRANULES = 16, /* 1 MiB: least that is mapped ahead */
    GROW_MOST_GRANULES = 512, /* 32 MiB: most that is mapped ahead */
    /*
     * The most that one system call unmaps or purges: other calls of the
     * process that change mappings wait for it in the kernel. Purges of boxes
     * use larger pieces, since page faults go on during a purge, and much of
     * what boxes purge is not in memory.
     */
    PIECE_GRANULES = 64,        /* 4 MiB */
    PURGE_PIECE_GRANULES = 256, /* 16 MiB */
    /*
     * The least and the most that one tick purges. A tick is part of some
     * thread's malloc, so it purges in proportion to the time since the last
     * tick: all old granules are purged in BACK_DELAYS purge delays.
     */
    TICK_LEAST_GRANULES = 4,  /* 256 KiB */
    TICK_MOST_GRANULES = 512, /* 32 MiB */
    BACK_DELAYS = 3,
    /*
     * A thread that gives n granules back purges at least GIVE_GRANULES and
     * 2 * n in its tick, so that it leaves little work to other threads. It
     * purges at once what is dirty beyond a limit: the larger of
     * DIRTY_MOST_GRANULES and 1 / DIRTY_MOST_DIVISOR of all mapped granules.
     */
    GIVE_GRANULES = 32,         /* 2 MiB */
    DIRTY_MOST_GRANULES = 8192, /* 512 MiB */
    DIRTY_MOST_DIVISOR = 16,
    /* hak_space_owed reports growth from the larger of OWED_LEAST granules and
     * 1 / OWED_SHARE of `high` on. */
    OWED_LEAST = 16,
    OWED_SHARE = 16,
    LEAST_BITS = 32768, /* 2 GiB of window: one page of each bitmap */
    CUTS_MOST = 8192,   /* of the 65530 mappings a process may have */
};

/* Guarded by space.lock, unless a member says otherwise. base, ngranules and
 * purge_delay_ms are set at start. */
static struct {
    struct hak_lock lock;
    struct hak_lock mapping; /* held around calls that map or move */
    struct hak_lock purging; /* held around calls that purge or unmap */
    char *base;
    size_t ngranules;
    uint64_t *used, *idle, *dirty, *old; /* bitmaps of nbits each */
    /* Granules from nbits on are free. frontier <= nbits <= ngranules. */
    size_t nbits;
    /* No granule from here on has ever been mapped or reserved. It changes
     * with mapping and lock held. */
    size_t frontier;
    size_t free_hint; /* every granule below is used */
    /* Mapped granules. nused leaves reserved ones out. nidle and ndirty include
     * those that are in flight to be purged. */
    uint64_t nidle, nused;
    size_t ndirty;
    /* The program has locked its memory (mlockall), so all that is mapped is
     * in memory at once. Guarded by mapping. */
    bool locked;
    uint32_t ncuts; /* locked runs unmapped so far; guarded by purging */
    size_t high;    /* the recent highest value of nused + ndirty */
    /* hak_space_will_grow asks for nothing below this number of granules,
     * since boxes had little to give when they were last asked. Atomic. */
    size_t dry_until;
    uint64_t owed; /* granules that `high` rose by, not reported; atomic */
    uint64_t open_bytes; /* open pages of reserved granules; atomic */
    uint64_t purge_delay_ms, next_tick_ms;
    size_t nold;      /* granules that aged last time; guarded by purging */
    uint64_t last_us; /* time of the last tick; guarded by purging */
    struct hak_space_figures figures; /* atomic */
} space;

/* Granules [g, g + n). */
struct run {
    size_t g, n;
};

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
    uint64_t room = (high - low - window_bytes) / BASE_ALIGN_BYTES;
    return (uintptr_t)(low + hak_random() % room * BASE_ALIGN_BYTES);
}

/* Replace the bitmaps by ones of nbits, with the same content. False = no
 * memory, nothing changed. Called at start, or with mapping held. */
static bool make_bitmaps(size_t nbits)
{
    const uint64_t *const from[] = {space.used, space.idle, space.dirty,
                                    space.old};
    size_t nwords = HAK_BITS_WORDS(nbits);
    uint64_t *maps = hak_meta(nwords * sizeof *maps * 4);
    if (maps == NULL)
        return false;
    hak_lock_take(&space.lock);
    for (size_t i = 0; i < 4 && space.nbits != 0; i++)
        memcpy(maps + nwords * i, from[i], HAK_BITS_WORDS(space.frontier) * 8);
    space.used = maps;
    space.idle = maps + nwords;
    space.dirty = maps + nwords * 2;
    space.old = maps + nwords * 3;
    space.nbits = nbits;
    hak_lock_drop(&space.lock);
    return true;
}

/*
 * Enlarge the bitmaps so that they cover any run of n granules and what is
 * mapped ahead of it. They cover the part of the window that is in use, because
 * in a program that locks its memory all of a bitmap is in memory. The old
 * bitmaps are not freed; together they are smaller than the new ones. If there
 * is no memory, the window ends at nbits. Called with mapping held.
 */
static void make_room(size_t n, size_t align)
{
    size_t want = space.frontier + n + align + GROW_MOST_GRANULES;
    if (unlikely(want > space.nbits && space.nbits < space.ngranules))
        make_bitmaps(hak_min(hak_max(want, space.nbits * 2), space.ngranules));
}

int hak_space_start(size_t window_bytes, uint64_t purge_delay_ms)
{
    space.ngranules = granules(window_bytes);
    space.purge_delay_ms = purge_delay_ms;
    space.base = (char *)choose_base(window_bytes);
    if (!make_bitmaps(hak_min(space.ngranules, LEAST_BITS)))
        return -ENOMEM;
    return hak_directory_start((uintptr_t)space.base, window_bytes);
}

uint64_t hak_space_purge_delay_ms(void)
{
    return space.purge_delay_ms;
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
    bool waits =
        !hak_lock_is_mine(&space.lock) || hak_lock_is_whole(&space.lock);
    if (mine || (phase == HAK_FORK_PREPARE && waits))
        hak_lock_fork(calls, phase);
    else if (phase == HAK_FORK_CHILD)
        *calls = (struct hak_lock){0}; /* its holder is not in the child */
}

void hak_space_lock(enum hak_fork_phase phase)
{
    lock_calls(&space.mapping, phase);
    lock_calls(&space.purging, phase);
    hak_lock_fork(&space.lock, phase);
}

/* ndirty, nidle and next_tick_ms are written with the lock held, and read
 * without it to see whether taking it is worthwhile. */
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

/* Set or clear the bits in `used` of the run [g, g + n). lock held. */
static void set_used(size_t g, size_t n)
{
    hak_bits_set(space.used, g, n);
    if (g <= space.free_hint && g + n > space.free_hint)
        space.free_hint = g + n;
}

static void clear_used(size_t g, size_t n)
{
    hak_bits_clear(space.used, g, n);
    space.free_hint = hak_min(space.free_hint, g);
}

/* ---- growth ---------------------------------------------------------------
 */

/* An upper bound of the granules in memory: those that boxes use, and dirty
 * ones. */
static size_t in_memory(void)
{
    return space.nused + space.ndirty;
}

static void set_high(size_t high)
{
    __atomic_store_n(&space.high, high, __ATOMIC_RELAXED);
}

/* Boxes got more granules: raise `high`, and let the difference be owed. lock
 * held. */
static void count_growth(void)
{
    size_t now = in_memory();
    if (now <= space.high)
        return;
    hak_count_shared(&space.owed, (int64_t)(now - space.high));
    set_high(now);
}

/* n granules were purged because of growth. Lower `high` by as much, so that
 * growth over the same range counts again. */
static void lower_high(size_t n)
{
    hak_lock_take(&space.lock);
    set_high(hak_max(space.high - hak_min(n, space.high), in_memory()));
    hak_lock_drop(&space.lock);
}

size_t hak_space_will_grow(size_t size_bytes)
{
    size_t n = granules(size_bytes);
    size_t ndirty = __atomic_load_n(&space.ndirty, __ATOMIC_RELAXED);
    size_t then = hak_counted(&space.nused) + ndirty + n;
    if (then <= __atomic_load_n(&space.high, __ATOMIC_RELAXED) ||
        then <= __atomic_load_n(&space.dry_until, __ATOMIC_RELAXED) ||
        ndirty >= 2 * n)
        return 0;
    return bytes(hak_max(n, OWED_LEAST));
}

void hak_space_reclaimed(size_t want_bytes, size_t got_bytes)
{
    if (got_bytes >= want_bytes / 2)
        return;
    size_t high = __atomic_load_n(&space.high, __ATOMIC_RELAXED);
    __atomic_store_n(&space.dry_until,
                     high + hak_max(OWED_LEAST, high / OWED_SHARE),
                     __ATOMIC_RELAXED);
}

size_t hak_space_owed(void)
{
    uint64_t owed = hak_counted(&space.owed);
    size_t high = __atomic_load_n(&space.high, __ATOMIC_RELAXED);
    if (likely(owed < hak_max(OWED_LEAST, high / OWED_SHARE)))
        return 0;
    return bytes(__atomic_exchange_n(&space.owed, 0, __ATOMIC_RELAXED));
}

/* ---- returning memory to the system ---------------------------------- */

/* Purge in pieces, so that other system calls of the process that wait for the
 * kernel's lock on mappings run in between. 0 or -errno. */
static int purge_pages(char *p, size_t size_bytes)
{
    const size_t piece = bytes(PURGE_PIECE_GRANULES);
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
    if (unmap && hak_os_unmap(address(g), bytes(n)))
        return UNMAPPED;
    int error = hak_os_purge(address(g), bytes(n));
    if (error == -EINVAL && space.ncuts < CUTS_MOST &&
        hak_os_unmap(address(g), bytes(n))) {
        space.ncuts++;
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
    size_t ndirty = hak_bits_count(space.dirty, g, n);
    hak_bits_clear(space.idle, g, n);
    hak_bits_clear(space.dirty, g, n);
    hak_bits_clear(space.old, g, n);
    set_used(g, n);
    hak_lock_drop(&space.lock);
    enum outcome outcome = give_to_system(g, n, unmap);
    hak_lock_take(&space.lock);
    clear_used(g, n);
    if (outcome == UNMAPPED)
        count_idle(-n);
    else
        hak_bits_set(space.idle, g, n);
    if (outcome == KEPT) {
        hak_bits_set(space.dirty, g, n);
        count_dirty(n - ndirty);
        return 0;
    }
    count_dirty(-ndirty);
    hak_count_shared(&space.figures.purged_bytes, (int64_t)bytes(ndirty));
    return ndirty;
}

/* Is the granule before g unmapped? Unmapping from g on then splits no mapping.
 * This holds for the rest of a run whose first pieces were unmapped. */
static bool is_behind_hole(size_t g)
{
    return g != 0 && !hak_bit(space.used, g - 1) && !hak_bit(space.idle, g - 1);
}

/*
 * Purge runs of the bitmap *which, a subset of idle, from granule *at on, until
 * `most` granules were tried. Runs of `idle` are unmapped in any case. Called
 * with purging held.
 * Returns the number of granules that were dirty. *at becomes the granule to go
 * on with, or HAK_BITS_NONE at the end of the bitmap.
 */
static size_t purge_some(uint64_t *const *which, size_t *at, size_t most)
{
    size_t done = 0, tried = 0;
    hak_lock_take(&space.lock);
    while (tried < most) {
        size_t g = hak_bits_next(*which, 0, *at, space.frontier);
        size_t run = hak_bits_next(*which, ~0ull, g, space.frontier) - g;
        *at = HAK_BITS_NONE;
        if (run == 0)
            break;
        size_t n = hak_min(hak_min(run, PIECE_GRANULES), most - tried);
        bool unmap = which == &space.idle || run >= UNMAP_GRANULES;
        done += purge_run(g, n, unmap || is_behind_hole(g));
        tried += n;
        *at = g + n;
    }
    hak_lock_drop(&space.lock);
    return done;
}

/* Purge all runs of the bitmap. purging is released now and then, for other
 * threads that purge and for forks. */
static size_t purge_all(uint64_t *const *which)
{
    size_t done = 0, at = 0;
    while (at != HAK_BITS_NONE) {
        hak_lock_take(&space.purging);
        done += purge_some(which, &at, TICK_MOST_GRANULES);
        hak_lock_drop(&space.purging);
    }
    return done;
}

/* The number of granules that a tick at this time purges: nold in proportion to
 * the time since the last tick. Later ticks purge the rest. */
static size_t tick_granules_at(uint64_t now_us)
{
    uint64_t passed_us = now_us - hak_min(now_us, space.last_us);
    uint64_t all_us = hak_max(space.purge_delay_ms * BACK_DELAYS * 1000, 1);
    size_t step = space.nold * hak_min(passed_us, all_us) / all_us;
    space.last_us = hak_max(now_us, space.last_us);
    return hak_min(hak_max(step, TICK_LEAST_GRANULES), TICK_MOST_GRANULES);
}

/* All that is dirty becomes old, and `high` decays towards the present value:
 * by 1/32 each time, a half-life of 22 calls, one second by default. Called
 * with purging held. */
static void age_dirty(uint64_t now_ms, uint64_t now_us)
{
    hak_lock_take(&space.lock);
    memcpy(space.old, space.dirty, HAK_BITS_WORDS(space.frontier) * 8);
    size_t above = space.high - hak_min(in_memory(), space.high);
    set_high(space.high - above / 32);
    __atomic_store_n(&space.dry_until, 0, __ATOMIC_RELAXED);
    tick_after(now_ms);
    space.nold = space.ndirty;
    hak_lock_drop(&space.lock);
    space.last_us = now_us + space.purge_delay_ms * 1000 / 2;
}

/* Purge old granules if it is time, at least so many. Returns at once if
 * another thread is purging. */
static void purge_if_due(size_t least)
{
    if (__atomic_load_n(&space.ndirty, __ATOMIC_RELAXED) == 0)
        return;
    uint64_t now_ms = hak_os_now_ms();
    if (now_ms < __atomic_load_n(&space.next_tick_ms, __ATOMIC_RELAXED) ||
        !hak_lock_try(&space.purging))
        return;
    uint64_t now_us = hak_os_now_us();
    size_t at = 0;
    purge_some(&space.old, &at, hak_max(tick_granules_at(now_us), least));
    if (at == HAK_BITS_NONE)
        age_dirty(now_ms, now_us);
    hak_lock_drop(&space.purging);
}

void hak_space_tick(void)
{
    purge_if_due(0);
}

size_t hak_space_trim(void)
{
    return bytes(purge_all(&space.dirty));
}

size_t hak_space_shrink(size_t want_bytes)
{
    size_t at = 0, done = 0;
    if (__atomic_load_n(&space.ndirty, __ATOMIC_RELAXED) == 0)
        return 0;
    hak_lock_take(&space.purging);
    done = purge_some(&space.dirty, &at, granules(want_bytes));
    lower_high(done);
    hak_lock_drop(&space.purging);
    return bytes(done);
}

int hak_space_purge(void *p, size_t size_bytes)
{
    int error = purge_pages(p, size_bytes);
    if (error == 0)
        hak_count_shared(&space.figures.purged_bytes, (int64_t)size_bytes);
    return error;
}

/* ---- taking ------------------------------------------------------------ */

/* The run [g, g + n), which was in flight, is mapped and free now. lock held.
 */
static void add_idle(size_t g, size_t n)
{
    clear_used(g, n);
    hak_bits_set(space.idle, g, n);
    count_idle(n);
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
        hak_lock_drop(&space.lock);
        int error = hak_os_map_at(address(i), HAK_GRANULE_BYTES);
        hak_lock_take(&space.lock);
        if (error == 0) {
            add_idle(i, 1);
        } else if (error != -EEXIST) {
            clear_used(i, g + n - i);
            return error;
        }
    }
    return -EEXIST;
}

/* How many granules to map in addition, behind the run [g, g + n): an eighth of
 * frontier if the run reaches the frontier, else none. */
static size_t ahead_of(size_t g, size_t n)
{
    if (g + n < space.frontier || space.locked)
        return 0;
    size_t want = hak_min(hak_max(space.frontier / 8, GROW_LEAST_GRANULES),
                          GROW_MOST_GRANULES);
    return hak_min(hak_max(want, n), space.nbits - g) - n;
}

static int map_pages(size_t g, size_t n)
{
    if (!hak_directory_ready(address(g), bytes(n)))
        return -ENOMEM;
    return hak_os_map_at(address(g), bytes(n));
}

/*
 * The run [g, g + all) has just been mapped, and n granules of it were wanted.
 * If the program has locked its memory (mlockall), all of the run is in memory
 * now, so the part behind n is unmapped. Locked memory is recognised by the
 * kernel's refusal to purge it. Returns the number of granules that stay.
 */
static size_t keep_unless_locked(size_t g, size_t n, size_t all)
{
    if (all == n && !space.locked)
        return n;
    char *last = address(g + all - 1);
    space.locked = hak_os_purge(last, HAK_GRANULE_BYTES) == -EINVAL;
    bool gone =
        space.locked && all > n && hak_os_unmap(address(g + n), bytes(all - n));
    return gone ? n : all;
}

/* Map the run [g, g + n), which is neither mapped nor used, and more behind it
 * at the frontier. 0: it is idle now; -errno as from map_each. */
static int map_run(size_t g, size_t n)
{
    const size_t most = n + ahead_of(g, n), frontier = space.frontier;
    size_t all = most;
    set_used(g, most);
    space.frontier = hak_max(frontier, g + most);
    hak_lock_drop(&space.lock);
    int error = map_pages(g, all);
    if (error != 0 && all > n) {
        all = n;
        error = map_pages(g, all);
    }
    if (error == 0)
        all = keep_unless_locked(g, n, all);
    hak_lock_take(&space.lock);
    clear_used(g + all, most - all);
    space.frontier = hak_max(frontier, g + all);
    if (error == 0)
        add_idle(g, all);
    else if (error == -EEXIST)
        return map_each(g, n);
    else
        clear_used(g, n);
    return error;
}

/*
 * Map the first unmapped part of the free run [g, g + n).
 * Returns 1: all of the run is mapped; 0: a part was mapped, and the caller
 * searches again, since lock was released; -errno as from map_each
 */
static int map_missing(size_t g, size_t n)
{
    size_t at = hak_bits_next(space.idle, ~0ull, g, g + n);
    if (at == g + n)
        return 1;
    return map_run(at, hak_bits_next(space.idle, 0, at, g + n) - at);
}

/* Raise the peak of mapped memory. Any thread, lock not needed. */
static void count_peak(void)
{
    hak_count_peak(
        &space.figures.mapped_peak_bytes,
        bytes(hak_counted(&space.nused) + hak_counted(&space.nidle)) +
            hak_counted(&space.open_bytes));
}

/* The idle run [g, g + n) becomes used by a box. Returns the smallest run that
 * contains all of its dirty granules. lock held. */
static struct run use_idle_run(size_t g, size_t n)
{
    struct run dirty = {g, 0};
    if (space.ndirty != 0) {
        size_t end = hak_bits_next(space.dirty, 0, g, g + n);
        dirty.g = end;
        while (end < g + n) {
            size_t stop = hak_bits_next(space.dirty, ~0ull, end, g + n);
            dirty.n = stop - dirty.g;
            count_dirty(end - stop);
            end = hak_bits_next(space.dirty, 0, stop, g + n);
        }
        hak_bits_clear(space.dirty, g, n);
        hak_bits_clear(space.old, g, n);
    }
    hak_bits_clear(space.idle, g, n);
    set_used(g, n);
    count_idle(-n);
    hak_count(&space.nused, n);
    count_growth();
    count_peak();
    return dirty;
}

/* Make a run read zero that only the caller uses. No lock is held. */
static void make_zero(struct run dirty)
{
    if (dirty.n != 0 && purge_pages(address(dirty.g), bytes(dirty.n)) != 0)
        memset(address(dirty.g), 0, bytes(dirty.n));
}

/* Find a mapped, free run. A dirty one is preferred, since its pages are in
 * memory already; not if the memory has to read zero. lock held. */
static size_t find_idle(size_t n, size_t align, bool zero)
{
    size_t g = HAK_BITS_NONE;
    if (space.nidle < n)
        return g;
    if (!zero && space.ndirty >= n)
        g = hak_bits_run(space.dirty, 0, space.free_hint, space.frontier, n,
                         align);
    if (g != HAK_BITS_NONE)
        return g;
    return hak_bits_run(space.idle, 0, space.free_hint, space.frontier, n,
                        align);
}

/* Find a mapped, free run, else any free one. lock held. */
static size_t find_free(size_t n, size_t align)
{
    size_t g = find_idle(n, align, false);
    if (g == HAK_BITS_NONE)
        g = hak_bits_run(space.used, ~0ull, space.free_hint, space.nbits, n,
                         align);
    return g;
}

static size_t take_mapped(size_t n, size_t align, bool zero, struct run *dirty)
{
    hak_lock_take(&space.lock);
    size_t g = find_idle(n, align, zero);
    if (g != HAK_BITS_NONE)
        *dirty = use_idle_run(g, n);
    hak_lock_drop(&space.lock);
    return g;
}

/* Map a run and take it. Another thread may take what was mapped here while
 * lock is released, so the search begins again after each system call. */
static size_t map_and_take(size_t n, size_t align, struct run *dirty)
{
    size_t g;
    hak_lock_take(&space.mapping);
    make_room(n, align);
    hak_lock_take(&space.lock);
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
    hak_lock_drop(&space.lock);
    hak_lock_drop(&space.mapping);
    return g;
}

/*
 * Take a run of n granules; *dirty gets the result of use_idle_run. Prefer a
 * run that is already mapped. Mapping may fail under a limit on address space,
 * because free granules still count until they are unmapped. So all idle
 * granules are unmapped then, and the run is tried once more.
 * Returns its first granule, or HAK_BITS_NONE.
 */
static size_t take_run(size_t n, size_t align, bool zero, struct run *dirty)
{
    size_t g = take_mapped(n, align, zero, dirty);
    if (g == HAK_BITS_NONE)
        g = map_and_take(n, align, dirty);
    if (g == HAK_BITS_NONE) {
        purge_all(&space.idle);
        g = map_and_take(n, align, dirty);
    }
    return g;
}

void *hak_space_take(size_t size_bytes, size_t align_bytes, uint32_t flags)
{
    size_t n = granules(size_bytes);
    size_t align = hak_max(granules(align_bytes), 1);
    struct run dirty;
    if (n == 0 || n > space.ngranules || align_bytes > BASE_ALIGN_BYTES)
        return NULL;
    hak_space_tick();
    size_t g = take_run(n, align, (flags & HAK_MAP_ZERO) != 0, &dirty);
    if (g == HAK_BITS_NONE)
        return NULL;
    hak_count_shared(&space.figures.maps, 1);
    if (flags & HAK_MAP_ZERO)
        make_zero(dirty);
    if (flags & HAK_MAP_HUGE)
        hak_os_huge(address(g), size_bytes);
    return address(g);
}

static void release_used(size_t g, size_t n)
{
    clear_used(g, n);
    hak_count(&space.nused, -n);
}

/* The used run [g, g + n), which is mapped, becomes free and dirty. lock held.
 */
static void free_used_run(size_t g, size_t n)
{
    release_used(g, n);
    hak_bits_set(space.idle, g, n);
    hak_bits_set(space.dirty, g, n);
    count_idle(n);
    if (space.ndirty == 0) /* the first dirty run starts the purge delay */
        tick_after(hak_os_now_ms());
    count_dirty(n);
}

/* The number of dirty granules above the limit. lock held. */
static size_t excess_dirty(void)
{
    size_t most = (space.nused + space.nidle) / DIRTY_MOST_DIVISOR;
    most = hak_max(most, DIRTY_MOST_GRANULES);
    return space.ndirty > most ? space.ndirty - most : 0;
}

static void give_at_once(size_t n)
{
    size_t at = 0;
    if (n == 0 || !hak_lock_try(&space.purging))
        return;
    purge_some(&space.dirty, &at, n);
    hak_lock_drop(&space.purging);
}

/* The calling thread purges in proportion to what it gives back. */
void hak_space_give(void *p, size_t size_bytes)
{
    size_t g = granules((size_t)((char *)p - space.base));
    size_t n = granules(size_bytes), mine = hak_max(n * 2, GIVE_GRANULES);
    hak_lock_take(&space.lock);
    free_used_run(g, n);
    size_t more = hak_min(excess_dirty(), mine);
    hak_lock_drop(&space.lock);
    hak_count_shared(&space.figures.unmaps, 1);
    give_at_once(more);
    purge_if_due(mine);
}

/* ---- growing ---- */

/* Take exactly the run [g, g + n) if it is free. It will read zero. */
static bool take_at(size_t g, size_t n)
{
    struct run dirty = {g, 0};
    int done = 0;
    hak_lock_take(&space.mapping);
    make_room(n, 1);
    hak_lock_take(&space.lock);
    while (done == 0 && g + n <= space.nbits &&
           hak_bits_next(space.used, 0, g, g + n) == g + n)
        done = map_missing(g, n);
    if (done == 1)
        dirty = use_idle_run(g, n);
    hak_lock_drop(&space.lock);
    hak_lock_drop(&space.mapping);
    make_zero(dirty);
    return done == 1;
}

/* Move a run to another place by mremap. The old run is unmapped by that.
 * Returns the new address; NULL: nothing has changed for the caller. */
static void *move_to_new_run(size_t g, size_t old_n, size_t new_n)
{
    struct run overwritten;
    size_t to = take_run(new_n, 1, true, &overwritten);
    if (to == HAK_BITS_NONE)
        return NULL;
    hak_lock_take(&space.mapping);
    bool moved =
        hak_os_move(address(g), bytes(old_n), address(to), bytes(new_n));
    bool is_mapped = moved || hak_os_is_mapped(address(to));
    hak_lock_take(&space.lock);
    if (moved)
        release_used(g, old_n);
    else if (is_mapped)
        free_used_run(to, new_n);
    else
        release_used(to, new_n); /* mremap unmapped the target, then failed */
    hak_lock_drop(&space.lock);
    hak_lock_drop(&space.mapping);
    return moved ? address(to) : NULL;
}

void *hak_space_move(void *p, size_t old_bytes, size_t new_bytes)
{
    size_t g = granules((size_t)((char *)p - space.base));
    size_t old_n = granules(old_bytes), new_n = granules(new_bytes);
    if (new_n > space.ngranules)
        return NULL;
    if (new_n > old_n && !take_at(g + old_n, new_n - old_n))
        return move_to_new_run(g, old_n, new_n);
    if (new_n < old_n)
        hak_space_give(address(g + new_n), bytes(old_n - new_n));
    return p;
}

/* ---- reserving ---- */

/* Find a run that is neither used nor mapped. HAK_BITS_NONE: there is none.
 * lock held. */
static size_t find_unmapped(size_t n, size_t align)
{
    size_t g = space.free_hint;
    for (;;) {
        g = hak_bits_run(space.used, ~0ull, g, space.nbits, n, align);
        if (g == HAK_BITS_NONE)
            return g;
        size_t idle = hak_bits_next(space.idle, 0, g, g + n);
        if (idle == g + n)
            return g;
        g = hak_bits_next(space.idle, ~0ull, idle, space.nbits);
    }
}

static size_t hold_unmapped(size_t n, size_t align)
{
    hak_lock_take(&space.mapping);
    make_room(n, align);
    hak_lock_take(&space.lock);
    size_t g = find_unmapped(n, align);
    if (g != HAK_BITS_NONE) {
        set_used(g, n);
        space.frontier = hak_max(space.frontier, g + n);
    }
    hak_lock_drop(&space.lock);
    if (g != HAK_BITS_NONE && !hak_directory_ready(address(g), bytes(n))) {
        hak_lock_take(&space.lock);
        clear_used(g, n);
        hak_lock_drop(&space.lock);
        g = HAK_BITS_NONE;
    }
    hak_lock_drop(&space.mapping);
    return g;
}

void *hak_space_reserve(size_t size_bytes, size_t align_bytes)
{
    size_t n = granules(size_bytes);
    size_t align = hak_max(granules(align_bytes), 1);
    if (n == 0 || n > space.ngranules || align_bytes > BASE_ALIGN_BYTES)
        return NULL;
    size_t g = hold_unmapped(n, align);
    if (g == HAK_BITS_NONE) {
        purge_all(&space.idle);
        g = hold_unmapped(n, align);
    }
    if (g == HAK_BITS_NONE)
        return NULL;
    hak_count_shared(&space.figures.maps, 1);
    return address(g);
}

void hak_space_unreserve(void *p, size_t size_bytes)
{
    hak_lock_take(&space.lock);
    clear_used(granules((size_t)((char *)p - space.base)),
               granules(size_bytes));
    hak_lock_drop(&space.lock);
    hak_count_shared(&space.figures.unmaps, 1);
}

/* Mapping may fail under a limit on address space, because free granules that
 * are mapped count. So they are unmapped, and it is tried once more. */
int hak_space_open(void *p, size_t size_bytes, bool now)
{
    int (*map)(void *, size_t) = now ? hak_os_populate_at : hak_os_map_at;
    int error = map(p, size_bytes);
    if (error != 0 && error != -EEXIST && hak_counted(&space.nidle) != 0) {
        purge_all(&space.idle);
        error = map(p, size_bytes);
    }
    if (error != 0)
        return error == -EEXIST ? error : -ENOMEM;
    hak_count_shared(&space.open_bytes, (int64_t)size_bytes);
    count_peak();
    return 0;
}

/* A long range is purged first, in pieces, because unmapping a range without
 * pages in memory takes the kernel little time. */
bool hak_space_close(void *p, size_t size_bytes)
{
    if (size_bytes > bytes(PURGE_PIECE_GRANULES))
        purge_pages(p, size_bytes);
    bool closed = hak_os_unmap(p, size_bytes);
    if (!closed && purge_pages(p, size_bytes) != 0)
        return false;
    if (closed)
        hak_count_shared(&space.open_bytes, -(int64_t)size_bytes);
    hak_count_shared(&space.figures.purged_bytes, (int64_t)size_bytes);
    return closed;
}

void hak_space_read(struct hak_space_figures *out)
{
    hak_lock_take(&space.lock);
    out->mapped_peak_bytes = hak_counted(&space.figures.mapped_peak_bytes);
    out->maps = hak_counted(&space.figures.maps);
    out->unmaps = hak_counted(&space.figures.unmaps);
    out->purged_bytes = hak_counted(&space.figures.purged_bytes);
    out->used_bytes = bytes(space.nused) + hak_counted(&space.open_bytes);
    out->free_bytes = bytes(space.nidle);
    hak_lock_drop(&space.lock);
}
