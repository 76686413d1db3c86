/* SPDX-License-Identifier: MIT
 * large.h - one instance of the box, and what its files share.
 *
 *     large.c     entry, parameters, alloc and free
 *     near.c      a thread's last freed blocks
 *     resize.c    realloc: in place, by remap, or not at all
 *     supply.c    all coupling to the host: map, give back, how much to keep
 *     threshold.c which sizes are kept
 *     bigcache.c  freed blocks
 *     ledger.c    live and peak bytes   blocks.c  address -> block
 *
 * A file calls only what stands below it.
 */
#ifndef LARGE_LARGE_H
#define LARGE_LARGE_H

#include "near.h"
#include "threshold.h"

/* Blocks up to 1 MiB are kept as they are, one cache a CPU; longer ones are
 * split and joined, so they are kept in one place. */
enum { SHORT_GRANULES = 16 };

/* [box large]: copied from box->params, read with settings_get(). */
struct settings {
    uint64_t cache_bytes;
    uint64_t cache_min_bytes;
    uint64_t cache_share; /* percent */
    uint64_t cache_age_ms;
    uint64_t zero_map_bytes;
    uint64_t remap_bytes;
    uint64_t huge_bytes;
    uint64_t near_bytes;
};

static inline uint64_t settings_get(const uint64_t *setting)
{
    return __atomic_load_n(setting, __ATOMIC_RELAXED);
}

/*
 * What came, and when: the box's clock of use. Written by who sweeps.
 *
 * looked_*     the last look at whether the box is at rest
 * turn_came    came when the turn began
 * stretch_*    this stretch, in which the ledger's high is the most live
 * late_came    came when the stretch before it began; atomic
 */
struct use {
    uint64_t looked_ms, looked_came;
    uint64_t turn_came;
    uint64_t stretch_ms, stretch_came, late_came;
    uint8_t stretch_turn;
};

struct large {
    struct hak_box *box;
    struct blocks blocks;
    struct bigcache cache;
    struct settings settings;
    size_t page_bytes;
    struct threshold threshold;
    uint64_t next_sweep_ms; /* atomic; who moves it on is the one to sweep */
    struct use use;
    struct hak_lock near_lock; /* of all but reading all_near */
    struct near *all_near, *spare_near;
    uint64_t nnear; /* open */
    /* Written on slow paths, by any thread. */
    struct ledger ledger __attribute__((aligned(64)));
    uint64_t maps, mapped_bytes, cleaned_bytes, given_back, unused, passed;
    uint64_t turns, grown, shrunk, moved;
} __attribute__((aligned(64)));

static inline struct large *large_of(const struct hak_box *box)
{
    return box->state;
}

/* The request rounded up to OS pages; size_bytes <= PTRDIFF_MAX. */
static inline size_t slot_bytes(const struct large *large, size_t size_bytes)
{
    return hak_round_up(size_bytes, large->page_bytes);
}

static inline size_t granules_of(size_t nbytes)
{
    return (nbytes + HAK_GRANULE_BYTES - 1) >> HAK_GRANULE_SHIFT;
}

/*
 * The shard of the CPU that runs us. By CPU rather than by thread: there are
 * as many as can meet, and what the CPU's caches hold of a block serves the
 * next thread on it as well. Makes no system call.
 */
uint32_t large_shard(const struct large *large);

/* The shard for blocks of so many granules: the CPU's, or the last. */
static inline uint32_t shard_for(const struct large *large, size_t ngranules)
{
    return ngranules <= SHORT_GRANULES ? large_shard(large)
                                       : large->cache.nshards - 1;
}

/* ---- near.c ------------------------------------------------------------ */

/* A thread's heap, or NULL: no memory. near_close: by any thread. */
struct near *near_open(struct large *large);
void near_close(struct large *large, struct near *near);

/* All its blocks go on to the BigCache, or back. */
void near_flush(struct large *large, struct near *near);

/* The same for what was not needed of late; looks at the clock now and then. */
void near_age(struct large *large, struct near *near);

/* Of all threads: blocks and bytes of mappings on the lists; live_bytes, to be
 * added to the ledger's, modulo 2^64. */
struct near_sums {
    uint64_t count, bytes, live_bytes;
};
struct near_sums near_sum(const struct large *large);

/* ---- supply.c ---------------------------------------------------------- */

/*
 * supply_map - a fresh block in state CACHED, entered; NULL = no memory, even
 * after giving back what the cache held.
 */
struct block *supply_map(struct large *large, size_t ngranules,
                         size_t align_bytes, uint32_t flags);

/* Is a block of so many granules to be mapped for huge pages? */
bool supply_huge(const struct large *large, size_t ngranules);

/* b, in state CACHED, was live until now: keep it or give it back. */
void supply_free(struct large *large, struct block *b);

/* More is live than was: back with what may be kept no more. */
void supply_bound(struct large *large, uint64_t now_ms);

/* Give a block in state CACHED, in no list, back to the system. */
void supply_give_back(struct large *large, struct block *b);

/* Give back some of what is too old; amortised. */
void supply_sweep(struct large *large, uint64_t now_ms);

/* Give back all that is kept; returns bytes, without those that were clean. */
size_t supply_flush(struct large *large);
/* The ends of the oldest kept blocks go to the host, as they are, until so many
 * bytes went or none is kept. Returns the bytes. */
size_t supply_shrink(struct large *large, size_t want_bytes);

/* The host had no room: the same. False = nothing was kept. */
bool supply_make_way(struct large *large);

/* How long a freed block is kept, in milliseconds. */
uint64_t supply_age_ms(const struct large *large);

/* What may be kept now, in bytes, of all that is free. */
uint64_t supply_room(const struct large *large);

/* ---- resize.c ---------------------------------------------------------- */

/* As ops->resize. */
void *large_resize(struct hak_box *box, void *p, size_t size_bytes);

/* ---- large.c ----------------------------------------------------------- */

/* Aborts when the instance contradicts itself. No other thread is in it. */
void large_check(struct large *large);

#endif
