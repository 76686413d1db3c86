/* SPDX-License-Identifier: MIT
 * tune_lab.c - measures choices, and keeps each run.
 *
 * A search that goes on after an interruption begins at its beginning and gets
 * the runs that were made before, in their order, in no time. Each of them
 * counts for as much of the budget as it took. So the search decides as before,
 * and needs no state but the runs.
 */
#include "tune.h"
#include "../hakctl.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

void *tune_room(void *at, size_t n, size_t bytes)
{
    void *more = reallocarray(at, n, bytes);
    if (more == NULL)
        ctl_die("no memory");
    return more;
}

static char *copy_of(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        ctl_die("no memory");
    return copy;
}

/* ---- runs ---------------------------------------------------------------- */

/* What is wanted of a run. */
struct wanted {
    const char *choice;
    size_t trace;
    double from, to;
};

static bool is_wanted(const struct tune_run *run, const struct wanted *w)
{
    return !run->used && run->trace == w->trace &&
           fabs(run->from - w->from) < 1e-9 && fabs(run->to - w->to) < 1e-9 &&
           strcmp(run->choice, w->choice) == 0;
}

/* The first run that was read from the state and not used yet. */
static struct tune_run *find_kept(const struct tune *t, const struct wanted *w)
{
    for (size_t i = 0; i < t->nkept; i++)
        if (is_wanted(&t->run[i], w))
            return &t->run[i];
    return NULL;
}

/* The list doubles, as there may be many runs. */
struct tune_run *tune_add_run(struct tune *t, const char *choice)
{
    if ((t->nruns & (t->nruns - 1)) == 0)
        t->run =
            tune_room(t->run, t->nruns == 0 ? 1 : t->nruns * 2, sizeof *t->run);
    struct tune_run *run = &t->run[t->nruns++];
    *run = (struct tune_run){.choice = copy_of(choice)};
    return run;
}

/* Is each figure one that has a ratio? */
static bool is_usable(const struct tune_figures *f)
{
    for (size_t m = 0; m < TUNE_MEASURES; m++)
        if (!isfinite(f->value[m]) || f->value[m] <= 0)
            return false;
    return true;
}

/* Make a run. NULL: interrupted, and there is none. */
static struct tune_run *run_now(struct tune *t, const struct wanted *w,
                                const struct tune_choice *choice)
{
    struct tune_figures figures;
    char why[512] = "";
    int error = t->measure(t->context, choice, w->trace, w->from, w->to,
                           &figures, why, sizeof why);
    double now_s = t->now_s(t->context);
    if (error == -EINTR)
        return NULL;
    struct tune_run *run = tune_add_run(t, w->choice);
    run->trace = w->trace;
    run->from = w->from;
    run->to = w->to;
    run->took_s = now_s - t->last_s;
    t->last_s = now_s;
    if (error == 0 && !is_usable(&figures))
        snprintf(why, sizeof why, "it gave no figures that can be compared");
    if (error != 0 && why[0] == 0)
        snprintf(why, sizeof why, "%s", strerror(-error));
    if (why[0] != 0)
        run->failed = copy_of(why);
    else
        run->figures = figures;
    return run;
}

static void drop(struct tune *t, const char *choice, const char *why)
{
    t->dropped = tune_room(t->dropped, t->ndropped + 1, sizeof *t->dropped);
    t->dropped[t->ndropped++] =
        (struct tune_dropped){copy_of(choice), copy_of(why)};
    if (t->drop != NULL)
        t->drop(t, &t->dropped[t->ndropped - 1]);
}

static bool is_dropped(const struct tune *t, const char *choice)
{
    for (size_t i = 0; i < t->ndropped; i++)
        if (strcmp(t->dropped[i].choice, choice) == 0)
            return true;
    return false;
}

bool tune_is_dropped(const struct tune *t, const struct tune_choice *choice)
{
    if (t->ndropped == 0)
        return false;
    char *text = tune_choice_text(&t->space, choice);
    bool is = is_dropped(t, text);
    free(text);
    return is;
}

static enum tune_outcome one_run(struct tune *t, const struct wanted *w,
                                 const struct tune_choice *choice,
                                 struct tune_figures *out)
{
    struct tune_run *run = find_kept(t, w);
    bool is_new = run == NULL;
    if (is_new)
        run = run_now(t, w, choice);
    if (run == NULL) {
        t->interrupted = true;
        return TUNE_STOPPED;
    }
    run->used = true;
    t->elapsed_s += run->took_s;
    if (run->failed != NULL)
        drop(t, w->choice, run->failed);
    else
        *out = run->figures;
    enum tune_outcome outcome = run->failed != NULL ? TUNE_UNUSABLE : TUNE_DONE;
    if (is_new && t->keep != NULL)
        t->keep(t);
    return outcome;
}

enum tune_outcome tune_try(struct tune *t, const struct tune_choice *choice,
                           double from, double to, struct tune_figures *out)
{
    enum tune_outcome outcome = TUNE_DONE;
    char *text = tune_choice_text(&t->space, choice);
    if (is_dropped(t, text))
        outcome = TUNE_UNUSABLE;
    for (size_t i = 0; i < t->ntraces && outcome == TUNE_DONE; i++)
        outcome =
            one_run(t, &(struct wanted){text, i, from, to}, choice, &out[i]);
    free(text);
    return outcome;
}

/* ---- what runs say ------------------------------------------------------- */

double tune_ratio(const struct tune *t, const struct tune_figures *a,
                  const struct tune_figures *b, enum tune_measure m)
{
    double sum = 0;
    for (size_t i = 0; i < t->ntraces; i++)
        sum += t->trace_weight[i] * log(b[i].value[m] / a[i].value[m]);
    return exp(sum);
}

double tune_objective(const struct tune *t, const double ratio[TUNE_MEASURES])
{
    double sum = 0;
    for (size_t m = 0; m < TUNE_MEASURES; m++)
        sum += t->weight[m] * log(ratio[m]);
    return exp(sum);
}

double tune_excess(const struct tune *t, const double ratio[TUNE_MEASURES])
{
    double excess = 0;
    for (size_t m = 0; m < TUNE_MEASURES; m++)
        if (t->weight[m] > 0)
            excess = fmax(excess, ratio[m] - 1 - t->most_loss);
    return excess;
}

bool tune_is_loss(const struct tune *t, enum tune_measure m,
                  const struct compare_ratio *r)
{
    return t->weight[m] > 0 && r->median > 1 + t->most_loss && r->low > 1;
}

double tune_left_s(const struct tune *t)
{
    return t->budget_s - t->elapsed_s;
}

void tune_tell(struct tune *t, const char *stage, size_t done, size_t of)
{
    t->progress.stage = stage;
    t->progress.done = done;
    t->progress.of = of;
    if (t->tell != NULL)
        t->tell(t);
}

void tune_forget(struct tune *t)
{
    for (size_t i = 0; i < t->nruns; i++) {
        free(t->run[i].choice);
        free(t->run[i].failed);
    }
    for (size_t i = 0; i < t->ndropped; i++) {
        free(t->dropped[i].choice);
        free(t->dropped[i].why);
    }
    free(t->run);
    free(t->dropped);
    free(t->progress.best);
    tune_space_forget(&t->space);
}
