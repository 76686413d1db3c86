/* SPDX-License-Identifier: MIT
 * replay_figures.c - what came of a run: times, and memory over the trace.
 */
#include "replay_plan.h"

#include <stdlib.h>
#include <string.h>

/* ---- times --------------------------------------------------------------- */

/* The middle of a bucket, in ticks. */
static double ticks_of(unsigned bucket)
{
    if (bucket < 2 * PLAY_STEPS)
        return bucket;
    unsigned doublings = bucket / PLAY_STEPS - 1;
    double step = (double)(UINT64_C(1) << doublings);
    return (bucket % PLAY_STEPS + PLAY_STEPS + 0.5) * step;
}

/* The ticks that a share of the calls stays within. */
static double quantile(const uint64_t *histogram, uint64_t ncalls, double share)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i < PLAY_BUCKETS; i++) {
        seen += histogram[i];
        if (seen != 0 && (double)seen >= share * (double)ncalls)
            return ticks_of(i);
    }
    return 0;
}

static void take_quantiles(const struct replay_plan *plan, enum play_call which,
                           double out[3])
{
    static const double shares[] = {0.5, 0.99, 0.999};
    uint64_t histogram[PLAY_BUCKETS] = {0}, n = 0;
    for (uint32_t seat = 0; seat < plan->nseats; seat++)
        for (unsigned i = 0; i < PLAY_BUCKETS; i++) {
            histogram[i] += plan->seats[seat].histogram[which][i];
            n += plan->seats[seat].histogram[which][i];
        }
    for (unsigned i = 0; i < 3; i++)
        out[i] =
            quantile(histogram, n, shares[i]) / plan->control->ticks_per_ns;
}

static void take_times(const struct replay_plan *plan,
                       struct replay_figures *out)
{
    double ticks = 0;
    for (uint32_t i = 0; i < plan->nseats; i++) {
        ticks += (double)plan->seats[i].ticks;
        out->nops += plan->seats[i].ncalls;
    }
    out->alloc_ns = ticks / plan->control->ticks_per_ns;
    out->wall_ns = (double)plan->control->wall_ns;
    out->cpu_ns = (double)plan->control->cpu_ns;
    take_quantiles(plan, PLAY_MAKES, out->malloc_ns);
    take_quantiles(plan, PLAY_FREES, out->free_ns);
}

/* ---- memory -------------------------------------------------------------- */

static void add_sample(struct replay_plan *plan, size_t number)
{
    const struct replay_place *place = &plan->place[number];
    uint64_t private = plan->control->sample[number];
    if (private == 0 || !place->there)
        return;
    private -= 1;
    uint64_t own = plan->baseline_bytes;
    plan->sample[plan->nsamples++] = (struct replay_sample){
        .call = place->call,
        .time_ns = place->time_ns,
        .live_bytes = place->live_bytes,
        .recorded_bytes = place->recorded_bytes,
        .rss_bytes = private > own ? private - own : 0,
    };
}

static int by_call(const void *a, const void *b)
{
    const struct replay_sample *x = a, *y = b;
    return (x->call > y->call) - (x->call < y->call);
}

/* Means are over the samples at even distances; the others are extremes. */
static void take_memory(struct replay_plan *plan, struct replay_figures *out)
{
    double rss = 0, live = 0;
    plan->nsamples = 0;
    for (size_t i = 0; i < PLAY_SAMPLES; i++)
        add_sample(plan, i);
    size_t even = plan->nsamples;
    for (size_t i = 0; i < even; i++) {
        rss += (double)plan->sample[i].rss_bytes;
        live += (double)plan->sample[i].live_bytes;
    }
    add_sample(plan, PLAY_SAMPLES);
    add_sample(plan, PLAY_SAMPLES + 1);
    for (size_t i = 0; i < plan->nsamples; i++) {
        const struct replay_sample *s = &plan->sample[i];
        if (s->rss_bytes > out->peak_rss_bytes)
            out->peak_rss_bytes = s->rss_bytes;
        if (s->live_bytes > out->peak_live_bytes)
            out->peak_live_bytes = s->live_bytes;
    }
    if (even != 0) {
        out->mean_rss_bytes = (uint64_t)(rss / (double)even);
        out->mean_live_bytes = (uint64_t)(live / (double)even);
    }
    qsort(plan->sample, plan->nsamples, sizeof *plan->sample, by_call);
}

void replay_take_figures(struct replay_plan *plan, struct replay_figures *out)
{
    *out = (struct replay_figures){.faults = plan->control->faults,
                                   .of_libc = plan->control->of_libc};
    memcpy(out->maker, plan->control->maker, sizeof out->maker);
    out->maker[sizeof out->maker - 1] = 0;
    if (plan->control->file_bytes > plan->baseline_file_bytes)
        out->library_bytes =
            plan->control->file_bytes - plan->baseline_file_bytes;
    take_times(plan, out);
    take_memory(plan, out);
}
