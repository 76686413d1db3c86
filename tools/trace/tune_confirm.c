/* SPDX-License-Identifier: MIT
 * tune_confirm.c - is the choice better on the part of the traces that the
 * search has not seen, and what is each of its lines good for?
 *
 * A round runs the base, the choice, and the choice without each line. All of
 * them are compared with the choice of the same round.
 */
#include "tune.h"
#include "../hakctl.h"

#include <stdlib.h>

enum { ROUNDS = 40 };
enum { BASE, CHOICE, LESS }; /* places; LESS + i is without line i */

struct table {
    struct tune_choice choice[TUNE_KNOBS + LESS];
    size_t n, rounds;
    struct tune_figures *figures; /* by round, choice, trace */
};

static struct tune_figures *figures_of(const struct tune *t,
                                       const struct table *table, size_t round,
                                       size_t choice)
{
    return table->figures + (round * table->n + choice) * t->ntraces;
}

/* ---- rounds -------------------------------------------------------------- */

static bool one_round(struct tune *t, struct table *table)
{
    for (size_t i = 0; i < table->n; i++) {
        size_t turn = (table->rounds + i) % table->n;
        tune_tell(t, "confirming", table->rounds * table->n + i,
                  table->n * ROUNDS);
        if (tune_try(t, &table->choice[turn], t->search_to, t->confirm_to,
                     figures_of(t, table, table->rounds, turn)) != TUNE_DONE)
            return false;
    }
    table->rounds++;
    return true;
}

/* Run as many rounds as there is time for, but enough for an interval. */
static void run_rounds(struct tune *t, struct table *table)
{
    double start_s = t->elapsed_s;
    while (table->rounds < ROUNDS) {
        double each_s = table->rounds == 0
                            ? 0
                            : (t->elapsed_s - start_s) / (double)table->rounds;
        if (table->rounds >= TUNE_LEAST_ROUNDS && each_s > tune_left_s(t))
            break;
        if (!one_round(t, table))
            break;
    }
}

/* ---- what they say ------------------------------------------------------- */

/* Choice b to a, round by round. */
static struct tune_pairs compare(const struct tune *t,
                                 const struct table *table, size_t a, size_t b)
{
    double objective[ROUNDS], ratio[TUNE_MEASURES][ROUNDS];
    struct tune_pairs p = {.pays = table->rounds >= TUNE_LEAST_ROUNDS};
    for (size_t i = 0; i < table->rounds; i++) {
        double each[TUNE_MEASURES];
        for (enum tune_measure m = 0; m < TUNE_MEASURES; m++)
            ratio[m][i] = each[m] = tune_ratio(t, figures_of(t, table, i, a),
                                               figures_of(t, table, i, b), m);
        objective[i] = tune_objective(t, each);
    }
    p.objective = compare_ratio_of(objective, table->rounds);
    for (size_t m = 0; m < TUNE_MEASURES; m++) {
        p.measure[m] = compare_ratio_of(ratio[m], table->rounds);
        p.pays &= !tune_is_loss(t, (enum tune_measure)m, &p.measure[m]);
    }
    p.pays &= p.objective.high < 1;
    return p;
}

static double median_of(const struct tune *t, const struct table *table,
                        size_t choice, size_t trace, enum tune_measure m)
{
    double values[ROUNDS];
    for (size_t i = 0; i < table->rounds; i++)
        values[i] = figures_of(t, table, i, choice)[trace].value[m];
    return compare_ratio_of(values, table->rounds).median;
}

/* The figures of each trace by itself. */
static void split(const struct tune *t, const struct table *table,
                  struct tune_verdict *v)
{
    double ratio[ROUNDS];
    for (size_t trace = 0; trace < t->ntraces; trace++)
        for (enum tune_measure m = 0; m < TUNE_MEASURES; m++) {
            for (size_t i = 0; i < table->rounds; i++)
                ratio[i] = figures_of(t, table, i, CHOICE)[trace].value[m] /
                           figures_of(t, table, i, BASE)[trace].value[m];
            v->trace[trace][m] = compare_ratio_of(ratio, table->rounds);
            for (size_t side = BASE; side <= CHOICE; side++)
                v->figures[trace][side].value[m] =
                    median_of(t, table, side, trace, m);
        }
}

static void prepare(const struct tune *t, struct table *table,
                    struct tune_verdict *v)
{
    table->choice[BASE] = tune_base(&t->space);
    table->choice[CHOICE] = v->choice;
    table->n = LESS;
    v->nlines = tune_lines(&t->space, &v->choice, v->line);
    for (size_t i = 0; i < v->nlines && v->nlines > 1; i++)
        table->choice[table->n++] =
            tune_without(&t->space, &v->choice, &v->line[i]);
    table->figures =
        tune_room(NULL, ROUNDS * table->n * t->ntraces, sizeof *table->figures);
    v->each = tune_room(NULL, v->nlines + 1, sizeof *v->each);
}

bool tune_confirm(struct tune *t, const struct tune_choice *choice,
                  struct tune_verdict *out)
{
    struct table table = {.n = 0};
    *out = (struct tune_verdict){.choice = *choice};
    prepare(t, &table, out);
    run_rounds(t, &table);
    out->rounds = table.rounds;
    out->all = compare(t, &table, BASE, CHOICE);
    for (size_t i = 0; i < out->nlines; i++)
        out->each[i] =
            out->nlines == 1 ? out->all : compare(t, &table, LESS + i, CHOICE);
    if (table.rounds != 0)
        split(t, &table, out);
    free(table.figures);
    return !t->interrupted;
}

void tune_verdict_forget(struct tune_verdict *v)
{
    free(v->each);
    v->each = NULL;
}
