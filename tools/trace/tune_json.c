/* SPDX-License-Identifier: MIT
 * tune_json.c - the result of hakctl tune as JSON; docs/tune.md describes it.
 */
#include "tune.h"

#include "../hakctl.h"
#include "../hakctl_control.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

static const char *const names[TUNE_MEASURES] = {"time", "memory"};

static json_t *ratio_as_json(const struct compare_ratio *r)
{
    json_t *o = json_pack("{s:f, s:I}", "ratio", r->median, "pairs",
                          (json_int_t)r->pairs);
    if (r->pairs >= COMPARE_LEAST_PAIRS)
        json_object_set_new(o, "interval", json_pack("[f,f]", r->low, r->high));
    return o;
}

static json_t *pairs_as_json(const struct tune_pairs *p)
{
    json_t *o = json_pack("{s:o}", "objective", ratio_as_json(&p->objective));
    for (size_t m = 0; m < TUNE_MEASURES; m++)
        json_object_set_new(o, names[m], ratio_as_json(&p->measure[m]));
    return o;
}

static json_t *line_as_json(const struct tune *t, const struct tune_verdict *v,
                            size_t i)
{
    char text[256];
    tune_line_text(&t->space, &v->choice, &v->line[i], text, sizeof text);
    json_t *o = pairs_as_json(&v->each[i]);
    json_object_set_new(o, "line", ctl_json_string(text));
    return o;
}

static json_t *trace_as_json(const struct tune *t, const struct tune_verdict *v,
                             size_t i, const char *name)
{
    json_t *o = json_pack("{s:o, s:f}", "file", ctl_json_string(name), "weight",
                          t->trace_weight[i]);
    for (size_t m = 0; m < TUNE_MEASURES && v->rounds != 0; m++) {
        json_t *ratio = ratio_as_json(&v->trace[i][m]);
        json_object_set_new(ratio, "base",
                            json_real(v->figures[i][0].value[m]));
        json_object_set_new(ratio, "tuned",
                            json_real(v->figures[i][1].value[m]));
        json_object_set_new(o, names[m], ratio);
    }
    return o;
}

static json_t *dropped_as_json(const struct tune *t)
{
    json_t *all = json_array();
    for (size_t i = 0; i < t->ndropped; i++)
        json_array_append_new(
            all, json_pack("{s:o, s:o}", "choice",
                           ctl_json_string(t->dropped[i].choice), "why",
                           ctl_json_string(t->dropped[i].why)));
    return all;
}

static json_t *result_as_json(const struct tune *t,
                              const struct tune_verdict *v, char *const *traces,
                              const char *file)
{
    json_t *lines = json_array(), *of_traces = json_array();
    for (size_t i = 0; i < v->nlines && v->each != NULL; i++)
        json_array_append_new(lines, line_as_json(t, v, i));
    for (size_t i = 0; i < t->ntraces; i++)
        json_array_append_new(of_traces, trace_as_json(t, v, i, traces[i]));
    json_t *o = json_pack(
        "{s:i, s:b, s:b, s:I, s:I, s:I, s:f, s:[f,f], s:o, s:o, s:o}",
        "hakctl_tune", 1, "worth_it", v->all.pays, "interrupted",
        t->interrupted, "changes", (json_int_t)t->space.nmoves, "runs",
        (json_int_t)t->nruns, "rounds", (json_int_t)v->rounds, "took_s",
        t->elapsed_s, "part", t->search_to, t->confirm_to, "lines", lines,
        "traces", of_traces, "unusable", dropped_as_json(t));
    if (o == NULL)
        ctl_die("no memory");
    json_object_set_new(o, "ini",
                        file != NULL ? ctl_json_string(file) : json_null());
    if (v->rounds != 0)
        json_object_set_new(o, "all", pairs_as_json(&v->all));
    return o;
}

static bool dump(FILE *out, const void *result)
{
    return json_dumpf(result, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) ==
               0 &&
           fputc('\n', out) != EOF;
}

bool tune_json_write(const char *to, const struct tune *t,
                     const struct tune_verdict *v, char *const *traces,
                     const char *file)
{
    json_t *result = result_as_json(t, v, traces, file);
    int error = 0;
    if (strcmp(to, "-") == 0)
        error = dump(stdout, result) ? 0 : -errno;
    else
        error = ctl_write_whole(to, dump, result);
    json_decref(result);
    if (error != 0)
        ctl_say("tune: cannot write %s: %s", to, strerror(-error));
    return error == 0;
}
