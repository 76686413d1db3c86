/* SPDX-License-Identifier: MIT
 * segment.h - a segment: a mapping of up to 64 granules, cut to spans.
 *
 *     range = base | granules      one word, so that a reader sees both
 *     free      bit g: granule g is in no page; who clears a bit owns the
 *               granule, who sets it gives it up
 *     dirty     bit g: somebody wrote there since the last purge
 *     old       bit g: it was dirty at the last tick already
 *
 *     old & dirty & free   what a tick purges
 *     free bit set         => page[g] == NULL
 *     pool == p            <=> linked in p's bin[bin]; both change in one step,
 *                          by p's owner or, the shared pool's, under its lock
 *
 * Structs are type-stable and chained for ever (all_next); a spare one has
 * range == 0 and free == 0, so that nobody finds anything in it to claim.
 */
#ifndef MIDMT_SEGMENT_H
#define MIDMT_SEGMENT_H

#include <kit/bits.h>
#include <kit/lost.h>

struct pool;

enum {
    SEGMENT_GRANULES_MAX = 64, /* bits of `free`: 4 MiB */
    SEGMENT_RUN_MAX = 32,      /* granules of the longest span: 8 of 256 KiB */
    SEGMENT_BIN_EMPTY = SEGMENT_RUN_MAX + 1,
    SEGMENT_BINS,
};

#define SEGMENT_NO_RUN UINT32_MAX

struct segment {
    uint64_t range; /* 0: spare */
    uint64_t free;
    uint64_t dirty, old;
    struct pool *pool;    /* who takes spans here; NULL: nobody, in no bin */
    struct hak_link link; /* in a bin of that pool */
    uint32_t bin;
    uint64_t empty_since_ms;
    struct segment *next; /* spare structs */
    struct segment *all_next;
    struct hak_page *page[SEGMENT_GRANULES_MAX];
};

static inline uint64_t segment_range(const struct segment *s)
{
    return __atomic_load_n(&s->range, __ATOMIC_ACQUIRE);
}

static inline char *segment_base(const struct segment *s)
{
    return (char *)(uintptr_t)(segment_range(s) & ~(HAK_GRANULE_BYTES - 1));
}

static inline uint32_t segment_ngranules(const struct segment *s)
{
    return (uint32_t)(segment_range(s) & (HAK_GRANULE_BYTES - 1));
}

static inline size_t segment_bytes(const struct segment *s)
{
    return (size_t)segment_ngranules(s) << HAK_GRANULE_SHIFT;
}

/* p: any value. s: any struct, spare or in use by now for other memory. */
static inline bool segment_contains(const struct segment *s, const void *p)
{
    uint64_t range = segment_range(s);
    uint64_t granules = range & (HAK_GRANULE_BYTES - 1);
    return (uintptr_t)p - (range - granules) < granules << HAK_GRANULE_SHIFT;
}

static inline char *segment_at(const struct segment *s, uint32_t granule)
{
    return segment_base(s) + ((size_t)granule << HAK_GRANULE_SHIFT);
}

/* p inside the segment. */
static inline uint32_t segment_granule(const struct segment *s, const void *p)
{
    size_t at = (size_t)((const char *)p - segment_base(s));
    return (uint32_t)(at >> HAK_GRANULE_SHIFT) % SEGMENT_GRANULES_MAX;
}

static inline uint64_t segment_mask(uint32_t first, uint32_t n)
{
    return (n == 64 ? ~0ull : (1ull << n) - 1) << first;
}

/* All granules: what `free` is when no page is left. */
static inline uint64_t segment_whole(const struct segment *s)
{
    return segment_mask(0, segment_ngranules(s));
}

/* The bits at which a run of n ones starts. */
static inline uint64_t segment_runs(uint64_t map, uint32_t n)
{
    for (uint32_t have = 1; have < n;) { /* runs of `have` start at map */
        uint32_t more = have < n - have ? have : n - have;
        map &= map >> more;
        have += more;
    }
    return map;
}

/* Bin of a segment: its longest free run up to SEGMENT_RUN_MAX, or EMPTY. */
static inline uint32_t segment_bin(const struct segment *s)
{
    uint64_t map = __atomic_load_n(&s->free, __ATOMIC_SEQ_CST);
    if (map == segment_whole(s))
        return SEGMENT_BIN_EMPTY;
    uint32_t n = 0;
    for (; map != 0 && n < SEGMENT_RUN_MAX; n++)
        map &= map >> 1; /* the starts of runs of n + 2 */
    return n;
}

/*
 * Take n neighbouring granules: the first one's number, or SEGMENT_NO_RUN.
 * The acquire pairs with the release in segment_give, so that what the last
 * holder left (page[], slots) is seen.
 */
static inline uint32_t segment_take(struct segment *s, uint32_t n)
{
    uint64_t map = __atomic_load_n(&s->free, __ATOMIC_RELAXED), starts;
    uint32_t first;
    do {
        starts = segment_runs(map, n);
        if (starts == 0)
            return SEGMENT_NO_RUN;
        first = (uint32_t)__builtin_ctzll(starts);
    } while (!__atomic_compare_exchange_n(&s->free, &map,
                                          map & ~segment_mask(first, n), true,
                                          __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    return first;
}

/* Take whatever is free of `wanted`. */
static inline uint64_t segment_take_any(struct segment *s, uint64_t wanted)
{
    return __atomic_fetch_and(&s->free, ~wanted, __ATOMIC_ACQUIRE) & wanted;
}

/* Take everything, or nothing when a granule is in use. */
static inline bool segment_take_whole(struct segment *s)
{
    uint64_t whole = segment_whole(s);
    return whole != 0 &&
           __atomic_compare_exchange_n(&s->free, &whole, 0, false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* seq_cst: pool.c, pool_put, tells the owner after this. */
static inline void segment_give(struct segment *s, uint64_t granules)
{
    __atomic_fetch_or(&s->free, granules, __ATOMIC_SEQ_CST);
}

/* Of granules that the caller holds: `written` of them were written to. */
static inline void segment_touched(struct segment *s, uint64_t granules,
                                   uint64_t written)
{
    __atomic_fetch_and(&s->old, ~granules, __ATOMIC_RELAXED);
    __atomic_fetch_or(&s->dirty, written, __ATOMIC_RELAXED);
}

/* Nobody else may use the segment meanwhile. */
static inline void segment_check(const struct segment *s)
{
    uint32_t n = segment_ngranules(s);
    HAK_ALWAYS(n <= SEGMENT_GRANULES_MAX);
    HAK_ALWAYS((n == 0) == (s->pool == NULL));
    HAK_ALWAYS((s->free & ~segment_whole(s)) == 0);
    for (uint32_t g = 0; g < n; g++) {
        const struct hak_page *page = s->page[g];
        HAK_ALWAYS((s->free >> g & 1) == (page == NULL));
        if (page == NULL)
            continue;
        size_t at = (size_t)(segment_at(s, g) - hak_page_memory(page));
        HAK_ALWAYS(page->source == s);
        HAK_ALWAYS(at < (size_t)SEGMENT_RUN_MAX << HAK_GRANULE_SHIFT);
    }
}

#endif
