/* SPDX-License-Identifier: MIT
 * directory.h - granule of the window -> span: the table, and how it is read.
 */
#ifndef HAKMEM_STATE_DIRECTORY_H
#define HAKMEM_STATE_DIRECTORY_H

#include <kit/base.h>

#pragma GCC visibility push(hidden)

/*
 * base, limit  the window in bytes and granules; limit is 0 until the core
 *              is ready and whenever each free is to take the slow path
 *              (free_route = owns, verify = yes)
 * entry        limit_real of them, read-only zero pages until used
 */
struct hak_directory {
    uintptr_t base;
    size_t limit;
    uint64_t *entry;
    size_t limit_real;
};
extern struct hak_directory hak_directory;

/*
 * An entry: a span, whose it was when somebody looked, and how long its slots
 * are. 0: nobody's. So a thread that frees another's slot knows what to do
 * without a look at the span, which its owner writes to all the time.
 *
 *   63                   19 18  16 15     0
 *   | span, 8-aligned      | step |  tag  |
 *
 * tag   of the owner; 0 = not known. A hint, span->owner is what counts
 * step  slots have up to hak_step_bytes(step), or HAK_STEP_LARGE: more
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

static inline size_t hak_directory_granule(const void *p)
{
    return ((uintptr_t)p - hak_directory.base) >> HAK_GRANULE_SHIFT;
}
static inline bool hak_directory_in_window(const void *p)
{
    return hak_directory_granule(p) < hak_directory.limit_real;
}
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

#pragma GCC visibility pop

#endif
