/* SPDX-License-Identifier: MIT
 * directory.h - the owner directory, granule -> span, and how it is read.
 */
#ifndef HAKMEM_STATE_DIRECTORY_H
#define HAKMEM_STATE_DIRECTORY_H

#include <kit/base.h>

#pragma GCC visibility push(hidden)

/*
 * base        address of the window
 * limit       granules of the window for the inline paths of free() and
 *             realloc(). It is 0 until the core is ready, and as long as each
 *             of these calls has to take the slow path (free_route = owns,
 *             verify = yes, calls are watched). Changed by core/route/tap.c
 * limit_unwatched  what limit is while no call is watched
 * entry       limit_real entries, read-only pages of zeros until used. Atomic
 * limit_real  granules of the window
 */
struct hak_directory {
    uintptr_t base;
    size_t limit;
    uint64_t *entry;
    size_t limit_real;
    size_t limit_unwatched;
};
extern struct hak_directory hak_directory;

/*
 * An entry names a span, the tag of its owner and the size of its slots. 0: the
 * granule belongs to nobody. Tag and size are in the entry so that a thread
 * that frees a remote slot need not read the span, whose cache line its owner
 * writes all the time.
 *
 *   63                   19 18  16 15     0
 *   | span, 8-aligned      | step |  tag  |
 *
 * tag   of the owner when the entry was written; 0 = unknown. It is a hint:
 *       span->owner decides
 * step  slots have at most hak_step_bytes(step) bytes; HAK_STEP_LARGE: more
 */
enum { HAK_STEP_LARGE = 7 };

static inline struct hak_span *hak_entry_span(uint64_t entry)
{
    return (struct hak_span *)(uintptr_t)(entry >> 16 & ~(uint64_t)7);
}

static inline uint32_t hak_entry_tag(uint64_t entry)
{
    return entry & 0xffff;
}

static inline uint32_t hak_entry_step(uint64_t entry)
{
    return entry >> 16 & 7;
}

static inline size_t hak_step_bytes(uint32_t step)
{
    return (size_t)64 << step;
}

/* The number of p's granule; for a p outside of the window it is limit_real or
 * more. */
static inline size_t hak_directory_granule(const void *p)
{
    return ((uintptr_t)p - hak_directory.base) >> HAK_GRANULE_SHIFT;
}
static inline bool hak_directory_in_window(const void *p)
{
    return hak_directory_granule(p) < hak_directory.limit_real;
}
/* The entry of p; 0 for a p outside of the window. Any p, any thread. Relaxed
 * is enough: memory/directory.c says why. */
static inline uint64_t hak_directory_entry(const void *p)
{
    size_t g = hak_directory_granule(p);
    return g < hak_directory.limit_real
               ? __atomic_load_n(&hak_directory.entry[g], __ATOMIC_RELAXED)
               : 0;
}
static inline struct hak_span *hak_directory_get(const void *p)
{
    return hak_entry_span(hak_directory_entry(p));
}
/* Like hak_directory_get, for an inline path: NULL for each p while calls have
 * to take the slow path. */
static inline struct hak_span *hak_directory_get_inline(const void *p)
{
    size_t g = hak_directory_granule(p);
    return g < hak_directory.limit
               ? hak_entry_span(
                     __atomic_load_n(&hak_directory.entry[g], __ATOMIC_RELAXED))
               : NULL;
}

#pragma GCC visibility pop

#endif
