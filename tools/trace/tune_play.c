/* SPDX-License-Identifier: MIT
 * tune_play.c - measures a choice: writes its INI, checks it as hakctl lint
 * does, and plays a trace on it.
 *
 * Time is that of all calls of the allocator, and of the page faults: a program
 * pays for these when it first writes into memory, outside of any call. Those
 * within a call count twice, which favours to keep memory that is in use.
 * Memory is the geometric mean of the peak and the mean of resident memory.
 */
#include "tune_play.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- page faults --------------------------------------------------------- */

/* What a page fault takes: the best of some runs over fresh memory. */
static double time_faults(void)
{
    enum { RUNS = 5, PAGES = 4096, PAGE = 4096 };
    double best = 0;
    for (size_t run = 0; run < RUNS; run++) {
        char *p = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return 0;
        madvise(p, (size_t)PAGES * PAGE, MADV_NOHUGEPAGE);
        int64_t start = compare_now_ns();
        for (size_t i = 0; i < PAGES; i++)
            ((volatile char *)p)[i * PAGE] = 1;
        double each = (double)(compare_now_ns() - start) / PAGES;
        munmap(p, (size_t)PAGES * PAGE);
        if (run == 0 || each < best)
            best = each;
    }
    return best;
}

/* ---- the INI ------------------------------------------------------------- */

static bool write_text(FILE *out, const void *text)
{
    return fputs(text, out) >= 0;
}

static const char *path_of(const struct tune_play *p)
{
    return strchr(p->conf, '=') + 1;
}

/* Does the base have a finding like this one? Lines may have moved. */
static bool is_of_base(const struct tune_play *p, const struct ctl_finding *f)
{
    for (size_t i = 0; i < p->findings.n; i++)
        if (p->findings.at[i].level == f->level &&
            strcmp(p->findings.at[i].text, f->text) == 0)
            return true;
    return false;
}

/* Does the INI have no findings but those of the base? */
static bool is_clean(const struct tune_play *p, char *why, size_t n)
{
    struct ctl_findings all = {0};
    bool clean = true;
    ctl_lint_file(&all, path_of(p), NULL);
    for (size_t i = 0; i < all.n && clean; i++) {
        const struct ctl_finding *f = &all.at[i];
        clean = f->level == HAK_DIAG_NOTE || is_of_base(p, f);
        if (!clean)
            snprintf(why, n, "hakctl lint says: %s", f->text);
    }
    ctl_forget_findings(&all);
    return clean;
}

static bool was_good(const struct tune_play *p, const char *name)
{
    for (size_t i = 0; i < p->ngood; i++)
        if (strcmp(p->good[i], name) == 0)
            return true;
    return false;
}

static void keep_name(struct tune_play *p, char *name)
{
    free(p->written);
    p->written = name;
    if (was_good(p, name))
        return;
    p->good = tune_room(p->good, p->ngood + 1, sizeof *p->good);
    p->good[p->ngood] = strdup(name);
    if (p->good[p->ngood++] == NULL)
        ctl_die("no memory");
}

/* Let the INI be that of the choice. Returns 0 or -errno. */
static int use_choice(struct tune_play *p, const struct tune_choice *choice,
                      char *why, size_t n)
{
    char *name = tune_choice_text(p->space, choice);
    if (p->written != NULL && strcmp(p->written, name) == 0) {
        free(name);
        return 0;
    }
    char *text = tune_ini_text(p->base, p->space, choice, NULL, NULL);
    int error = ctl_write_whole(path_of(p), write_text, text);
    free(text);
    if (error != 0)
        snprintf(why, n, "cannot write %s: %s", path_of(p), strerror(-error));
    else if (!was_good(p, name) && !is_clean(p, why, n))
        error = -EINVAL;
    if (error == 0) {
        keep_name(p, name);
    } else {
        free(name);
        free(p->written);
        p->written = NULL;
    }
    return error;
}

/* ---- playing ------------------------------------------------------------- */

