/* SPDX-License-Identifier: MIT
 * tune_race.c - which of many choices are good: successive halving (Jamieson
 * and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
 * Optimization", 2016; Li et al., "Hyperband", 2018).
 *
 * All choices get a small share of the trace. The best third gets three times
 * as much, and so on, first of the trace and then of rounds. The base runs
 * between them, and what counts is the ratio to its nearest run, so that the
 * machine's other load cancels out.
 */
#include "tune.h"
#include "../hakctl.h"

#include <math.h>
#include <stdlib.h>

enum {
    THIRD = 3,        /* of the choices stay, each with so much more */
    BETWEEN = 4,      /* choices between two runs of the base */
    MOST_ROUNDS = 9,  /* of a rung */
    MOST_VALUES = 27, /* of a choice, or of the noise */
};
/* The least share of the search's part that the first rung may see, and the
 * least time of a run: shorter ones say little. */
static const double least_share = 1.0 / 27, least_run_s = 0.02;
/* What a percent beyond the allowed loss costs in percents of the objective. */
static const double penalty = 10;
/* A loss that is within so many standard errors of what is allowed is none. */
static const double errors_allowed = 2;

/* ---- the pool ------------------------------------------------------------ */

void tune_pool_add(struct tune *t, struct tune_pool *pool,
                   const struct tune_choice *choice)
{
    struct tune_choice base = tune_base(&t->space);
    if (tune_same(&t->space, choice, &base) || tune_is_dropped(t, choice))
        return;
    for (size_t i = 0; i < pool->n; i++)
        if (tune_same(&t->space, choice, &pool->entry[i].choice))
            return;
    pool->entry = tune_room(pool->entry, pool->n + 1, sizeof *pool->entry);
    pool->entry[pool->n++] = (struct tune_entry){.choice = *choice};
}

void tune_pool_forget(struct tune_pool *pool)
{
    for (size_t i = 0; i < pool->n; i++)
        for (size_t m = 0; m < TUNE_MEASURES; m++)
            free(pool->entry[i].ratio[m]);
    free(pool->entry);
    *pool = (struct tune_pool){0};
}

/* ---- scores -------------------------------------------------------------- */

static void add_ratios(struct tune *t, struct tune_entry *e,
                       const struct tune_figures *base,
                       const struct tune_figures *own)
{
    for (enum tune_measure m = 0; m < TUNE_MEASURES; m++) {
        e->ratio[m] = tune_room(e->ratio[m], e->n + 1, sizeof *e->ratio[m]);
        e->ratio[m][e->n] = tune_ratio(t, base, own, m);
    }
    e->n++;
}

static double middle_of(const double *values, size_t n)
{
    double copy[MOST_VALUES];
    memcpy(copy, values, n * sizeof *copy);
    qsort(copy, n, sizeof *copy, compare_values);
    return (copy[(n - 1) / 2] + copy[n / 2]) / 2;
}

/* What the machine does to the ratio of two runs: the standard deviation, from
 * runs of the base one after the other, by the median of their distances. */
struct noise {
    double distance[TUNE_MEASURES][MOST_VALUES];
    struct tune_figures before[TUNE_TRACES];
    size_t n; /* that were met */
};

static void meet_base(const struct tune *t, struct noise *noise,
                      const struct tune_figures *base)
{
    if (noise->n != 0)
        for (enum tune_measure m = 0; m < TUNE_MEASURES; m++)
            noise->distance[m][(noise->n - 1) % MOST_VALUES] =
                fabs(log(tune_ratio(t, noise->before, base, m)));
    memcpy(noise->before, base, t->ntraces * sizeof *base);
    noise->n++;
}

static double deviation(const struct noise *noise, enum tune_measure m)
{
    size_t n = noise->n - 1;
    if (noise->n < 2)
        return 0;
    return middle_of(noise->distance[m], n < MOST_VALUES ? n : MOST_VALUES) /
           0.6745;
}

static void score(const struct tune *t, const struct noise *noise,
                  struct tune_entry *e)
{
    double ratio[TUNE_MEASURES], at_least[TUNE_MEASURES];
    for (enum tune_measure m = 0; m < TUNE_MEASURES; m++) {
        ratio[m] = middle_of(e->ratio[m], e->n);
        at_least[m] = ratio[m] -
                      errors_allowed * deviation(noise, m) / sqrt((double)e->n);
    }
    e->score =
        log(tune_objective(t, ratio)) + penalty * tune_excess(t, at_least);
}

static int by_score(const void *a, const void *b)
{
    const struct tune_entry *x = a, *y = b;
    if (x->out != y->out)
        return x->out - y->out;
    return (x->score > y->score) - (x->score < y->score);
}

