/* SPDX-License-Identifier: MIT
 * elo.h - learns which sizes are worth caching.
 *
 * Every size band (a doubling) plays against "straight to the system", whose
 * rating is fixed at ELO_SYSTEM. A block that was kept and reused is a game
 * won by the band, one that was kept until it was too old is lost. After each
 * game the band's rating R moves by Elo's rule (A. Elo, "The Rating of
 * Chessplayers", 1978):
 *
 *     E = 1 / (1 + 10 ^ ((ELO_SYSTEM - R) / 400))      expected score
 *     R = R + k * (S - E)                              S = 1 won, 0 lost
 *
 * A loss of a large band counts more, since what was kept in vain is larger:
 * k grows by a quarter for each band above ELO_HEAVY_BAND.
 *
 * The threshold is the least size from which on every band has lost its
 * credit (R < ELO_SYSTEM - ELO_MARGIN). Blocks at and above it go straight to
 * the system, but for every ELO_PROBE-th, so that a change is noticed.
 *
 * Ratings are integers in 1/16 points. Not thread-safe: the caller locks.
 */
#ifndef LARGE_ELO_H
#define LARGE_ELO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ELO_BANDS = 48, /* band = log2 of the size */
    ELO_SYSTEM = 1500,
    ELO_MARGIN = 50,
    ELO_HEAVY_BAND = 21, /* 2 MiB, ORIGIN's BigCache */
    ELO_PROBE = 16,
    ELO_UNIT = 16,
};

struct elo {
    int32_t rating[ELO_BANDS]; /* 1/ELO_UNIT points */
    size_t threshold;          /* follows from the ratings */
    uint32_t probe;
    uint32_t k;
    bool on;
};

/* direct_bytes: bands from this size on begin without credit. */
void elo_init(struct elo *e, bool on, uint32_t k, size_t direct_bytes);
void elo_won(struct elo *e, size_t size_bytes);
void elo_lost(struct elo *e, size_t size_bytes);
/* Should a freed block of this size be kept? Counts the probes. */
bool elo_keeps(struct elo *e, size_t size_bytes);
/* Size from which on blocks go straight to the system; SIZE_MAX = none. */
static inline size_t elo_threshold(const struct elo *e)
{
    return e->threshold;
}

void elo_check(const struct elo *e);

#endif
