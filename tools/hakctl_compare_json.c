/* SPDX-License-Identifier: MIT
 * hakctl_compare_json.c - all runs of a comparison as JSON: written by --json,
 * read by --from. docs/compare.md describes the object.
 */
#include "hakctl_compare.h"
#include "hakctl.h"
#include "hakctl_control.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const kinds[] = {
    [COMPARE_INI] = "ini", [COMPARE_LIBRARY] = "lib", [COMPARE_LIBC] = "libc"};
static const char version_key[] = "hakctl_compare";

/* ---- writing ------------------------------------------------------------- */

static json_t *whole(double value)
{
    return json_integer((json_int_t)value);
}

static json_t *run_as_json(const struct compare *c,
                           const struct compare_run *run, size_t round)
{
    json_t *o = json_pack("{s:I}", "round", (json_int_t)round + 1);
    if (run->state == COMPARE_FAILED) {
        json_object_set_new(o, "failed", ctl_json_string(run->why));
        return o;
    }
    for (size_t m = 0; m < c->nmeasures; m++)
        json_object_set_new(o, c->measured[m].key,
                            c->measured[m].unit == COMPARE_NUMBER
                                ? json_real(run->value[m])
                                : whole(run->value[m]));
    if (c->context != NULL) /* the times of hakctl compare alone */
        return o;
    json_object_set_new(o, "user_us", whole(run->user_us));
    json_object_set_new(o, "system_us", whole(run->system_us));
    return o;
}

json_t *compare_contender_as_json(const struct compare *c, size_t i)
{
    json_t *runs = json_array(), *medians = json_object();
    double median;
    for (size_t round = 0; round < c->rounds; round++)
        if (c->at[i].runs[round].state != COMPARE_NOT_RUN)
            json_array_append_new(runs,
                                  run_as_json(c, &c->at[i].runs[round], round));
    for (size_t m = 0; m < c->nmeasures; m++)
        if (compare_median(c, i, m, &median))
            json_object_set_new(medians, c->measured[m].key, json_real(median));
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:o}", "name", ctl_json_string(c->at[i].name),
        "kind", kinds[c->at[i].kind], "file", ctl_json_string(c->at[i].given),
        "medians", medians, "runs", runs);
}

static json_t *verdict_as_json(const struct compare *c, size_t i, size_t m)
{
    char text[512];
    struct compare_ratio r = compare_ratio(c, i, m);
    compare_verdict(c, i, m, text, sizeof text);
    json_t *o =
        json_pack("{s:o, s:s, s:I, s:s, s:o}", "contender",
                  ctl_json_string(c->at[i].name), "measure", c->measured[m].key,
                  "pairs", (json_int_t)r.pairs, "result",
                  compare_verdict_word(c, i, m), "text", ctl_json_string(text));
    if (c->measured[m].untold || c->measured[m].hidden)
        json_object_set_new(o, "told", json_false());
    if (r.pairs != 0)
        json_object_set_new(o, "ratio", json_real(r.median));
    if (r.pairs >= COMPARE_LEAST_PAIRS)
        json_object_set_new(o, "interval", json_pack("[f, f]", r.low, r.high));
    return o;
}

json_t *compare_verdicts_as_json(const struct compare *c)
{
    json_t *verdicts = json_array();
    for (size_t i = 1; i < c->n; i++)
        for (size_t m = 0; m < c->nmeasures; m++)
            json_array_append_new(verdicts, verdict_as_json(c, i, m));
    return verdicts;
}

static json_t *as_json(const struct compare *c)
{
    json_t *contenders = json_array();
    for (size_t i = 0; i < c->n; i++)
        json_array_append_new(contenders, compare_contender_as_json(c, i));
    json_t *all = json_pack(
        "{s:i, s:o, s:o, s:I, s:I, s:b, s:o, s:b, s:o, s:o}", version_key, 1,
        "program", ctl_json_string(c->title), "load", ctl_json_string(c->load),
        "rounds", (json_int_t)c->rounds, "warmup", (json_int_t)c->warmup,
        "interrupted", c->interrupted, "metric", ctl_json_string(c->metric),
        "smaller_is_better", c->smaller_is_better, "contenders", contenders,
        "verdicts", compare_verdicts_as_json(c));
    if (all == NULL)
        ctl_die("no memory");
    return all;
}

bool compare_json_can_write(const struct compare *c, const char *file)
{
    int error = ctl_can_write(file);
    if (error != 0)
        ctl_say("%s: cannot write %s: %s", c->command, file, strerror(-error));
    return error == 0;
}

static bool write_whole(FILE *out, const void *all)
{
    bool good = json_dumpf(all, out, JSON_INDENT(2)) == 0;
    return fputc('\n', out) != EOF && fflush(out) == 0 && good;
}

bool compare_json_put(const struct compare *c, const json_t *all)
{
    if (strcmp(c->json, "-") == 0) {
        write_whole(stdout, all); /* main tells errors */
        return true;
    }
    int error = ctl_write_whole(c->json, write_whole, all);
    if (error != 0)
        ctl_say("%s: cannot write %s: %s", c->command, c->json,
                strerror(-error));
    return error == 0;
}

