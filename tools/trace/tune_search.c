/* SPDX-License-Identifier: MIT
 * tune_search.c - looks for the best choice: races find candidates, duels
 * decide.
 *
 * The first race is of all single changes to the base. Its best ones are put
 * together one by one, each by a duel against what there is so far. The next
 * races are of neighbours: steps of what has changed, all single changes once
 * more but those that were bad, and random sets of good ones; until two races
 * bring nothing better. At the end each line has to pay in a duel against the
 * choice without it, or goes.
 */
#include "tune.h"
#include "../hakctl.h"

#include <stdlib.h>

enum {
    GOOD = 12,   /* changes of the first race that are tried again */
    DUELS = 4,   /* after each race */
    SETS = 12,   /* random sets of good changes in a race */
    PASSES = 12, /* races at most */
    LEAST_PAIRS = 8,
    MOST_PAIRS = 40,
};
/* The share of the time that races and duels may take; the rest is for the
 * lines, each by itself. */
static const double races_share = 0.8;
/* The share of what is left of it that a race may take. */
static const double race_share = 0.5;
/* A score that is no matter of noise. */
static const double bad_score = 0.02;
/* The share of the budget that confirming may take, and how much longer than
 * expected it is taken to take. */
static const double confirm_share = 0.3, confirm_slack = 1.1;
enum { LINES = 8 }; /* so many that there should be time to confirm */

struct search {
    struct tune *t;
    struct tune_choice best;
    double until_s;
    struct tune_choice good[GOOD];
    struct tune_choice *bad; /* allocated */
    size_t ngood, nbad;
};

/* ---- duels --------------------------------------------------------------- */

/* So many that there is time for a dozen duels more. */
static size_t pairs_for(const struct search *s)
{
    double left_s = s->until_s - s->t->elapsed_s;
    double pairs = left_s / (12 * 3 * s->t->run_s);
    return pairs > MOST_PAIRS    ? MOST_PAIRS
           : pairs < LEAST_PAIRS ? LEAST_PAIRS
                                 : (size_t)pairs;
}

static void set_best(struct search *s, const struct tune_choice *choice,
                     double ratio)
{
    struct tune *t = s->t;
    s->best = *choice;
    free(t->progress.best);
    t->progress.best = tune_choice_text(&t->space, choice);
    t->progress.best_ratio *= ratio;
}

/* Take the choice if it is better than the best so far. */
static bool challenge(struct search *s, const struct tune_choice *choice)
{
    struct tune_pairs pairs;
    struct tune_line lines[TUNE_KNOBS];
    struct tune *t = s->t;
    if (tune_same(&t->space, choice, &s->best) || tune_is_dropped(t, choice) ||
        tune_lines(&t->space, choice, lines) > t->most_lines ||
        !tune_duel(t, &s->best, choice, pairs_for(s), s->until_s, &pairs) ||
        !pairs.pays)
        return false;
    set_best(s, choice, pairs.objective.median);
    return true;
}

/* ---- pools --------------------------------------------------------------- */

static bool is_bad(const struct search *s, const struct tune_choice *choice)
{
    for (size_t i = 0; i < s->nbad; i++)
        if (tune_same(&s->t->space, &s->bad[i], choice))
            return true;
    return false;
}

/* All single changes to the best so far, but those that were bad for the base.
 */
static void add_moves(struct search *s, struct tune_pool *pool)
{
    const struct tune_space *space = &s->t->space;
    struct tune_choice base = tune_base(space);
    for (size_t i = 0; i < space->nmoves; i++) {
        struct tune_choice c = tune_moved(space, &base, &space->move[i]);
        if (is_bad(s, &c))
            continue;
        c = tune_moved(space, &s->best, &space->move[i]);
        tune_pool_add(s->t, pool, &c);
    }
}

static void add_turned(struct search *s, struct tune_pool *pool, size_t knob,
                       size_t value)
{
    struct tune_move one = {.n = 1, .part = {{(uint8_t)knob, (uint8_t)value}}};
    struct tune_choice c = tune_moved(&s->t->space, &s->best, &one);
    tune_pool_add(s->t, pool, &c);
}

/* Each change a step further and back, and taken back. */
static void add_steps(struct search *s, struct tune_pool *pool)
{
    const struct tune_space *space = &s->t->space;
    for (size_t i = 0; i < space->n; i++) {
        const struct tune_knob *k = &space->knob[i];
        uint8_t at = s->best.at[i];
        if (at == k->usual)
            continue;
        add_turned(s, pool, i, k->usual);
        if (k->scale && at > 0)
            add_turned(s, pool, i, at - 1u);
        if (k->scale && at + 1 < k->n)
            add_turned(s, pool, i, at + 1u);
    }
}

/* Random sets of what was good for the base. */
static void add_sets(struct search *s, struct tune_pool *pool)
{
    const struct tune_space *space = &s->t->space;
    for (size_t n = 0; n < SETS && s->ngood > 1; n++) {
        struct tune_choice c = s->best;
        for (size_t i = 0; i < s->ngood; i++)
            if (compare_random(&s->t->random) >> 63)
                c = tune_joined(space, &c, &s->good[i]);
        tune_pool_add(s->t, pool, &c);
    }
}

