/* SPDX-License-Identifier: MIT
 * space.c - the window: the one range of addresses that boxes live in.
 *
 * Granules of 64 KiB, and four bitmaps over them:
 *
 *     used            in the hands of a box, mapped or reserved; or in flight
 *     idle            free, mapped               used & idle == 0
 *     dirty <= idle   free, mapped, holds pages that somebody wrote
 *     old   <= dirty  was dirty at the last tick already
 *
 * A granule in none of them is not mapped. Nor is one that a box has reserved,
 * but for the pages of it that the box has opened: what the rest costs is
 * addresses and nothing else, neither memory nor a mapping of the kernel's,
 * and every access of it faults. What a box gives back becomes
 * dirty; every half purge delay what is still `old` begins to go back to the
 * system and the rest ages, so a granule waits between half a delay and a
 * whole one. Short runs are purged in place (MADV_DONTNEED), long ones are
 * unmapped, which gives address space back too.
 *
 * Placement is first fit from the low end, mapped granules first (for what is
 * reserved, unmapped ones only): what is freed at the high end gets its chance
 * to go. The window's base is random.
 *
 * Locks. `lock` guards the bitmaps and what is counted, and no system call is
 * made under it: the kernel may take long, for gigabytes or behind another
 * call of the process, and a thread that finds what it needs in the bitmaps
 * has no reason to wait for that. A granule that a system call is just made
 * for is in flight: it is in `used` alone, so nobody else finds it. Who makes
 * such calls holds `mapping` or `purging` around them, never both, and takes
 * `lock` inside. The forking thread takes all three, so that nothing is in
 * flight in a child.
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
    GROW_LEAST_GRANULES = 16, /* 1 MiB: mapped ahead at the frontier */
    GROW_MOST_GRANULES = 512, /* 32 MiB */
    /*
     * What one system call gives back: the kernel keeps other calls of the
     * process waiting that change its mappings. A purge lets page faults go
     * on, and boxes purge much that is not in memory.
     */
    PIECE_GRANULES = 64,        /* 4 MiB */
    PURGE_PIECE_GRANULES = 256, /* 16 MiB */
    /*
     * What one tick gives back, since any thread's malloc may make it: by the
     * time since the last one, so that all of it is back in BACK_DELAYS purge
     * delays. A thread that gives: twice of that, and GIVE_GRANULES, at least;
     * and at once, beyond DIRTY_MOST_GRANULES and a sixteenth of what is
     * mapped, so that little is left to others.
     */
    TICK_LEAST_GRANULES = 4,  /* 256 KiB */
    TICK_MOST_GRANULES = 512, /* 32 MiB */
    BACK_DELAYS = 3,
    GIVE_GRANULES = 32,         /* 2 MiB */
    DIRTY_MOST_GRANULES = 8192, /* 512 MiB */
    DIRTY_MOST_DIVISOR = 16,
    /* Growth is paid for when it comes to a 16th of all, or 1 MiB. */
    OWED_LEAST = 16,
    OWED_SHARE = 16,
    LEAST_BITS = 32768, /* 2 GiB, a page of each bitmap */
    CUTS_MOST = 8192,   /* of the 65530 mappings of a process */
};

static struct {
    struct hak_lock lock;
    struct hak_lock mapping; /* held by who maps or moves, over the call */
    struct hak_lock purging; /* held by who gives back, over the call */
    char *base;
    size_t ngranules;
    uint64_t *used, *idle, *dirty, *old; /* of nbits each */
    size_t nbits;     /* so far, what is behind is free; frontier <= nbits */
    size_t frontier;  /* no granule from here on was ever mapped or reserved;
                         changes under mapping and lock */
    size_t free_hint; /* every granule below is used */
    uint64_t nidle, nused; /* mapped; used does not count what is reserved, and
                              idle counts what is on its way to the system */
    size_t ndirty;         /* likewise */
    bool locked;           /* what is mapped is in memory at once; mapping */
    uint32_t ncuts;        /* of what is locked, ever; purging */
    size_t high;           /* most of nused + ndirty of late */
    size_t dry_until;      /* below so many granules nobody is asked; atomic */
    uint64_t owed;         /* granules that it rose by, to be paid; atomic */
    uint64_t open_bytes;   /* of what is reserved; atomic */
    uint64_t purge_delay_ms, next_tick_ms;
    size_t nold;      /* how much was old when it began to go; purging */
    uint64_t last_us; /* when ticks last gave of it; purging */
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
    return (uintptr_t)(low + hak_random() % room * BASE_ALIGN_BYTES);
}

