/* SPDX-License-Identifier: MIT
 * replay_measures.c - runs of hakctl replay, and what is measured of them.
 */
#include "replay_command.h"

#include "../hakctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TIME_OF(call, share)                                      \
    .unit = COMPARE_NS, .name = share " of " call, .verb = "has", \
    .less = "less time at " share " of " call,                    \
    .more = "more time at " share " of " call, .untold = true, .apart = true

static const struct compare_measured measured[REPLAY_MEASURES] = {
    [REPLAY_ALLOC] = {"alloc_ns", "alloc time", COMPARE_NS,
                      "time in the allocator", "spends",
                      "less time in the allocator",
                      "more time in the allocator"},
    [REPLAY_PEAK] = {"peak_rss_bytes", "peak RSS", COMPARE_BYTES, "peak RSS",
                     "has", "less peak RSS", "more peak RSS"},
    [REPLAY_MEAN] = {"mean_rss_bytes", "mean RSS", COMPARE_BYTES, "mean RSS",
                     "has", "less mean RSS", "more mean RSS"},
    [REPLAY_FRAGMENTATION] = {"rss_per_live", "RSS/live", COMPARE_NUMBER,
                              "mean RSS over live bytes", "has", "less", "more",
                              .untold = true},
    [REPLAY_FAULTS] = {"minor_faults", "faults", COMPARE_COUNT, "minor faults",
                       "has", "fewer minor faults", "more minor faults"},
    [REPLAY_WALL] = {"wall_ns", "wall time", COMPARE_NS, "wall time", "is",
                     "faster", "slower", .hidden = true},
    [REPLAY_CPU] = {"cpu_ns", "CPU time", COMPARE_NS, "CPU time", "uses",
                    "less CPU time", "more CPU time", .hidden = true},
    [REPLAY_LIBRARY] = {"library_rss_bytes", "library", COMPARE_BYTES,
                        "memory of the library's file", "has", "less", "more",
                        .hidden = true},
    [REPLAY_MALLOC] = {"malloc_p50_ns", "malloc50", TIME_OF("malloc", "p50")},
    {"malloc_p99_ns", "99", TIME_OF("malloc", "p99")},
    {"malloc_p999_ns", "99.9", TIME_OF("malloc", "p99.9")},
    [REPLAY_FREE] = {"free_p50_ns", "free 50", TIME_OF("free", "p50")},
    {"free_p99_ns", "99", TIME_OF("free", "p99")},
    {"free_p999_ns", "99.9", TIME_OF("free", "p99.9")},
};

static void take_values(const struct replay_figures *f, struct compare_run *run)
{
    double live = (double)f->mean_live_bytes, *value = run->value;
    run->state = COMPARE_DONE;
    value[REPLAY_ALLOC] = f->alloc_ns;
    value[REPLAY_PEAK] = (double)f->peak_rss_bytes;
    value[REPLAY_MEAN] = (double)f->mean_rss_bytes;
    value[REPLAY_FRAGMENTATION] =
        live > 0 ? (double)f->mean_rss_bytes / live : 0;
    value[REPLAY_FAULTS] = (double)f->faults;
    value[REPLAY_WALL] = f->wall_ns;
    value[REPLAY_CPU] = f->cpu_ns;
    value[REPLAY_LIBRARY] = (double)f->library_bytes;
    memcpy(value + REPLAY_MALLOC, f->malloc_ns, sizeof f->malloc_ns);
    memcpy(value + REPLAY_FREE, f->free_ns, sizeof f->free_ns);
}

static void keep_curve(struct replay *r, size_t contender)
{
    struct replay_curve *curve = &r->curve[contender];
    size_t n;
    const struct replay_sample *samples = replay_samples(r->plan, &n);
    if (curve->at != NULL || n == 0)
        return;
    curve->at = calloc(n, sizeof *curve->at);
    if (curve->at == NULL)
        ctl_die("no memory");
    memcpy(curve->at, samples, n * sizeof *samples);
    curve->n = n;
}

static int run_once(const struct compare *c,
                    const struct compare_contender *contender,
                    struct compare_run *run)
{
    struct replay *r = c->context;
    struct replay_figures figures;
    char why[1024] = "";
    *run = (struct compare_run){0};
    int error = replay_run(r->plan, &r->options, contender->environment,
                           &figures, why, sizeof why);
    if (error == -EINTR)
        return CTL_OK;
    if (error == 0 && figures.of_libc && contender->kind != COMPARE_LIBC) {
        snprintf(why, sizeof why,
                 "malloc is still that of libc (%s): the library does not "
                 "serve it",
                 figures.maker);
        error = -ENOEXEC;
    }
    if (error != 0) {
        run->state = COMPARE_FAILED;
        run->why = strdup(why);
        return run->why != NULL ? CTL_OK : CTL_BAD;
    }
    take_values(&figures, run);
    keep_curve(r, (size_t)(contender - c->at));
    return CTL_OK;
}

void replay_set_measures(struct replay *r)
{
    struct compare *c = &r->compare;
    c->measured = measured;
    c->nmeasures = REPLAY_MEASURES;
    c->main = REPLAY_ALLOC;
    c->run_once = run_once;
    c->context = r;
}
