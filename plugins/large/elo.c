/* SPDX-License-Identifier: MIT
 * elo.c - see elo.h. Integer arithmetic only: the box needs no libm. */
#include "elo.h"

#include <boxkit/base.h>

enum { MOST = 2400 * ELO_UNIT, LEAST = 600 * ELO_UNIT };

static uint32_t band_of(size_t size_bytes)
{
    uint32_t band = 63u - (uint32_t)__builtin_clzl(size_bytes | 1);
    return band < ELO_BANDS ? band : ELO_BANDS - 1;
}

static bool has_credit(const struct elo *e, uint32_t band)
{
    return e->rating[band] >= (ELO_SYSTEM - ELO_MARGIN) * ELO_UNIT;
}

static size_t threshold_of(const struct elo *e)
{
    uint32_t band = ELO_BANDS;
    while (band > 0 && !has_credit(e, band - 1))
        band--;
    return band == ELO_BANDS ? SIZE_MAX : (size_t)1 << band;
}

void elo_init(struct elo *e, bool on, uint32_t k, size_t direct_bytes)
{
    *e = (struct elo){.on = on, .k = k};
    for (uint32_t b = 0; b < ELO_BANDS; b++) {
        int32_t points = ((size_t)1 << b) >= direct_bytes
                             ? ELO_SYSTEM - 2 * ELO_MARGIN
                             : ELO_SYSTEM;
        e->rating[b] = points * ELO_UNIT;
    }
    e->threshold = threshold_of(e);
}

/*
 * Expected score in 1/1024 of a rating that is `ahead` points above the
 * system's: 1024 / (1 + 10^(-ahead/400)) at steps of 100, linear between.
 */
static int32_t expected(int32_t ahead)
{
    static const int32_t at[] = {512, 655, 778,  869,  931,
                                 969, 993, 1006, 1014, 1018};
    int32_t d = ahead < 0 ? -ahead : ahead;
    if (d > 899)
        d = 899;
    int32_t low = at[d / 100], high = at[d / 100 + 1];
    int32_t e = low + (high - low) * (d % 100) / 100;
    return ahead < 0 ? 1024 - e : e;
}

static void played(struct elo *e, uint32_t band, int32_t score, uint32_t k)
{
    int32_t ahead = e->rating[band] / ELO_UNIT - ELO_SYSTEM;
    int32_t change = (int32_t)k * ELO_UNIT * (score - expected(ahead)) / 1024;
    int32_t r = e->rating[band] + change;
    bool had_credit = has_credit(e, band);
    e->rating[band] = r > MOST ? MOST : r < LEAST ? LEAST : r;
    if (has_credit(e, band) != had_credit)
        e->threshold = threshold_of(e);
}

void elo_won(struct elo *e, size_t size_bytes)
{
    if (e->on)
        played(e, band_of(size_bytes), 1024, e->k);
}

void elo_lost(struct elo *e, size_t size_bytes)
{
    uint32_t band = band_of(size_bytes), k = e->k;
    if (band > ELO_HEAVY_BAND)
        k += k * (band - ELO_HEAVY_BAND) / 4;
    if (e->on)
        played(e, band, 0, k);
}

bool elo_keeps(struct elo *e, size_t size_bytes)
{
    if (size_bytes < elo_threshold(e))
        return true;
    return e->on && ++e->probe % ELO_PROBE == 0;
}

void elo_check(const struct elo *e)
{
    for (uint32_t b = 0; b < ELO_BANDS; b++)
        HAK_ALWAYS(e->rating[b] >= LEAST && e->rating[b] <= MOST);
    HAK_ALWAYS(e->threshold == threshold_of(e));
}