bool compare_json_write(const struct compare *c)
{
    json_t *all = as_json(c);
    bool good = compare_json_put(c, all);
    json_decref(all);
    return good;
}

/* ---- reading ------------------------------------------------------------- */

/* A number that is not negative; false: it is not there or is none. */
static bool take_number(const json_t *o, const char *key, double *out)
{
    const json_t *value = json_object_get(o, key);
    if (!json_is_number(value) || json_number_value(value) < 0)
        return false;
    *out = json_number_value(value);
    return true;
}

static bool take_count(const json_t *o, const char *key, size_t least,
                       size_t *out)
{
    double value = 0;
    if (!take_number(o, key, &value) || value < (double)least ||
        value > COMPARE_MAX_ROUNDS)
        return false;
    *out = (size_t)value;
    return true;
}

/* A text of an object as a copy; NULL: there is none. */
static char *take_text(const json_t *o, const char *key)
{
    const json_t *value = json_object_get(o, key);
    char *copy =
        json_is_string(value) ? strdup(json_string_value(value)) : NULL;
    if (json_is_string(value) && copy == NULL)
        ctl_die("no memory");
    return copy;
}

static bool read_run(const struct compare *c, const json_t *o,
                     struct compare_run *run)
{
    const json_t *figure = json_object_get(o, c->measured[COMPARE_FIGURE].key);
    run->why = take_text(o, "failed");
    if (run->why != NULL) {
        run->state = COMPARE_FAILED;
        return true;
    }
    for (size_t m = 0; m < COMPARE_FIGURE; m++)
        if (!take_number(o, c->measured[m].key, &run->value[m]))
            return false;
    run->state = COMPARE_DONE;
    run->value[COMPARE_FIGURE] = json_number_value(figure);
    return take_number(o, "user_us", &run->user_us) &&
           take_number(o, "system_us", &run->system_us) &&
           (c->metric == NULL || json_is_number(figure));
}

static bool read_runs(const struct compare *c, const json_t *runs,
                      struct compare_contender *contender)
{
    contender->runs = calloc(c->rounds, sizeof *contender->runs);
    if (contender->runs == NULL)
        ctl_die("no memory");
    for (size_t i = 0; i < json_array_size(runs); i++) {
        size_t round = 0;
        const json_t *run = json_array_get(runs, i);
        if (!take_count(run, "round", 1, &round) || round > c->rounds ||
            contender->runs[round - 1].state != COMPARE_NOT_RUN ||
            !read_run(c, run, &contender->runs[round - 1])) {
            ctl_say("compare: %s: run %zu of %s is damaged", c->from, i + 1,
                    contender->name);
            return false;
        }
    }
    return true;
}

static bool read_contender(struct compare *c, const json_t *o)
{
    struct compare_contender *contender = &c->at[c->n];
    const char *kind = json_string_value(json_object_get(o, "kind"));
    *contender = (struct compare_contender){.name = take_text(o, "name"),
                                            .given = take_text(o, "file")};
    for (size_t i = 0; kind != NULL && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kind, kinds[i]) == 0)
            contender->kind = (enum compare_kind)i;
    if (contender->name == NULL) {
        free(contender->given);
        ctl_say("compare: %s: contender %zu has no name", c->from, c->n + 1);
        return false;
    }
    c->n++;
    return read_runs(c, json_object_get(o, "runs"), contender);
}

static bool read_all(struct compare *c, const json_t *all)
{
    const json_t *contenders = json_object_get(all, "contenders");
    size_t n = json_array_size(contenders);
    if (json_object_get(all, version_key) == NULL || n < 2 ||
        n > COMPARE_MAX_CONTENDERS ||
        !take_count(all, "rounds", 1, &c->rounds) ||
        !take_count(all, "warmup", 0, &c->warmup)) {
        ctl_say("compare: %s: is no file of hakctl compare --json", c->from);
        return false;
    }
    c->title = take_text(all, "program");
    if (c->title == NULL)
        c->title = strdup("?");
    c->metric = take_text(all, "metric");
    compare_set_measures(c);
    c->load = take_text(all, "load");
    c->smaller_is_better =
        json_is_true(json_object_get(all, "smaller_is_better"));
    c->interrupted = json_is_true(json_object_get(all, "interrupted"));
    for (size_t i = 0; i < n; i++)
        if (!read_contender(c, json_array_get(contenders, i)))
            return false;
    return true;
}

bool compare_json_read(struct compare *c)
{
    json_error_t error;
    FILE *in = strcmp(c->from, "-") == 0 ? stdin : fopen(c->from, "re");
    if (in == NULL) {
        ctl_say("compare: %s: %s", c->from, strerror(errno));
        return false;
    }
    json_t *all = json_loadf(in, 0, &error);
    if (in != stdin)
        fclose(in);
    if (all == NULL) {
        ctl_say("compare: %s:%d: %s", c->from, error.line, error.text);
        return false;
    }
    bool good = read_all(c, all);
    json_decref(all);
    return good;
}