/* ---- a race and its duels ------------------------------------------------ */

/* Remember the changes that seem to pay by themselves, and those that do harm.
 */
static void remember(struct search *s, const struct tune_pool *pool)
{
    s->bad = tune_room(NULL, pool->n + 1, sizeof *s->bad);
    for (size_t i = 0; i < pool->n; i++) {
        const struct tune_entry *e = &pool->entry[i];
        if (e->n != 0 && e->score < 0 && s->ngood < GOOD)
            s->good[s->ngood++] = e->choice;
        if (e->n != 0 && e->score > bad_score)
            s->bad[s->nbad++] = e->choice;
    }
}

/* Race the pool, and let the best try their luck one by one. joined: on top of
 * the best so far. Returns whether the best has changed. */
static bool race_and_duel(struct search *s, struct tune_pool *pool, bool joined)
{
    bool changed = false;
    double most_s = (s->until_s - s->t->elapsed_s) * race_share;
    if (pool->n == 0 || !tune_race(s->t, pool, DUELS, most_s, s->until_s))
        return false;
    for (size_t i = 0; i < pool->n && i < DUELS; i++) {
        const struct tune_entry *e = &pool->entry[i];
        struct tune_choice c = e->choice;
        if (e->out || e->n == 0 || e->score >= 0)
            continue;
        if (joined)
            c = tune_joined(&s->t->space, &s->best, &c);
        changed |= challenge(s, &c);
    }
    return changed;
}

static bool first_race(struct search *s)
{
    struct tune_pool pool = {0};
    add_moves(s, &pool);
    bool changed = race_and_duel(s, &pool, true);
    remember(s, &pool);
    tune_pool_forget(&pool);
    return changed;
}

static bool next_race(struct search *s)
{
    struct tune_pool pool = {0};
    add_steps(s, &pool);
    add_moves(s, &pool);
    add_sets(s, &pool);
    bool changed = race_and_duel(s, &pool, false);
    tune_pool_forget(&pool);
    return changed;
}

static void all_races(struct search *s)
{
    size_t vain = first_race(s) ? 0 : 1;
    for (size_t i = 1; i < PASSES && vain < 2; i++) {
        if (s->t->elapsed_s >= s->until_s || s->t->interrupted)
            break;
        vain = next_race(s) ? 0 : vain + 1;
    }
    free(s->bad);
}

/* ---- the end ------------------------------------------------------------- */

/* Drop the lines that do not pay. A single line has paid against the base, and
 * each line had when it was added; so lines that there is no time for stay. */
static void drop_lines(struct search *s)
{
    struct tune *t = s->t;
    struct tune_line lines[TUNE_KNOBS];
    struct tune_pairs pairs;
    size_t n = tune_lines(&t->space, &s->best, lines);
    for (size_t i = n; n > 1 && i-- > 0;) {
        struct tune_choice less = tune_without(&t->space, &s->best, &lines[i]);
        if (!tune_duel(t, &less, &s->best, pairs_for(s), s->until_s, &pairs))
            return;
        if (!pairs.pays) {
            set_best(s, &less, 1);
            n = tune_lines(&t->space, &s->best, lines);
            if (i > n)
                i = n;
        }
    }
}

/* What a run of the base takes, by the second of two. Returns false: it was
 * interrupted, or the base cannot be used. */
static bool time_base(struct tune *t)
{
    struct tune_figures figures[TUNE_TRACES];
    struct tune_choice base = tune_base(&t->space);
    double start_s = t->elapsed_s;
    tune_tell(t, "the base", 0, 0);
    if (tune_try(t, &base, 0, t->search_to, figures) != TUNE_DONE)
        return false;
    double first_s = t->elapsed_s;
    if (tune_try(t, &base, 0, t->search_to, figures) != TUNE_DONE)
        return false;
    t->run_s = t->elapsed_s - first_s;
    if (t->run_s <= 0)
        t->run_s = (t->elapsed_s - start_s) / 2;
    return true;
}

/* When the search has to end so that its best choice can be confirmed. Sets
 * t->most_lines. */
static double end_of_search(struct tune *t)
{
    double round_s = confirm_slack * TUNE_LEAST_ROUNDS * t->run_s *
                     t->confirm_to / t->search_to;
    double most_s = t->budget_s * confirm_share;
    double reserve_s = round_s * (2 + LINES);
    if (reserve_s < most_s)
        reserve_s = most_s;
    double lines = t->budget_s * confirm_share * 2 / round_s - 2;
    if (reserve_s > most_s * 2)
        reserve_s = most_s * 2;
    t->most_lines = lines < 1 ? 1 : lines > LINES ? LINES : (size_t)lines;
    return t->budget_s - reserve_s;
}

bool tune_search(struct tune *t, struct tune_choice *best)
{
    struct search s = {.t = t, .best = tune_base(&t->space)};
    t->progress.best_ratio = 1;
    bool good = time_base(t);
    double end_s = end_of_search(t);
    s.until_s = t->elapsed_s + (end_s - t->elapsed_s) * races_share;
    if (good)
        all_races(&s);
    s.until_s = end_s;
    if (good && !t->interrupted)
        drop_lines(&s);
    *best = s.best;
    return good && !t->interrupted;
}
