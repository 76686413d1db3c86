/* SPDX-License-Identifier: MIT
 * large.h - one instance of the box, and what its files share.
 *
 *     large.c     entry, parameters, alloc and free
 *     near.c      a thread's last freed blocks
 *     resize.c    realloc: in place, by remap, or not at all
 *     supply.c    all calls of the host: map, give back; how much to keep
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

/* Blocks of up to 1 MiB are kept whole, in one shard for each CPU. Longer ones
 * are split and joined. Only blocks of one shard can be joined, so all of these
 * share the last shard. */
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
 * Turns and stretches: time as measured by the bytes that were requested.
 * Written only by the thread that sweeps. `came` is the sum of the bytes of all
 * requests up to now (ledger_came).
 *
 * looked_ms, looked_came  time and `came` when it was last decided whether the
 *              box is at rest
 * turn_came    `came` at the start of this turn
 * stretch_*    time, turn and `came` at the start of this stretch; the ledger's
 *              `high` is the most that was live in it
 * late_came    `came` at the start of the stretch before; atomic
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
    uint64_t next_sweep_ms; /* atomic; the thread that moves it on sweeps */
    struct use use;
    /* Guards the three members below; all_near is read without it. */
    struct hak_lock near_lock;
    struct near *all_near, *spare_near;
    uint64_t nnear; /* open heaps of near blocks */
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
 * The shard of the CPU that runs the caller. Shards go by CPU rather than by
 * thread, because no more threads can meet than there are CPUs, and because the
 * next thread on a CPU profits from what its caches hold of a block. Makes no
 * system call.
 */
uint32_t large_shard(const struct large *large);

/* The shard for blocks of ngranules: the CPU's, or the last for long ones. */
static inline uint32_t shard_for(const struct large *large, size_t ngranules)
{
    return ngranules <= SHORT_GRANULES ? large_shard(large)
                                       : large->cache.nshards - 1;
}

/* ---- near.c ------------------------------------------------------------ */

/* The heap of near blocks of a thread, or NULL: no memory. Any thread may call
 * near_close. */
struct near *near_open(struct large *large);
void near_close(struct large *large, struct near *near);

/* All near blocks of the heap go on to the BigCache or back to the host. */
void near_flush(struct large *large, struct near *near);

/* The same for the blocks that no request needed for an age. Cheap: only one
 * call in NEAR_CALLS looks at the clock. */
void near_age(struct large *large, struct near *near);

/* Sums over all threads: count and bytes of the blocks on the lists (bytes of
 * their mappings), and live_bytes, which is to be added to the ledger's live
 * bytes, modulo 2^64. */
struct near_sums {
    uint64_t count, bytes, live_bytes;
};
struct near_sums near_sum(const struct large *large);

/* ---- supply.c ---------------------------------------------------------- */

/*
 * supply_map - map a fresh block. Returns it in state CACHED and entered in the
 * table; NULL = no memory, even after all that was kept went back.
 */
struct block *supply_map(struct large *large, size_t ngranules,
                         size_t align_bytes, uint32_t flags);

/* Is a block of so many granules to be mapped for huge pages? */
bool supply_huge(const struct large *large, size_t ngranules);

/* b, in state CACHED, was live until now: keep it or give it back. */
void supply_free(struct large *large, struct block *b);

/* Live bytes have grown: give back what is above the bounds now. */
void supply_bound(struct large *large, uint64_t now_ms);

/* Give a block in state CACHED, in no list, back to the system. */
void supply_give_back(struct large *large, struct block *b);

/* Give back blocks that are too old, up to SWEEP_MOST in one call. */
void supply_sweep(struct large *large, uint64_t now_ms);

/* Give back all that is kept. Returns the bytes, without those that were clean.
 */
size_t supply_flush(struct large *large);

/* Unmap the ends of the oldest kept blocks, without a purge, until want_bytes
 * have gone or no dirty block is kept. Returns the bytes. */
size_t supply_shrink(struct large *large, size_t want_bytes);

/* Give back all that is kept, because the host had no room for a mapping.
 * Returns false when nothing was kept, so trying again is of no use. */
bool supply_make_way(struct large *large);

/* How long a freed block is kept, in milliseconds. */
uint64_t supply_age_ms(const struct large *large);

/* How many bytes of dirty blocks may be kept now. */
uint64_t supply_room(const struct large *large);

/* ---- resize.c ---------------------------------------------------------- */

/* As ops->resize. */
void *large_resize(struct hak_box *box, void *p, size_t size_bytes);

/* ---- large.c ----------------------------------------------------------- */

/* Aborts when an invariant is broken. No other thread may be in the box. */
void large_check(struct large *large);

#endif
