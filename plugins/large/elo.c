/* SPDX-License-Identifier: MIT
 * elo.c - the learned threshold, see elo.h. */
#include "elo.h"

enum { ONE = 65536 }; /* expectations and weights, 16 binary places */

static uint32_t band_of(uint64_t nbytes)
{
    uint32_t log2 = 63 - (uint32_t)__builtin_clzll(nbytes | 1);
    if (log2 < ELO_SHIFT)
        return 0;
    return (uint32_t)hak_min(log2 - ELO_SHIFT, ELO_BANDS - 1);
}

static uint64_t band_bytes(uint32_t band)
{
    return 1ull << (ELO_SHIFT + band);
}

/*
 * 1 / (1 + 10^(-d/400)) by a table in steps of 50 points, straight between:
 * off by less than 0.001. No libm, and the same on every machine.
 */
static int64_t expected(int32_t difference)
{
    static const int64_t table[] = {32768, 37451, 41947, 46097, 49791,
                                    52974, 55641, 57825, 59578, 59578};
    const int32_t step = 50 * ELO_POINT;
    int32_t d = difference < 0 ? -difference : difference;
    int32_t i = d / step, rest = d % step;
    int64_t e = table[i] + (table[i + 1] - table[i]) * rest / step;
    return difference < 0 ? ONE - e : e;
}

/* ---- under the lock ---------------------------------------------------- */

/* The first band that goes straight to the system; ELO_BANDS = none. */
static uint32_t threshold_band(uint64_t direct_bytes)
{
    uint32_t band = band_of(ELO_LEAST_BYTES);
    while (band < ELO_BANDS && band_bytes(band) < direct_bytes)
        band++;
    return band;
}

static uint32_t distance(uint32_t a, uint32_t b)
{
    return a < b ? b - a : a - b;
}

static void set_threshold(struct elo *elo)
{
    const uint32_t now = threshold_band(elo->direct_bytes);
    uint32_t best = band_of(ELO_LEAST_BYTES);
    int64_t sum = 0, best_sum = 0;
    for (uint32_t band = best; band < ELO_BANDS; band++) {
        if (elo->played[band])
            sum += elo->difference[band];
        if (sum < best_sum ||
            (sum == best_sum && distance(band + 1, now) >= distance(best, now)))
            continue;
        best_sum = sum;
        best = band + 1;
    }
    if (best == now)
        return;
    __atomic_store_n(&elo->direct_bytes,
                     best < ELO_BANDS ? band_bytes(best) : UINT64_MAX,
                     __ATOMIC_RELAXED);
    elo->moves++;
}

/* One game: weight in 16 binary places, score 0 or ONE. */
static void rate(struct elo *elo, uint32_t band, int64_t weight, int64_t score)
{
    int32_t *d = &elo->difference[band];
    int64_t step = (int64_t)2 * elo->k * ELO_POINT * weight / ONE;
    int64_t to = *d + step * (score - expected(*d)) / ONE;
    to = to > ELO_LIMIT ? ELO_LIMIT : to < -ELO_LIMIT ? -ELO_LIMIT : to;
    *(score != 0 ? &elo->wins : &elo->losses) += 1;
    if (to == *d && elo->played[band])
        return;
    elo->played[band] = true;
    __atomic_store_n(d, (int32_t)to, __ATOMIC_RELAXED);
    set_threshold(elo);
}

static int64_t cost(uint64_t nbytes, uint64_t held_ms, uint64_t age_ms)
{
    uint64_t most = (uint64_t)ELO_COST_MOST * ONE;
    uint64_t w = hak_min(nbytes, (uint64_t)ELO_COST_BYTES * ELO_COST_MOST);
    w = w * (ONE >> 8) / (ELO_COST_BYTES >> 8);
    if (held_ms < age_ms) /* in which case age_ms is not 0 */
        w = w * held_ms / age_ms;
    return (int64_t)hak_min(w, most);
}

static void lay(struct elo *elo, struct elo_ghost *ghost)
{
    ghost->nbytes = 0;
    elo->nghosts--;
}

/* ---- entry points ------------------------------------------------------ */

void elo_start(struct elo *elo, bool on, int32_t k, uint64_t direct_bytes)
{
    hak_lock_take(&elo->lock);
    elo->k = k;
    memset(elo->ghost, 0, sizeof elo->ghost);
    memset(elo->played, 0, sizeof elo->played);
    elo->nghosts = 0;
    for (uint32_t band = 0; band < ELO_BANDS; band++)
        elo->difference[band] =
            band_bytes(band) < direct_bytes ? ELO_PRIOR : -ELO_PRIOR;
    __atomic_store_n(&elo->direct_bytes, direct_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&elo->on, on, __ATOMIC_RELAXED);
    hak_lock_drop(&elo->lock);
}

