/* SPDX-License-Identifier: MIT
 * tune.c - hakctl tune: which configuration is the best one for the programs of
 * some traces?
 *
 * docs/tune.md explains the method.
 */
#include "tune_play.h"

#include "../hakctl_control.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* All of one command. */
struct job {
    struct tune_options options;
    struct tune t;
    struct tune_play play;
    char *base_path; /* allocated */
    struct tune_base_ini base;
    struct tune_state state;
    struct tune_verdict verdict;
};

static struct hak_conf base_conf; /* aligned to a page, as it wants to be */
static struct job job;            /* for functions that get only its tune */

/* The share of what is used that the search sees. */
static const double search_share = 0.6;
/* A run over all that is used takes this share of the budget at most. */
static const double run_share = 1.0 / 170;
/* The runs by which the time of a whole run is estimated. */
static const double first_share = 0.02, longest_first_s = 0.5;

/* ---- the base ------------------------------------------------------------ */

/* Variables that win over an INI would make each change to it vain. */
static void forget_variables(void)
{
    size_t kept = 0;
    for (size_t i = 0; environ[i] != NULL; i++)
        if (strncmp(environ[i], "HAKMEM_", 7) != 0)
            environ[kept++] = environ[i];
    environ[kept] = NULL;
}

/* Read the base, if it has no errors. */
static bool read_base(const char *given)
{
    struct ctl_findings all = {0};
    const char *found = ctl_conf(given);
    if (found == NULL)
        return false;
    char *path = job.base_path =
        strdup(found); /* it may be of the environment */
    if (path == NULL)
        ctl_die("no memory");
    forget_variables();
    ctl_lint_file(&all, path, NULL);
    for (size_t i = 0; i < all.n && all.nerrors != 0; i++)
        ctl_print_finding(stderr, &all.at[i]);
    bool good = all.nerrors == 0;
    ctl_forget_findings(&all);
    if (!good ||
        hak_conf_read(&base_conf, path, -1, NULL, NULL, NULL, NULL) != 0)
        return false;
    int error = tune_base_read(&job.base, &base_conf);
    if (error != 0)
        ctl_say("tune: %s: %s", path, strerror(-error));
    return error == 0;
}

/* ---- what the search is about -------------------------------------------- */

/* Size and time of a file, which tell one from a later one. */
static json_t *file_as_json(const char *name)
{
    struct stat s = {0};
    if (stat(name, &s) != 0)
        return json_pack("{s:o}", "file", ctl_json_string(name));
    return json_pack("{s:o, s:I, s:I}", "file", ctl_json_string(name), "bytes",
                     (json_int_t)s.st_size, "changed_s",
                     (json_int_t)s.st_mtim.tv_sec);
}

/* All that figures and decisions depend on, but the budget. */
static json_t *make_about(void)
{
    char dir[512], library[600];
    const struct tune_options *o = &job.options;
    json_t *traces = json_array(), *weights = json_array();
    for (size_t i = 0; i < o->ntraces; i++) {
        json_array_append_new(traces, file_as_json(o->traces[i]));
        json_array_append_new(weights, json_real(o->trace_weight[i]));
    }
    if (!ctl_own_dir(dir, sizeof dir))
        dir[0] = 0;
    snprintf(library, sizeof library, "%s/hakctl-trace", dir);
    json_t *base = json_array();
    for (size_t i = 0; i < job.base.nlines; i++)
        json_array_append_new(base, ctl_json_string(job.base.line[i]));
    json_t *about = json_pack(
        "{s:o, s:o, s:o, s:o, s:[f,f], s:f, s:I}", "base", base, "traces",
        traces, "program", file_as_json(library), "trace-weight", weights,
        "weight", o->weight[TUNE_TIME], o->weight[TUNE_MEMORY], "loss",
        o->most_loss, "seed", (json_int_t)o->seed);
    if (about == NULL)
        ctl_die("no memory");
    return about;
}

/* Read the state of --resume. Without it, a state that is there is not lost. */
static bool prepare_state(void)
{
    job.state.about = make_about();
    if (asprintf(&job.state.file, "%s.state", job.options.out) < 0)
        ctl_die("no memory");
    bool is_there = access(job.state.file, F_OK) == 0;
    if (job.options.resume && is_there)
        return tune_state_read(&job.state, &job.t);
    if (job.options.resume)
        ctl_say("tune: --resume: there is no %s, so it begins anew",
                job.state.file);
    if (is_there)
        ctl_say("tune: %s is of a search that was interrupted: --resume goes "
                "on with it; remove it to begin anew",
                job.state.file);
    return !is_there;
}

