/* SPDX-License-Identifier: MIT
 * tune_print.c - what a search does, and what came of it, in words.
 */
#include "tune.h"

#include "../hakctl.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- progress ------------------------------------------------------------ */

static void time_text(double s, char *text, size_t bytes)
{
    unsigned whole = s > 0 ? (unsigned)(s + 0.5) : 0;
    snprintf(text, bytes, "%u:%02u", whole / 60, whole % 60);
}

static void best_text(const struct tune *t, char *text, size_t bytes)
{
    const struct tune_progress *p = &t->progress;
    if (p->best == NULL || p->best_ratio >= 1)
        snprintf(text, bytes, "nothing better yet");
    else
        snprintf(text, bytes, "best -%.1f %%: %s", 100 * (1 - p->best_ratio),
                 p->best);
}

void tune_print_clear(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

static void print_in_terminal(const struct tune *t, const char *left,
                              const char *best)
{
    enum { COLUMNS = 79, PERIOD_NS = 100000000 };
    static int64_t last_ns;
    char line[768], done[48] = "";
    int64_t now_ns = compare_now_ns();
    if (now_ns - last_ns < PERIOD_NS)
        return;
    last_ns = now_ns;
    if (t->progress.of != 0)
        snprintf(done, sizeof done, ", %zu of %zu", t->progress.done,
                 t->progress.of);
    snprintf(line, sizeof line, "%s left, %s%s; %s", left, t->progress.stage,
             done, best);
    fprintf(stderr, "\r\033[K%.*s%s", COLUMNS - 2, line,
            strlen(line) > COLUMNS - 2 ? ".." : "");
    fflush(stderr);
}

/* A line when a stage begins. */
static void print_stage(const struct tune *t, const char *left,
                        const char *best)
{
    static char last[64];
    if (strcmp(last, t->progress.stage) == 0)
        return;
    snprintf(last, sizeof last, "%s", t->progress.stage);
    ctl_say("tune: %s left, %s; %s", left, t->progress.stage, best);
}

void tune_print_progress(const struct tune *t)
{
    char left[24], best[512];
    time_text(tune_left_s(t), left, sizeof left);
    best_text(t, best, sizeof best);
    if (isatty(STDERR_FILENO))
        print_in_terminal(t, left, best);
    else
        print_stage(t, left, best);
}

/* ---- the result ---------------------------------------------------------- */

void tune_pairs_text(const struct tune_pairs *p, char *text, size_t bytes)
{
    char time[160], memory[160];
    compare_ratio_text(&p->measure[TUNE_TIME], "time", time, sizeof time);
    compare_ratio_text(&p->measure[TUNE_MEMORY], "memory", memory,
                       sizeof memory);
    snprintf(text, bytes, "%s, %s", time, memory);
}

/* "12.1 ms" and "11.2 ms", as far as 9 characters each. */
static void print_trace(const struct tune_verdict *v, size_t i,
                        const char *name)
{
    char text[2][TUNE_MEASURES][24];
    for (size_t side = 0; side < 2; side++) {
        const double *value = v->figures[i][side].value;
        compare_print_value(text[side][TUNE_TIME], 24, COMPARE_NS,
                            value[TUNE_TIME]);
        compare_print_value(text[side][TUNE_MEMORY], 24, COMPARE_BYTES,
                            value[TUNE_MEMORY]);
    }
    printf("  %-24s", name);
    for (enum tune_measure m = 0; m < TUNE_MEASURES; m++)
        printf("  %9s -> %9s %+5.1f %%", text[0][m], text[1][m],
               100 * (v->trace[i][m].median - 1));
    fputc('\n', stdout);
}

static void print_lines(const struct tune *t, const struct tune_verdict *v)
{
    char line[256], gain[512];
    puts("\nEach line by itself, against the same INI without it:");
    for (size_t i = 0; i < v->nlines; i++) {
        tune_line_text(&t->space, &v->choice, &v->line[i], line, sizeof line);
        tune_pairs_text(&v->each[i], gain, sizeof gain);
        printf("  %s\n      %s\n", line, gain);
    }
}

static void print_confirmation(const struct tune *t,
                               const struct tune_verdict *v,
                               char *const *traces)
{
    char gain[512], *choice = tune_choice_text(&t->space, &v->choice);
    tune_pairs_text(&v->all, gain, sizeof gain);
    printf("%s\n  %s\n", choice, gain);
    free(choice);
    printf("confirmed on the part of the traces that the search had not seen, "
           "%zu rounds:\n",
           v->rounds);
    for (size_t i = 0; i < t->ntraces; i++)
        print_trace(v, i, traces[i]);
    if (v->nlines > 1)
        print_lines(t, v);
}

/* Why the choice is not written. */
static void print_doubt(const struct tune *t, const struct tune_verdict *v)
{
    char gain[512], *choice = tune_choice_text(&t->space, &v->choice);
    tune_pairs_text(&v->all, gain, sizeof gain);
    printf("What seemed best to the search was not confirmed on the part of "
           "the traces\nthat it had not seen:\n  %s\n  %s\n",
           choice, gain);
    free(choice);
}

void tune_print_result(const struct tune *t, const struct tune_verdict *v,
                       char *const *traces, const char *file)
{
    char took[24];
    tune_print_clear();
    time_text(t->elapsed_s, took, sizeof took);
    printf("%zu runs in %s of %zu possible changes", t->nruns, took,
           t->space.nmoves);
    if (t->ndropped != 0)
        printf(", %zu of which cannot be used", t->ndropped);
    puts("");
    if (v->all.pays)
        print_confirmation(t, v, traces);
    else if (v->nlines != 0 && v->rounds != 0)
        print_doubt(t, v);
    if (file != NULL)
        printf("\n%s was written.\n", file);
    else if (!t->interrupted)
        puts("No change is worth it. Nothing was written.");
}