/* Bitmaps of so many bits, with what is in those of now. False = no memory. */
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
 * Let there be bits for any run of n, and for what is mapped ahead of it. They
 * are as many as are in use rather than as the window has: a program that locks
 * its memory has all of them in it. The old ones are not given back, and come
 * to less than the new ones. Called with mapping; without memory the window
 * ends earlier.
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
 * Who holds mapping or purging may wait for `lock`. A signal handler's fork
 * that has interrupted its own thread where that holds `lock` must not wait
 * for them, then: what other threads have in flight stays `used` in the child.
 */
static void lock_calls(struct hak_lock *calls, enum hak_fork_phase phase)
{
    bool mine = hak_lock_is_mine(calls);
    bool waits =
        !hak_lock_is_mine(&space.lock) || hak_lock_is_whole(&space.lock);
    if (mine || (phase == HAK_FORK_PREPARE && waits))
        hak_lock_fork(calls, phase);
    else if (phase == HAK_FORK_CHILD)
        *calls = (struct hak_lock){0}; /* of a thread that is not here */
}

void hak_space_lock(enum hak_fork_phase phase)
{
    lock_calls(&space.mapping, phase);
    lock_calls(&space.purging, phase);
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

/* The run [g, g + n), which is not used, becomes used, and free again. */
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

/* ---- growth ---------------------------------------------------------------
 */

/* At most: granules that boxes hold, or held and wrote to. */
static size_t in_memory(void)
{
    return space.nused + space.ndirty;
}

static void set_high(size_t high)
{
    __atomic_store_n(&space.high, high, __ATOMIC_RELAXED);
}

/* lock held: boxes got more. */
static void count_growth(void)
{
    size_t now = in_memory();
    if (now <= space.high)
        return;
    hak_count_shared(&space.owed, (int64_t)(now - space.high));
    set_high(now);
}

/* So much went for growth: what grows again is to be paid for again. */
static void pay(size_t n)
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

/* In pieces, between which other calls of the process get their turn. */
static int purge_pages(char *p, size_t size_bytes)
{
    const size_t piece = bytes(PURGE_PIECE_GRANULES);
    int error = 0;
    for (size_t at = 0; error == 0 && at < size_bytes; at += piece)
        error = hak_os_purge(p + at, hak_min(size_bytes - at, piece));
    return error;
}

enum outcome { KEPT, PURGED, UNMAPPED };

/* Pages that the program has locked cannot be purged. They can be unmapped, but
 * that may cost a mapping, of which a process has so many and no more. */
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
 * Give the idle run [g, g + n) back. Called with purging and lock, which is let
 * go meanwhile. Returns how much of it was dirty, or 0 when the kernel took
 * nothing: then it waits anew.
 */
static size_t purge_run(size_t g, size_t n, bool unmap)
{
    size_t ndirty = hak_bits_count(space.dirty, g, n);
    hak_bits_clear(space.idle, g, n);
    hak_bits_clear(space.dirty, g, n);
    hak_bits_clear(space.old, g, n);
    hold(g, n);
    hak_lock_drop(&space.lock);
    enum outcome outcome = give_to_system(g, n, unmap);
    hak_lock_take(&space.lock);
    let_go(g, n);
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

/* To unmap what follows takes no more mappings. So does the rest of a run whose
 * first pieces were unmapped. */
static bool is_behind_hole(size_t g)
{
    return g != 0 && !hak_bit(space.used, g - 1) && !hak_bit(space.idle, g - 1);
}

/*
 * Give back the runs of *which, a subset of idle, from *at on, until `most`
 * granules were tried. Called with purging. Returns how much was dirty; *at is
 * where to go on, HAK_BITS_NONE when that was all.
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

/* All of it; others that give back, and forks, get their turn in between. */
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

/* How much a tick gives back. What is left over, the next ones go on with. */
static size_t step_at(uint64_t now_us)
{
    uint64_t passed_us = now_us - hak_min(now_us, space.last_us);
    uint64_t all_us = hak_max(space.purge_delay_ms * BACK_DELAYS * 1000, 1);
    size_t step = space.nold * hak_min(passed_us, all_us) / all_us;
    space.last_us = hak_max(now_us, space.last_us);
    return hak_min(hak_max(step, TICK_LEAST_GRANULES), TICK_MOST_GRANULES);
}

/* The highest of late has a half-life of 22 looks, a second by default. */
static void age(uint64_t now_ms, uint64_t now_us)
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

static void tick(size_t least)
{
    if (__atomic_load_n(&space.ndirty, __ATOMIC_RELAXED) == 0)
        return;
    uint64_t now_ms = hak_os_now_ms();
    if (now_ms < __atomic_load_n(&space.next_tick_ms, __ATOMIC_RELAXED) ||
        !hak_lock_try(&space.purging))
        return;
    uint64_t now_us = hak_os_now_us();
    size_t at = 0;
    purge_some(&space.old, &at, hak_max(step_at(now_us), least));
    if (at == HAK_BITS_NONE)
        age(now_ms, now_us);
    hak_lock_drop(&space.purging);
}

void hak_space_tick(void)
{
    tick(0);
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
    pay(done);
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

/* The run [g, g + n), which was in flight, is mapped and free now. */
static void add_idle(size_t g, size_t n)
{
    let_go(g, n);
    hak_bits_set(space.idle, g, n);
    count_idle(n);
}

/*
 * Somebody else has mapped in [g, g + n), which is in flight: map the granules
 * that can be, the others stay used. -EEXIST, or -ENOMEM: some may be either.
 * Called, as what follows, with mapping and lock, which is let go meanwhile.
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
            let_go(i, g + n - i);
            return error;
        }
    }
    return -EEXIST;
}

/* How much to map besides [g, g + n), behind it. */
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
 * In a program that has locked its memory (mlockall), [g, g + all) is not only
 * mapped now but in memory, all of it: what is behind n goes again. The kernel
 * tells by refusing to purge. Returns how much stays.
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

/* Map [g, g + n), none of it mapped or used; more ahead of it at the frontier.
 */
static int map_run(size_t g, size_t n)
{
    const size_t most = n + ahead_of(g, n), frontier = space.frontier;
    size_t all = most;
    hold(g, most);
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
    let_go(g + all, most - all);
    space.frontier = hak_max(frontier, g + all);
    if (error == 0)
        add_idle(g, all);
    else if (error == -EEXIST)
        return map_each(g, n);
    else
        let_go(g, n);
    return error;
}

/* Map what is missing first in the free run [g, g + n). 0: there is more to
 * look for, and it may not be free any more; 1: nothing is missing. */
static int map_missing(size_t g, size_t n)
{
    size_t at = hak_bits_next(space.idle, ~0ull, g, g + n);
    if (at == g + n)
        return 1;
    return map_run(at, hak_bits_next(space.idle, 0, at, g + n) - at);
}

/* Of all that is mapped. Any thread, without the lock. */
static void count_peak(void)
{
    hak_count_peak(
        &space.figures.mapped_peak_bytes,
        bytes(hak_counted(&space.nused) + hak_counted(&space.nidle)) +
            hak_counted(&space.open_bytes));
}

/* The free, mapped run [g, g + n) becomes used. Returns the least run that has
 * all in it that is dirty. */
static struct run claim(size_t g, size_t n)
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
    hold(g, n);
    count_idle(-n);
    hak_count(&space.nused, n);
    count_growth();
    count_peak();
    return dirty;
}

/* What is the caller's alone will read zero. No lock is held. */
static void wipe(struct run dirty)
{
    if (dirty.n != 0 && purge_pages(address(dirty.g), bytes(dirty.n)) != 0)
        memset(address(dirty.g), 0, bytes(dirty.n));
}

/* What holds pages already comes first, but for what has to read zero. */
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

/* A run that is mapped already, else any free one. */
static size_t find(size_t n, size_t align)
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
        *dirty = claim(g, n);
    hak_lock_drop(&space.lock);
    return g;
}

/* Others may take what was mapped for this: then it is looked for again. */
static size_t map_and_take(size_t n, size_t align, struct run *dirty)
{
    size_t g;
    hak_lock_take(&space.mapping);
    make_room(n, align);
    hak_lock_take(&space.lock);
    while ((g = find(n, align)) != HAK_BITS_NONE) {
        int done = map_missing(g, n);
        if (done == 1) {
            *dirty = claim(g, n);
            break;
        }
        if (done != 0 && done != -EEXIST) { /* that is not free any more */
            g = HAK_BITS_NONE;
            break;
        }
    }
    hak_lock_drop(&space.lock);
    hak_lock_drop(&space.mapping);
    return g;
}

/*
 * n granules; *dirty is what claim returned. A tight limit on address space
 * sets what was mapped ahead, waits for its purge or is in flight against us,
 * hence the second try.
 */
static size_t take(size_t n, size_t align, bool zero, struct run *dirty)
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
    size_t g = take(n, align, (flags & HAK_MAP_ZERO) != 0, &dirty);
    if (g == HAK_BITS_NONE)
        return NULL;
    hak_count_shared(&space.figures.maps, 1);
    if (flags & HAK_MAP_ZERO)
        wipe(dirty);
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

/* Called with lock. How much more is dirty than may wait. */
static size_t excess(void)
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

/* Who gives much pays for much. */
void hak_space_give(void *p, size_t size_bytes)
{
    size_t g = granules((size_t)((char *)p - space.base));
    size_t n = granules(size_bytes), mine = hak_max(n * 2, GIVE_GRANULES);
    hak_lock_take(&space.lock);
    put_back(g, n);
    size_t more = hak_min(excess(), mine);
    hak_lock_drop(&space.lock);
    hak_count_shared(&space.figures.unmaps, 1);
    give_at_once(more);
    tick(mine);
}

/* ---- growing ---- */

/* Take exactly [g, g + n) if it is free; it will read zero. */
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
        dirty = claim(g, n);
    hak_lock_drop(&space.lock);
    hak_lock_drop(&space.mapping);
    wipe(dirty);
    return done == 1;
}