int tune_play_measure(void *context, const struct tune_choice *choice,
                      size_t trace, double from, double to,
                      struct tune_figures *out, char *why, size_t n)
{
    struct tune_play *p = context;
    struct replay_figures f;
    struct replay_options options = REPLAY_OPTIONS;
    options.from = from;
    options.to = to;
    options.seed = p->seed;
    int error = use_choice(p, choice, why, n);
    if (error == 0)
        error =
            replay_run(p->plan[trace], &options, p->environment, &f, why, n);
    if (error != 0)
        return error;
    out->value[TUNE_TIME] = f.alloc_ns + (double)f.faults * p->fault_ns;
    out->value[TUNE_MEMORY] =
        sqrt((double)f.peak_rss_bytes * (double)f.mean_rss_bytes);
    return 0;
}

/* ---- beginning and end --------------------------------------------------- */

/* Each part of a trace has to have some. */
enum { LEAST_CALLS = 1000 };

static bool open_plans(struct tune_play *p, char *const *traces, size_t n)
{
    char why[512];
    for (; p->nplans < n; p->nplans++) {
        p->plan[p->nplans] =
            replay_plan_open(traces[p->nplans], 0, why, sizeof why);
        if (p->plan[p->nplans] == NULL) {
            ctl_say("tune: %s: %s", traces[p->nplans], why);
            return false;
        }
        uint64_t ncalls = replay_facts(p->plan[p->nplans])->ncalls;
        if (ncalls < LEAST_CALLS) {
            ctl_say("tune: %s: %llu calls are too few to tune for; it takes "
                    "%d",
                    traces[p->nplans], (unsigned long long)ncalls, LEAST_CALLS);
            p->nplans++;
            return false;
        }
    }
    return true;
}

static bool make_folder(struct tune_play *p)
{
    const char *in = getenv("TMPDIR");
    if (in == NULL || strlen(in) > sizeof p->folder - 24)
        in = "/tmp";
    snprintf(p->folder, sizeof p->folder, "%s/hakctl-tune-XXXXXX", in);
    if (mkdtemp(p->folder) == NULL) {
        ctl_say("tune: cannot make a folder in %s: %s", in, strerror(errno));
        p->folder[0] = 0;
        return false;
    }
    if (asprintf(&p->conf, "HAKMEM_CONF=%s/tune.ini", p->folder) < 0)
        ctl_die("no memory");
    return true;
}

/* The environment of the base, with our INI in the place of its own. */
static void make_environment(struct tune_play *p)
{
    size_t n = 0;
    char **from = p->as_base.at[0].environment;
    while (from[n] != NULL)
        n++;
    p->environment = tune_room(NULL, n + 2, sizeof *p->environment);
    memcpy(p->environment, from, (n + 1) * sizeof *from);
    for (size_t i = 0; i < n; i++)
        if (strncmp(from[i], "HAKMEM_CONF=", 12) == 0) {
            p->environment[i] = p->conf;
            return;
        }
    p->environment[n] = p->conf;
    p->environment[n + 1] = NULL;
}

bool tune_play_open(struct tune_play *p, char *const *traces, size_t n)
{
    static char *words[2];
    compare_signals_start();
    words[0] = replay_player();
    p->as_base.command = "tune";
    p->as_base.program = words;
    compare_add(&p->as_base, COMPARE_INI, p->base->path);
    if (!make_folder(p) || !open_plans(p, traces, n) ||
        !compare_prepare(&p->as_base))
        return false;
    make_environment(p);
    ctl_lint_file(&p->findings, p->base->path, NULL);
    if (p->fault_ns <= 0)
        p->fault_ns = time_faults();
    return true;
}

void tune_play_close(struct tune_play *p)
{
    for (size_t i = 0; i < p->nplans; i++)
        replay_plan_close(p->plan[i]);
    for (size_t i = 0; i < p->ngood; i++)
        free(p->good[i]);
    if (p->conf != NULL)
        unlink(path_of(p));
    if (p->folder[0] != 0)
        rmdir(p->folder);
    ctl_forget_findings(&p->findings);
    free(p->good);
    free(p->written);
    free(p->environment);
    free(p->conf);
}
