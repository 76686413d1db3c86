/* SPDX-License-Identifier: MIT
 * window.h - the window: its granules, bitmaps and locks; for core/memory/.
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
 *
 *     window.c    keeps bitmaps and counters, and measures growth
 *     take.c      hands out runs of granules, takes them back, moves them
 *     purge.c     gives memory back to the system
 *     resident.c  asks the kernel how much of the window is in memory
 *     reserve.c   hands out address space without memory
 */
#ifndef HAKMEM_MEMORY_WINDOW_H
#define HAKMEM_MEMORY_WINDOW_H

#include <base/meta.h>
#include <base/os.h>
#include <core/memory/directory.h>
#include <core/memory/space.h>
#include <kit/bits.h>
#include <kit/sync.h>

#pragma GCC visibility push(hidden)

enum {
    HAK_GROW_MOST_GRANULES = 512, /* 32 MiB: most that is mapped ahead */
    /* 16 MiB: the most that one system call purges of what a box has. Page
     * faults of other threads go on during a purge, and much of what boxes
     * purge is not in memory. */
    HAK_PURGE_PIECE_GRANULES = 256,
};

/* The largest alignment of a request. The window's base is a multiple of it. */
#define HAK_BASE_ALIGN_BYTES ((size_t)4 << 30)

/* Guarded by lock, unless a member says otherwise. base and
 * ngranules are set at start. */
struct hak_window {
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
    /* Atomic. The smaller of the first two counts. */
    uint64_t purge_delay_ms, purge_delay_most_ms, next_tick_ms;
    size_t nold;      /* granules that aged last time; guarded by purging */
    uint64_t last_us; /* time of the last tick; guarded by purging */
    struct hak_space_figures figures; /* atomic */
};
extern struct hak_window hak_window;

/* Granules [g, g + n). */
struct hak_run {
    size_t g, n;
};

/* Bytes as a number of granules, rounded down. */
static inline size_t hak_window_granules(size_t size_bytes)
{
    return size_bytes >> HAK_GRANULE_SHIFT;
}

static inline char *hak_window_address(size_t g)
{
    return hak_window.base + (g << HAK_GRANULE_SHIFT);
}

static inline size_t hak_window_bytes(size_t n)
{
    return n << HAK_GRANULE_SHIFT;
}

/* ---- window.c: the caller holds lock, unless a comment says otherwise ---- */

/*
 * Enlarge the bitmaps so that they cover any run of n granules and what is
 * mapped ahead of it. They cover the part of the window that is in use, because
 * in a program that locks its memory all of a bitmap is in memory. The old
 * bitmaps are not freed; together they are smaller than the new ones. If there
 * is no memory, the window ends at nbits. The caller holds mapping, not lock.
 */
void hak_window_make_room(size_t n, size_t align);

/* ndirty, nidle and next_tick_ms are written with the lock held, and read
 * without it to see whether taking it is worthwhile. The first two are changed
 * by `more` granules, the third is set to half a purge delay from now. */
void hak_window_count_dirty(size_t more);
void hak_window_count_idle(size_t more);
void hak_window_tick_after(uint64_t now_ms);

/* Set or clear the bits in `used` of the run [g, g + n). */
void hak_window_set_used(size_t g, size_t n);
void hak_window_clear_used(size_t g, size_t n);

/* An upper bound of the granules in memory: those that boxes use, and dirty
 * ones. */
size_t hak_window_in_memory(void);

void hak_window_set_high(size_t high);

/* Boxes got more granules: raise `high`, and let the difference be owed. */
void hak_window_count_growth(void);

/* n granules were purged because of growth. Lower `high` by as much, so that
 * growth over the same range counts again. The caller does not hold lock. */
void hak_window_lower_high(size_t n);

/* ---- purge.c ---- */

/* Count a purge that was done, or that the kernel refused. */
static inline void hak_window_count_purge(bool done)
{
    hak_count_shared(done ? &hak_window.figures.purges
                          : &hak_window.figures.purges_refused,
                     1);
}

/* Purge in pieces, so that other system calls of the process that wait for the
 * kernel's lock on mappings run in between. 0 or -errno. */
int hak_window_purge_pages(char *p, size_t size_bytes);

/*
 * Purge runs of the bitmap *which, a subset of idle, from granule *at on, until
 * `most` granules were tried. Runs of `idle` are unmapped in any case. Called
 * with purging held.
 * Returns the number of granules that were dirty. *at becomes the granule to go
 * on with, or HAK_BITS_NONE at the end of the bitmap.
 */
size_t hak_window_purge_some(uint64_t *const *which, size_t *at, size_t most);

/* Purge all runs of the bitmap. purging is released now and then, for other
 * threads that purge and for forks. */
size_t hak_window_purge_all(uint64_t *const *which);

/* Purge old granules if it is time, at least so many. Returns at once if
 * another thread is purging. */
void hak_window_purge_if_due(size_t least);

/* ---- take.c ---- */

/* Raise the peak of mapped memory. Any thread, lock not needed. */
void hak_window_count_peak(void);

#pragma GCC visibility pop

#endif