/* Sizes that the threshold cannot reach are not rated. */
static bool is_rated(const struct elo *elo, uint64_t nbytes)
{
    return nbytes >= ELO_LEAST_BYTES &&
           __atomic_load_n(&elo->on, __ATOMIC_RELAXED);
}

void elo_reused(struct elo *elo, uint64_t nbytes)
{
    uint32_t band = band_of(nbytes);
    if (!is_rated(elo, nbytes) ||
        __atomic_load_n(&elo->difference[band], __ATOMIC_RELAXED) == ELO_LIMIT)
        return;
    hak_lock_take(&elo->lock);
    rate(elo, band, ONE, ONE);
    hak_lock_drop(&elo->lock);
}

void elo_unused(struct elo *elo, uint64_t nbytes, uint64_t held_ms,
                uint64_t age_ms)
{
    if (!is_rated(elo, nbytes))
        return;
    hak_lock_take(&elo->lock);
    rate(elo, band_of(nbytes), cost(nbytes, held_ms, age_ms), 0);
    hak_lock_drop(&elo->lock);
}

/* More at once than there are places: those that wait are sample enough. */
void elo_given_back(struct elo *elo, uint64_t nbytes, uint64_t now_ms)
{
    if (!is_rated(elo, nbytes))
        return;
    struct elo_ghost *ghost = elo->ghost[band_of(nbytes)];
    hak_lock_take(&elo->lock);
    for (int i = 0; i < ELO_GHOSTS; i++) {
        if (ghost[i].nbytes != 0)
            continue;
        ghost[i] = (struct elo_ghost){nbytes, now_ms};
        elo->nghosts++;
        break;
    }
    hak_lock_drop(&elo->lock);
}

/* Returns whether a ghost of the band would have served. */
static bool wake(struct elo *elo, uint32_t band, uint64_t least, uint64_t most,
                 uint64_t since_ms)
{
    for (int i = 0; i < ELO_GHOSTS; i++) {
        struct elo_ghost *ghost = &elo->ghost[band][i];
        if (ghost->nbytes < least || ghost->nbytes > most ||
            ghost->freed_ms < since_ms)
            continue;
        uint64_t nbytes = ghost->nbytes;
        lay(elo, ghost);
        rate(elo, band_of(nbytes), ONE, ONE);
        return true;
    }
    return false;
}

void elo_asked(struct elo *elo, uint64_t least_bytes, uint64_t most_bytes,
               uint64_t now_ms, uint64_t age_ms)
{
    if (!is_rated(elo, most_bytes) ||
        __atomic_load_n(&elo->nghosts, __ATOMIC_RELAXED) == 0)
        return;
    uint64_t since_ms = now_ms > age_ms ? now_ms - age_ms : 0;
    hak_lock_take(&elo->lock);
    for (uint32_t b = band_of(least_bytes); b <= band_of(most_bytes); b++)
        if (wake(elo, b, least_bytes, most_bytes, since_ms))
            break;
    hak_lock_drop(&elo->lock);
}

void elo_tick(struct elo *elo, uint64_t now_ms, uint64_t age_ms)
{
    if (__atomic_load_n(&elo->nghosts, __ATOMIC_RELAXED) == 0)
        return;
    hak_lock_take(&elo->lock);
    for (uint32_t band = 0; band < ELO_BANDS; band++)
        for (int i = 0; i < ELO_GHOSTS; i++) {
            struct elo_ghost *ghost = &elo->ghost[band][i];
            uint64_t nbytes = ghost->nbytes;
            if (nbytes == 0 || now_ms - ghost->freed_ms <= age_ms)
                continue;
            lay(elo, ghost);
            rate(elo, band, cost(nbytes, age_ms, age_ms), 0);
        }
    hak_lock_drop(&elo->lock);
}

void elo_check(struct elo *elo)
{
    uint32_t nghosts = 0;
    hak_lock_take(&elo->lock);
    for (uint32_t band = 0; band < ELO_BANDS; band++) {
        int32_t d = elo->difference[band];
        HAK_ALWAYS(d >= -ELO_LIMIT && d <= ELO_LIMIT);
        for (int i = 0; i < ELO_GHOSTS; i++) {
            uint64_t nbytes = elo->ghost[band][i].nbytes;
            HAK_ALWAYS(nbytes == 0 || band_of(nbytes) == band);
            nghosts += nbytes != 0;
        }
    }
    HAK_ALWAYS(nghosts == elo->nghosts);
    HAK_ALWAYS(elo->moves == 0 || elo->direct_bytes >= ELO_LEAST_BYTES);
    hak_lock_drop(&elo->lock);
}