static size_t running(const struct tune_pool *pool)
{
    size_t n = 0;
    for (size_t i = 0; i < pool->n; i++)
        n += !pool->entry[i].out;
    return n;
}

/* ---- a rung -------------------------------------------------------------- */

struct rung {
    double share; /* of the search's part */
    size_t rounds;
    char stage[64];
    struct noise noise; /* of this rung */
};

/* Run each choice once. Returns false: interrupted. */
static bool one_round(struct tune *t, struct tune_pool *pool, struct rung *rung,
                      size_t round)
{
    struct tune_figures base[TUNE_TRACES], own[TUNE_TRACES];
    struct tune_choice usual = tune_base(&t->space);
    size_t n = running(pool), at = 0;
    double to = t->search_to * rung->share;
    for (size_t i = 0; i < pool->n; i++) {
        struct tune_entry *e = &pool->entry[i];
        if (e->out)
            continue;
        tune_tell(t, rung->stage, round * n + at, rung->rounds * n);
        if (at++ % BETWEEN == 0) {
            if (tune_try(t, &usual, 0, to, base) != TUNE_DONE)
                return false;
            meet_base(t, &rung->noise, base);
        }
        enum tune_outcome outcome = tune_try(t, &e->choice, 0, to, own);
        if (outcome == TUNE_STOPPED)
            return false;
        e->out = outcome == TUNE_UNUSABLE;
        if (!e->out)
            add_ratios(t, e, base, own);
    }
    return true;
}

static bool run_rung(struct tune *t, struct tune_pool *pool, struct rung *rung,
                     double until_s)
{
    bool whole = rung->share >= 1;
    rung->noise.n = 0;
    for (size_t i = 0; i < pool->n; i++)
        if (!whole || pool->entry[i].n > MOST_ROUNDS)
            pool->entry[i].n = 0;
    for (size_t i = 0; i < rung->rounds; i++)
        if ((i != 0 && t->elapsed_s >= until_s) || !one_round(t, pool, rung, i))
            break;
    for (size_t i = 0; i < pool->n; i++)
        if (!pool->entry[i].out && pool->entry[i].n != 0)
            score(t, &rung->noise, &pool->entry[i]);
    return !t->interrupted;
}

/* Leave all but the best behind. */
static void keep_best(struct tune_pool *pool, size_t keep)
{
    qsort(pool->entry, pool->n, sizeof *pool->entry, by_score);
    for (size_t i = keep; i < pool->n; i++)
        pool->entry[i].out = true;
}

/* ---- the race ------------------------------------------------------------ */

static size_t after_rung(size_t n, size_t keep)
{
    size_t third = (n + THIRD - 1) / THIRD;
    return third > keep ? third : keep;
}

static size_t rungs_of(size_t n, size_t keep)
{
    size_t rungs = 1;
    for (; (n = after_rung(n, keep)) > keep; rungs++)
        ;
    return rungs;
}

/*
 * The largest share for the first rung with which all rungs take no more than
 * most_s. Each rung costs the same. A share of 3 is three rounds:
 * with time to spare and few choices, the last rung still has MOST_ROUNDS.
 */
static double first_share(const struct tune *t, size_t n, size_t keep,
                          double most_s)
{
    double share = 1;
    double last = pow(THIRD, (double)rungs_of(n, keep) - 1);
    double each_s =
        t->run_s * (1 + 1.0 / BETWEEN) * (double)n * (double)rungs_of(n, keep);
    while (share * each_s > most_s && share / THIRD >= least_share &&
           share / THIRD * t->run_s >= least_run_s)
        share /= THIRD;
    while (share >= 1 && share * THIRD * last <= MOST_ROUNDS &&
           share * THIRD * each_s <= most_s)
        share *= THIRD;
    return share;
}

bool tune_race(struct tune *t, struct tune_pool *pool, size_t keep,
               double most_s, double until_s)
{
    struct rung rung;
    size_t rungs = rungs_of(pool->n, keep);
    double share = first_share(t, pool->n, keep, most_s);
    for (size_t i = 0; i < rungs && running(pool) != 0; i++) {
        double rounds = fmin(fmax(share, 1), MOST_ROUNDS);
        rung.share = fmin(share, 1);
        rung.rounds = (size_t)(rounds + 0.5);
        snprintf(rung.stage, sizeof rung.stage, "rung %zu of %zu", i + 1,
                 rungs);
        if (!run_rung(t, pool, &rung, until_s))
            return false;
        keep_best(pool, after_rung(running(pool), keep));
        if (t->elapsed_s >= until_s)
            break;
        share *= THIRD;
    }
    keep_best(pool, keep);
    return true;
}
