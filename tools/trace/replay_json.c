/* SPDX-License-Identifier: MIT
 * replay_json.c - all that hakctl replay has found, as JSON. docs/replay.md
 * describes the object.
 */
#include "replay_command.h"

#include "../hakctl.h"
#include "../hakctl_control.h"

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *trace_as_json(const struct replay *r)
{
    const struct replay_facts *f = replay_facts(r->plan);
    json_t *about = json_loads(f->about != NULL ? f->about : "{}", 0, NULL);
    if (about == NULL)
        about = json_object();
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}",
                     "file", ctl_json_string(r->file), "about", about, "calls",
                     number(f->ncalls), "failed_calls", number(f->nfailed),
                     "unknown_frees", number(f->nstrange), "threads",
                     number(f->nthreads), "duration_ms",
                     number(f->time_ns / 1000000), "peak_live_bytes",
                     number(f->peak_live_bytes), "peak_live_blocks",
                     number(f->peak_live_blocks), "lost_calls", number(f->lost),
                     "cut", (int)f->was_cut);
}

/* ---- the curve ----------------------------------------------------------- */

/* The sample of a contender at a call; NULL: it has none. */
static const struct replay_sample *sample_at(const struct replay_curve *curve,
                                             uint64_t call)
{
    size_t low = 0, high = curve->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (curve->at[middle].call < call)
            low = middle + 1;
        else
            high = middle;
    }
    return low < curve->n && curve->at[low].call == call ? &curve->at[low]
                                                         : NULL;
}

/* All contenders at one call. Calls count from 1. */
static json_t *row_as_json(const struct replay *r,
                           const struct replay_sample *s)
{
    json_t *rss = json_array();
    for (size_t i = 0; i < r->compare.n; i++) {
        const struct replay_sample *own = sample_at(&r->curve[i], s->call);
        json_array_append_new(rss, own != NULL ? number(own->rss_bytes)
                                               : json_null());
    }
    json_t *recorded =
        s->recorded_bytes != 0 ? number(s->recorded_bytes) : json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "call", number(s->call + 1),
                     "t", number(s->time_ns / 1000000), "live",
                     number(s->live_bytes), "recorded", recorded, "rss", rss);
}

/* The places of all contenders are the same, unless one has failed. */
static json_t *curve_as_json(const struct replay *r)
{
    json_t *rows = json_array();
    const struct replay_curve *longest = &r->curve[0];
    for (size_t i = 1; i < r->compare.n; i++)
        if (r->curve[i].n > longest->n)
            longest = &r->curve[i];
    for (size_t i = 0; i < longest->n; i++)
        if (i == 0 || longest->at[i].call != longest->at[i - 1].call)
            json_array_append_new(rows, row_as_json(r, &longest->at[i]));
    return rows;
}

/* ---- all of it ----------------------------------------------------------- */

json_t *replay_as_json(const struct replay *r)
{
    const struct compare *c = &r->compare;
    const struct replay_options *o = &r->options;
    json_t *contenders = json_array();
    for (size_t i = 0; i < c->n; i++)
        json_array_append_new(contenders, compare_contender_as_json(c, i));
    json_t *all = json_pack(
        "{s:i, s:o, s:f, s:f, s:s, s:b, s:I, s:b, s:I, s:b, s:o, s:o, s:o}",
        "hakctl_replay", 1, "trace", trace_as_json(r), "from", o->from, "to",
        o->to, "order",
        o->free_run ? "free"
        : o->exact  ? "exact"
                    : "near",
        "check", (int)o->check, "seed", (json_int_t)o->seed, "real_time",
        (int)o->real_time, "rounds", (json_int_t)c->rounds, "interrupted",
        (int)c->interrupted, "contenders", contenders, "verdicts",
        compare_verdicts_as_json(c), "curve", curve_as_json(r));
    if (all == NULL)
        ctl_die("no memory");
    return all;
}
