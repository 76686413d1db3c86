/* SPDX-License-Identifier: MIT
 * hakctl_compare_rounds.c - the rounds of hakctl compare: each contender once,
 * one after the other.
 */
#include "hakctl_compare.h"
#include "hakctl.h"

#include <stdlib.h>
#include <unistd.h>

/* Which contender is at that place of a round. Each is first once in n rounds;
 * after n rounds the direction turns, so that with up to three contenders all
 * orders come equally often. */
static size_t whose_turn(size_t n, size_t round, size_t place)
{
    bool backwards = round / n % 2 == 1;
    return (round + (backwards ? n - place : place)) % n;
}

/* The name of a round, as in a sentence: of all rounds the first are warm-up.
 */
static void name_round(const struct compare *c, size_t round, char *text,
                       size_t bytes)
{
    bool warm = round < c->warmup;
    snprintf(text, bytes, "%sround %zu of %zu", warm ? "warm-up " : "",
             warm ? round + 1 : round - c->warmup + 1,
             warm ? c->warmup : c->rounds);
}

static void show_progress(const char *round, const char *name)
{
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K");
    if (round != NULL)
        fprintf(stderr, "%s: %s", round, name);
    fflush(stderr);
}

/* Returns whether the comparison goes on after a failed run. */
static bool go_on(const struct compare *c, const char *round, const char *name,
                  const struct compare_run *run)
{
    show_progress(NULL, NULL);
    ctl_say("%s: %s, %s: %s%s", c->command, name, round, run->why,
            c->ignore_failure || c->show_output
                ? ""
                : "; --output shows what is printed, --ignore-failure goes on");
    return c->ignore_failure;
}

static int one_round(struct compare *c, size_t round)
{
    char name[64];
    int status = CTL_OK;
    name_round(c, round, name, sizeof name);
    for (size_t place = 0; place < c->n && status == CTL_OK; place++) {
        struct compare_contender *turn = &c->at[whose_turn(c->n, round, place)];
        struct compare_run run;
        show_progress(name, turn->name);
        status = c->run_once(c, turn, &run);
        if (run.state == COMPARE_FAILED && !go_on(c, name, turn->name, &run))
            status = CTL_SOME;
        if (round >= c->warmup)
            turn->runs[round - c->warmup] = run;
        else
            free(run.why);
        if (compare_interrupted())
            status = 130; /* as a shell has it for SIGINT */
    }
    return status;
}

/* Room for the runs, and the environment of each contender. */
static bool prepare(struct compare *c)
{
    compare_name_apart(c);
    compare_signals_start();
    for (size_t i = 0; i < c->n; i++) {
        c->at[i].runs = calloc(c->rounds, sizeof *c->at[i].runs);
        if (c->at[i].runs == NULL)
            ctl_die("no memory");
    }
    return compare_prepare(c);
}

int compare_rounds(struct compare *c)
{
    int status = prepare(c) ? CTL_OK : CTL_BAD;
    for (size_t i = 0; i < c->warmup + c->rounds && status == CTL_OK; i++)
        status = one_round(c, i);
    show_progress(NULL, NULL);
    c->interrupted = compare_interrupted();
    return status;
}

void compare_forget(struct compare *c)
{
    for (size_t i = 0; i < c->n; i++) {
        struct compare_contender *at = &c->at[i];
        for (size_t k = 0; at->runs != NULL && k < c->rounds; k++)
            free(at->runs[k].why);
        if (at->environment != NULL)
            free(at->environment[0]); /* the text that all point into */
        free(at->environment);
        free(at->runs);
        free(at->name);
        free(at->given);
    }
    free(c->metric);
    free(c->load);
    free(c->title);
}
