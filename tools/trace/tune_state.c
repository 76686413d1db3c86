/* SPDX-License-Identifier: MIT
 * tune_state.c - the runs of a search as a file, from which --resume goes on.
 */
#include "tune.h"

#include "../hakctl.h"
#include "../hakctl_control.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

static const char version_key[] = "hakctl_tune_state";
enum { VERSION = 1 };

/* ---- writing ------------------------------------------------------------- */

static json_t *run_as_json(const struct tune_run *run)
{
    json_t *o =
        json_pack("{s:o, s:I, s:f, s:f, s:f}", "choice",
                  ctl_json_string(run->choice), "trace", (json_int_t)run->trace,
                  "from", run->from, "to", run->to, "took_s", run->took_s);
    if (run->failed != NULL) {
        json_object_set_new(o, "failed", ctl_json_string(run->failed));
    } else {
        json_object_set_new(o, "time_ns",
                            json_real(run->figures.value[TUNE_TIME]));
        json_object_set_new(o, "memory_bytes",
                            json_real(run->figures.value[TUNE_MEMORY]));
    }
    return o;
}

static bool dump(FILE *out, const void *state)
{
    return json_dumpf(state, out, JSON_COMPACT | JSON_REAL_PRECISION(17)) ==
               0 &&
           fputc('\n', out) != EOF;
}

int tune_state_write(struct tune_state *state, const struct tune *t)
{
    json_t *runs = json_array();
    for (size_t i = 0; i < t->nruns; i++)
        json_array_append_new(runs, run_as_json(&t->run[i]));
    json_t *whole = json_pack("{s:i, s:O, s:f, s:f, s:o}", version_key, VERSION,
                              "about", state->about, "share", state->share,
                              "fault_ns", state->fault_ns, "runs", runs);
    if (whole == NULL)
        ctl_die("no memory");
    int error = ctl_write_whole(state->file, dump, whole);
    json_decref(whole);
    state->written_ns = compare_now_ns();
    return error;
}

/* ---- reading ------------------------------------------------------------- */

/* Add a run. Returns whether it is one. */
static bool read_run(struct tune *t, const json_t *o)
{
    const char *choice = ctl_text(o, "choice");
    const char *failed = ctl_text(o, "failed");
    double trace = ctl_number(o, "trace");
    if (choice[0] == 0 || trace < 0 || trace >= (double)t->ntraces ||
        !(ctl_number(o, "took_s") >= 0))
        return false;
    struct tune_run *run = tune_add_run(t, choice);
    run->trace = (size_t)trace;
    run->from = ctl_number(o, "from");
    run->to = ctl_number(o, "to");
    run->took_s = ctl_number(o, "took_s");
    run->figures.value[TUNE_TIME] = ctl_number(o, "time_ns");
    run->figures.value[TUNE_MEMORY] = ctl_number(o, "memory_bytes");
    if (failed[0] != 0 && (run->failed = strdup(failed)) == NULL)
        ctl_die("no memory");
    return run->failed != NULL || (run->figures.value[TUNE_TIME] > 0 &&
                                   run->figures.value[TUNE_MEMORY] > 0);
}

/* The first key in which two objects differ; NULL: they do not. */
static const char *find_difference(json_t *a, json_t *b)
{
    const char *key;
    json_t *value;
    json_object_foreach(a, key, value)
    {
        if (!json_equal(value, json_object_get(b, key)))
            return key;
    }
    return NULL;
}

static bool read_runs(struct tune *t, const json_t *whole)
{
    const json_t *runs = json_object_get(whole, "runs");
    for (size_t i = 0; i < json_array_size(runs); i++)
        if (!read_run(t, json_array_get(runs, i)))
            return false;
    t->nkept = t->nruns;
    return json_is_array(runs);
}

bool tune_state_read(struct tune_state *state, struct tune *t)
{
    json_error_t error;
    json_t *whole = json_load_file(state->file, 0, &error);
    const char *differs = NULL;
    bool good = false;
    if (whole == NULL)
        ctl_say("tune: --resume: %s: %s", state->file, error.text);
    else if ((int)ctl_number(whole, version_key) != VERSION)
        ctl_say("tune: --resume: %s is no state of this hakctl tune",
                state->file);
    else if ((differs = find_difference(
                  state->about, json_object_get(whole, "about"))) != NULL)
        ctl_say("tune: --resume: %s is of a search with another \"%s\"; give "
                "what was given then, or remove the file to begin anew",
                state->file, differs);
    else if (!read_runs(t, whole))
        ctl_say("tune: --resume: %s is damaged: run %zu is none", state->file,
                t->nruns);
    else
        good = true;
    if (good) {
        state->share = ctl_number(whole, "share");
        state->fault_ns = ctl_number(whole, "fault_ns");
    }
    json_decref(whole);
    return good;
}
