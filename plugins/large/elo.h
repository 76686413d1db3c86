/* SPDX-License-Identifier: MIT
 * elo.h - learns the size from which a freed block goes straight to the
 * system, by Elo's rating of chess players (The Rating of Chessplayers, Past
 * and Present, 1978).
 *
 * In each band of sizes (a doubling) two players meet, "keep it" and "give it
 * back". What one wins the other loses, so one number a band will do: the
 * difference D of their ratings. Each freed block is a game:
 *
 *     a kept block was taken again            keep wins,  w = 1
 *     a kept block went unused                keep loses, w = its cost
 *     a block given back was missed, that is  keep wins,  w = 1
 *       asked for within the cache's age
 *     a block given back was not missed       keep loses, w = its cost
 *
 *     E  = 1 / (1 + 10^(-D/400))     what keep is expected to score
 *     D += 2 K w (S - E)             S = 1 for a win, 0 for a loss
 *     |D| <= 400                     the 400-point rule of rated play
 *     cost = bytes x time held / (8 MiB x age), at most 4
 *
 * A band is in balance when p wins and 1-p losses cancel out at D = 0:
 * p = w / (1 + w). So 1 MiB is worth keeping when one in nine is used again,
 * 8 MiB when every second one is, 32 MiB and more when four in five are.
 *
 * The threshold is the T with the largest sum of D over those bands below T
 * that have played; of equals, the one nearest to the threshold so far. So it
 * starts where `direct_bytes` puts it and moves on evidence alone. It is never
 * below ELO_LEAST_BYTES: the system's price for a small block (two calls, a
 * fault a page) is too near to the work that is done in it.
 *
 * Thread-safe. `lock` is taken when a rating moves; a band at its limit that
 * wins again, the steady state, costs one load.
 */
#ifndef LARGE_ELO_H
#define LARGE_ELO_H

#include <boxkit/sync.h>

enum {
    ELO_SHIFT = 16, /* band 0: 64 KiB .. 128 KiB */
    ELO_BANDS = 32, /* the last: 128 TiB and more */
    ELO_LEAST_BYTES = 1024 * 1024,
    ELO_POINT = 256, /* ratings are in 1/256 points */
    ELO_LIMIT = 400 * ELO_POINT,
    ELO_PRIOR = 50 * ELO_POINT, /* the start, + below the threshold and
                                   - above: some inertia, 0.57 to 0.43 */
    ELO_COST_BYTES = 8 << 20,   /* jemalloc's oversize_threshold */
    ELO_COST_MOST = 4,
    ELO_GHOSTS = 8,
};

/* A block that was given back and may be missed; nbytes 0: none. */
struct elo_ghost {
    uint64_t nbytes;
    uint64_t freed_ms;
};

struct elo {
    struct hak_lock lock;
    bool on;
    int32_t k;
    uint64_t direct_bytes; /* the threshold; atomic */
    int32_t difference[ELO_BANDS];
    bool played[ELO_BANDS];
    struct elo_ghost ghost[ELO_BANDS][ELO_GHOSTS];
    uint32_t nghosts;
    uint64_t wins, losses, moves; /* moves of the threshold */
};

/* Start again, with nothing learned. */
void elo_start(struct elo *elo, bool on, int32_t k, uint64_t direct_bytes);

/* Does a block of this size go straight to the system? */
static inline bool elo_direct(const struct elo *elo, uint64_t nbytes)
{
    return nbytes >= __atomic_load_n(&elo->direct_bytes, __ATOMIC_RELAXED);
}

/* A kept block was taken again; a kept block is evicted, unused. */
void elo_reused(struct elo *elo, uint64_t nbytes);
void elo_unused(struct elo *elo, uint64_t nbytes, uint64_t held_ms,
                uint64_t age_ms);

/* A block went straight to the system; a request that nothing kept met. */
void elo_given_back(struct elo *elo, uint64_t nbytes, uint64_t now_ms);
void elo_asked(struct elo *elo, uint64_t least_bytes, uint64_t most_bytes,
               uint64_t now_ms, uint64_t age_ms);

/* Ghosts older than age_ms have not been missed. */
void elo_tick(struct elo *elo, uint64_t now_ms, uint64_t age_ms);

/* Aborts when a rating or the threshold is out of its bounds. */
void elo_check(struct elo *elo);

#endif