/* mremap to a fresh place; the old range is not mapped any more. */
static void *move(size_t g, size_t old_n, size_t new_n)
{
    struct run overwritten;
    size_t to = take(new_n, 1, true, &overwritten);
    if (to == HAK_BITS_NONE)
        return NULL;
    hak_lock_take(&space.mapping);
    bool moved =
        hak_os_move(address(g), bytes(old_n), address(to), bytes(new_n));
    bool is_mapped = moved || hak_os_is_mapped(address(to));
    hak_lock_take(&space.lock);
    if (moved)
        release(g, old_n);
    else if (is_mapped)
        put_back(to, new_n);
    else
        release(to, new_n); /* the kernel made room there, and no more */
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
        return move(g, old_n, new_n);
    if (new_n < old_n)
        hak_space_give(address(g + new_n), bytes(old_n - new_n));
    return p;
}

/* ---- reserving ---- */

/* A run of n that is neither used nor mapped, or HAK_BITS_NONE. */
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
        hold(g, n);
        space.frontier = hak_max(space.frontier, g + n);
    }
    hak_lock_drop(&space.lock);
    if (g != HAK_BITS_NONE && !hak_directory_ready(address(g), bytes(n))) {
        hak_lock_take(&space.lock);
        let_go(g, n);
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
    let_go(granules((size_t)((char *)p - space.base)), granules(size_bytes));
    hak_lock_drop(&space.lock);
    hak_count_shared(&space.figures.unmaps, 1);
}

/* Under a limit on address space, free granules that are mapped may be what
 * lacks: hence the second try. */
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

/* Of much the pages go first, in pieces: to unmap none takes the kernel little.
 */
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