/* ---- callbacks ----------------------------------------------------------- */

static double now_s(void *context)
{
    (void)context;
    return (double)compare_now_ns() / 1e9;
}

/* Write the state every few seconds. */
static void keep(const struct tune *t)
{
    enum { PERIOD_S = 5 };
    if (compare_now_ns() - job.state.written_ns <
        PERIOD_S * INT64_C(1000000000))
        return;
    int error = tune_state_write(&job.state, t);
    if (error != 0) {
        tune_print_clear();
        ctl_say("tune: cannot write %s: %s", job.state.file, strerror(-error));
    }
}

static void tell_dropped(const struct tune *t, const struct tune_dropped *d)
{
    struct tune_choice base = tune_base(&t->space);
    char *name = tune_choice_text(&t->space, &base);
    tune_print_clear();
    if (strcmp(d->choice, name) == 0)
        ctl_say("tune: %s cannot be played: %s", job.base.path, d->why);
    else
        ctl_say("tune: left out: %s: %s", d->choice, d->why);
    free(name);
}

/* ---- what is done -------------------------------------------------------- */

static void set_up(void)
{
    const struct tune_options *o = &job.options;
    struct tune *t = &job.t;
    t->ntraces = o->ntraces;
    memcpy(t->trace_weight, o->trace_weight, sizeof t->trace_weight);
    memcpy(t->weight, o->weight, sizeof t->weight);
    t->most_loss = o->most_loss;
    t->least_gain = 0.005;
    t->budget_s = o->budget_s;
    t->random = o->seed;
    t->measure = tune_play_measure;
    t->now_s = now_s;
    t->tell = tune_print_progress;
    t->keep = keep;
    t->drop = tell_dropped;
    t->context = &job.play;
}

/* Find which sizes the traces ask for, and so what can be changed. */
static bool find_changes(void)
{
    char why[512];
    struct tune_use use = {0};
    for (size_t i = 0; i < job.t.ntraces; i++) {
        int error = tune_use_add(&use, job.options.traces[i],
                                 job.t.trace_weight[i], why, sizeof why);
        if (error != 0) {
            ctl_say("tune: %s: %s", job.options.traces[i], why);
            return false;
        }
    }
    tune_space_make(&job.t.space, &base_conf, &use);
    return true;
}

/* Play the base up to a share of the traces. */
static bool time_run(double share, double *took_s)
{
    struct tune *t = &job.t;
    struct tune_figures figures[TUNE_TRACES];
    struct tune_choice base = tune_base(&t->space);
    double start_s = t->elapsed_s;
    tune_tell(t, "the base", 0, 0);
    if (tune_try(t, &base, 0, share, figures) != TUNE_DONE)
        return false;
    *took_s = t->elapsed_s - start_s;
    return true;
}

/* Estimate how long a run over whole traces takes, by runs of growing parts,
 * and use so much of the traces that the budget allows for enough runs. The
 * first run prepares the traces, so its time does not count. */
static bool choose_share(void)
{
    struct tune *t = &job.t;
    double share = first_share, took_s = 0;
    if (job.state.share <= 0 && !time_run(share, &took_s))
        return false;
    while (job.state.share <= 0) {
        if (!time_run(share, &took_s))
            return false;
        if (share >= 1 || took_s >= longest_first_s) {
            double most = t->budget_s * run_share * share / took_s;
            job.state.share = most < 1 ? most : 1;
        }
        share = share * 4 < 1 ? share * 4 : 1;
    }
    if (job.state.share < 1) {
        tune_print_clear();
        ctl_say("tune: only the first %.2g %% of each trace is used, so that "
                "there is time for enough runs; a longer --budget uses more",
                100 * job.state.share);
    }
    t->search_to = job.state.share * search_share;
    t->confirm_to = job.state.share;
    return true;
}

/* Search, and confirm what was found. Returns false: interrupted, or the base
 * cannot be played. */
static bool search(void)
{
    struct tune_choice best;
    struct tune *t = &job.t;
    t->last_s = now_s(NULL);
    job.verdict.choice = tune_base(&t->space);
    if (!choose_share() || !tune_search(t, &best))
        return false;
    struct tune_choice base = tune_base(&t->space);
    return tune_same(&t->space, &best, &base) ||
           tune_confirm(t, &best, &job.verdict);
}

/* ---- the INI that is written --------------------------------------------- */

