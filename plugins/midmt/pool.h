/* SPDX-License-Identifier: MIT
 * pool.h - who takes spans from which segment.
 *
 *     segments   the box's: the registry, the shared pool, spare structs
 *     pool       one heap's segments, or the shared ones of ended threads;
 *                in bins by their longest free run, so that a span is found
 *                without a search:
 *
 *         bin[0]  none free
 *         bin[n]  longest run is n granules, or SEGMENT_RUN_MAX and more
 *         bin[SEGMENT_BIN_EMPTY]  all free
 *
 * Only its pool's owner takes spans from a segment, but anybody may give one
 * back (pages of ended threads are adopted one by one, by several heaps).
 * Hence `free` is atomic, and who gives to a pool that is not his leaves word
 * in `returned`; the bins may lag behind `free` until the owner reads it.
 *
 * A segment's life:
 *
 *     spare    -> no pool    mapped; all granules are the caller's
 *     no pool  -> a heap's   grow
 *     a heap's -> shared     its thread has ended
 *     shared   -> a heap's   adopted
 *     either   -> no pool    empty: the caller takes all granules
 *     no pool  -> spare      unmapped
 *
 * A giver may be late: between its two steps, setting the bit in `free` and
 * reading `pool`, the segment may go all the way round and serve as another.
 * What it does then is right in any life: it sets `returned`, which at worst
 * costs a look, or takes the lock and acts on what `pool` says under it.
 *
 * Locks: segments.lock for the shared pool and the spare structs, then
 * nothing. A heap's pool needs none.
 *
 * The registry is a table over the window, granule -> segment: a look-up is a
 * load. A late reader may find a struct that serves other memory by now, so
 * what is found is compared with its range.
 */
#ifndef MIDMT_POOL_H
#define MIDMT_POOL_H

#include "segment.h"

#include <kit/map.h>

struct pool {
    struct hak_link bin[SEGMENT_BINS];
    size_t held_bytes; /* of its segments; the next one's size */
    uint32_t nempty;   /* length of bin[SEGMENT_BIN_EMPTY] */
    uint32_t returned; /* others gave spans back; atomic */
};

struct segments {
    struct hak_box *box;
    size_t min_bytes, max_bytes; /* of a segment; whole granules */
    uint32_t keep_empty;         /* per pool; atomic: set_param */
    uint64_t next_tick_ms;       /* atomic */
    uint64_t given_bytes;        /* unmapped or purged; atomic */
    /* Unmapped of late, less what was mapped since; halves at each tick of the
     * box. Atomic. */
    uint64_t returned_bytes;
    struct hak_map registry;
    struct segment *all; /* every struct, push only, by all_next */
    struct hak_lock lock;
    struct pool shared;
    struct segment *spare;
};

struct span_at {
    struct segment *segment; /* NULL: no memory */
    uint32_t first;          /* granule */
};

/* 0 or -errno. s: zero but for box, min_bytes, max_bytes, keep_empty. */
int segments_init(struct segments *s);

void pool_init(struct pool *pool);

/* The segment around p, or NULL. p: any value. Never waits, never faults. */
struct segment *segments_find(const struct segments *s, const void *p);

/*
 * pool_take - a span of n granules, 1 .. SEGMENT_RUN_MAX.      [pool's owner]
 * From the pool, else from a shared segment, else from a new one.
 */
struct span_at pool_take(struct segments *s, struct pool *pool, uint32_t n);

/*
 * pool_put - give granules back.                                [any thread]
 * mine  the pool that the calling thread owns, or NULL
 */
void pool_put(struct segments *s, struct pool *mine, struct segment *segment,
              uint64_t granules);

/* All segments of an ended thread become shared, empty ones the host's. */
void pool_close(struct segments *s, struct pool *pool);

/*
 * pool_age - give back segments empty since before_ms or longer. [its owner]
 */
void pool_age(struct segments *s, struct pool *pool, uint64_t before_ms);

/*
 * segments_purge - the pages of free granules go to the system.  [any thread]
 * all   everything written to; else what was so at the last call already
 * mine  as in pool_put
 */
void segments_purge(struct segments *s, struct pool *mine, bool all);
/* A tick of the box, twice a purge delay: purge what is old, and half forget
 * what was returned.                                          [any thread] */
void segments_age(struct segments *s, struct pool *mine);

/* Free granules that were written to lose their pages, until so many bytes went
 * or there are none. Returns the bytes. [any thread] */
size_t segments_shrink(struct segments *s, struct pool *mine,
                       size_t want_bytes);

/* Bytes of free granules in segments. */
uint64_t segments_free_bytes(const struct segments *s);

/* While nobody else uses it. */
void pool_check(const struct pool *pool);
void segments_check(const struct segments *s);

#endif
