/* SPDX-License-Identifier: MIT
 * tune_duel.c - is a choice better than another? Pairs of runs tell.
 *
 * A round runs the base, the old choice and the new one, one after the other in
 * an order that turns. After each few rounds it is decided if it can be. To
 * look several times makes a wrong yes more likely than the interval says; what
 * the search finds is confirmed on a part of the traces that it has not seen.
 */
#include "tune.h"
#include "../hakctl.h"

#include <stdlib.h>

enum { BASE, OLD, NEW, SIDES };
enum { ROUNDS = 60, EACH = 4 }; /* rounds between two looks */

struct duel {
    const struct tune_choice *side[SIDES];
    size_t nsides; /* 2, if the old one is the base */
    /* Of new to old, and of new to base. */
    double objective[ROUNDS], to_base[TUNE_MEASURES][ROUNDS];
    size_t n;
};

/* ---- rounds -------------------------------------------------------------- */

static bool one_round(struct tune *t, struct duel *d)
{
    struct tune_figures figures[SIDES][TUNE_TRACES];
    double ratio[TUNE_MEASURES];
    size_t first = SIDES - d->nsides;
    for (size_t i = 0; i < d->nsides; i++) {
        size_t side = first + (d->n + i) % d->nsides;
        if (tune_try(t, d->side[side], 0, t->search_to, figures[side]) !=
            TUNE_DONE)
            return false;
    }
    size_t base = first == BASE ? BASE : OLD;
    for (enum tune_measure m = 0; m < TUNE_MEASURES; m++) {
        ratio[m] = tune_ratio(t, figures[OLD], figures[NEW], m);
        d->to_base[m][d->n] = tune_ratio(t, figures[base], figures[NEW], m);
    }
    d->objective[d->n++] = tune_objective(t, ratio);
    return true;
}

static struct compare_ratio ratio_of(const double *ratios, size_t n)
{
    double copy[ROUNDS];
    memcpy(copy, ratios, n * sizeof *copy);
    return compare_ratio_of(copy, n);
}

/* Is a measure that counts worse than it may be, beyond the noise? */
static bool is_worse(const struct tune *t, const struct duel *d)
{
    for (size_t m = 0; m < TUNE_MEASURES; m++) {
        struct compare_ratio r = ratio_of(d->to_base[m], d->n);
        if (tune_is_loss(t, (enum tune_measure)m, &r))
            return true;
    }
    return false;
}

static struct tune_pairs look(const struct tune *t, const struct duel *d)
{
    struct tune_pairs p = {.objective = ratio_of(d->objective, d->n)};
    p.pays = d->n >= COMPARE_LEAST_PAIRS && p.objective.high < 1 &&
             p.objective.median < 1 - t->least_gain && !is_worse(t, d);
    return p;
}

/* Is there no use in more rounds? */
static bool is_decided(const struct tune *t, const struct tune_pairs *p)
{
    return p->pays || p->objective.median >= 1 ||
           p->objective.low > 1 - t->least_gain;
}

bool tune_duel(struct tune *t, const struct tune_choice *old,
               const struct tune_choice *choice, size_t most_pairs,
               double until_s, struct tune_pairs *out)
{
    struct tune_choice base = tune_base(&t->space);
    struct duel d = {.side = {&base, old, choice}, .nsides = SIDES};
    d.nsides -= tune_same(&t->space, old, &base);
    *out = (struct tune_pairs){.pays = false};
    if (most_pairs > ROUNDS)
        most_pairs = ROUNDS;
    while (d.n < most_pairs && t->elapsed_s < until_s) {
        tune_tell(t, "duel", d.n, most_pairs);
        if (!one_round(t, &d))
            return false;
        if (d.n < COMPARE_LEAST_PAIRS || d.n % EACH != 0)
            continue;
        *out = look(t, &d);
        if (is_decided(t, out))
            return true;
    }
    if (d.n != most_pairs)
        return false;
    *out = look(t, &d);
    return true;
}