static char *make_head(void)
{
    char *text = NULL, when[64], gain[512];
    size_t bytes;
    time_t now = time(NULL);
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        ctl_die("no memory");
    strftime(when, sizeof when, "%Y-%m-%d %H:%M", localtime(&now));
    tune_pairs_text(&job.verdict.all, gain, sizeof gain);
    fprintf(out,
            "; hakctl tune, %s: %s with %zu line%s changed.\n"
            "; Against it, on parts of traces that the search had not seen:\n"
            "; %s.\n",
            when, job.base.path, job.verdict.nlines,
            job.verdict.nlines == 1 ? "" : "s", gain);
    for (size_t i = 0; i < job.t.ntraces; i++)
        fprintf(out, "; trace: %s\n", job.options.traces[i]);
    fputs("\n", out);
    if (fclose(out) != 0)
        ctl_die("no memory");
    return text;
}

static bool write_text(FILE *out, const void *text)
{
    return fputs(text, out) >= 0;
}

/* Print what hakctl lint finds in the file. */
static bool check_written(const char *file)
{
    struct ctl_findings all = {0};
    ctl_lint_file(&all, file, NULL);
    for (size_t i = 0; i < all.n; i++)
        ctl_print_finding(stderr, &all.at[i]);
    bool good = all.nerrors == 0;
    ctl_forget_findings(&all);
    return good;
}

/* Write the INI, with what each line is good for. */
static bool write_ini(void)
{
    char *gain[TUNE_KNOBS], text[512], *head = make_head();
    const struct tune_verdict *v = &job.verdict;
    for (size_t i = 0; i < v->nlines; i++) {
        tune_pairs_text(&v->each[i], text, sizeof text);
        gain[i] = strdup(text);
        if (gain[i] == NULL)
            ctl_die("no memory");
    }
    char *ini = tune_ini_text(&job.base, &job.t.space, &v->choice, head, gain);
    int error = ctl_write_whole(job.options.out, write_text, ini);
    for (size_t i = 0; i < v->nlines; i++)
        free(gain[i]);
    free(head);
    free(ini);
    if (error != 0)
        ctl_say("tune: cannot write %s: %s", job.options.out, strerror(-error));
    return error == 0 && check_written(job.options.out);
}

/* ---- the end ------------------------------------------------------------- */

static void tell_interrupted(void)
{
    const struct tune_progress *p = &job.t.progress;
    int error = tune_state_write(&job.state, &job.t);
    if (error != 0)
        ctl_say("tune: cannot write %s: %s", job.state.file, strerror(-error));
    else
        ctl_say("tune: interrupted; %s has the runs so far, --resume goes on",
                job.state.file);
    if (!job.verdict.all.pays && p->best != NULL)
        ctl_say("tune: the best so far, which is not confirmed: %s", p->best);
}

static int finish(bool done)
{
    struct tune *t = &job.t;
    const char *file = NULL;
    int status = t->interrupted ? 130 : CTL_OK;
    tune_print_clear();
    if (!done && !t->interrupted)
        return CTL_SOME; /* the base cannot be played, which was told */
    if (job.verdict.all.pays) {
        file = job.options.out;
        if (!write_ini())
            return CTL_BAD;
    }
    const char *json = job.options.json;
    if (json == NULL || strcmp(json, "-") != 0)
        tune_print_result(t, &job.verdict, job.options.traces, file);
    if (json != NULL &&
        !tune_json_write(json, t, &job.verdict, job.options.traces, file))
        status = CTL_BAD;
    if (t->interrupted)
        tell_interrupted();
    else
        unlink(job.state.file);
    return status;
}

/* Can the results be written? */
static bool can_write(const char *file)
{
    int error =
        file == NULL || strcmp(file, "-") == 0 ? 0 : ctl_can_write(file);
    if (error != 0)
        ctl_say("tune: cannot write %s: %s", file, strerror(-error));
    return error == 0;
}

static int tune(void)
{
    set_up();
    if (!can_write(job.options.out) || !can_write(job.options.json) ||
        !read_base(job.options.conf) || !prepare_state() || !find_changes())
        return CTL_BAD;
    job.play.space = &job.t.space;
    job.play.base = &job.base;
    job.play.seed = job.options.seed;
    job.play.fault_ns = job.state.fault_ns;
    if (!tune_play_open(&job.play, job.options.traces, job.options.ntraces))
        return CTL_BAD;
    job.state.fault_ns = job.play.fault_ns;
    return finish(search());
}

int ctl_tune(int argc, char **argv)
{
    if (!tune_options_take(&job.options, argc, argv))
        return CTL_BAD;
    int status = tune();
    tune_play_close(&job.play);
    tune_verdict_forget(&job.verdict);
    tune_base_forget(&job.base);
    tune_forget(&job.t);
    json_decref(job.state.about);
    free(job.state.file);
    free(job.base_path);
    return status;
}
