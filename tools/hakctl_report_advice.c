/* SPDX-License-Identifier: MIT
 * hakctl_report_advice.c - the advice of the page: what it is made of. The
 * rules are in hakctl_report_rules.c.
 */
#include "hakctl_report_advice.h"
#include "hakctl.h"

#include <conf/values.h>
#include <core/state/core.h>

#include <stdarg.h>
#include <sys/stat.h>

/* A part of memory matters from both of these on. */
enum { MATTERS_BYTES = 1 << 20, MATTERS_PERCENT = 5 };

/* ---- the INI that the process has ---------------------------------------- */

/* Read the INI of the process, if it is known which and it is still there. */
static bool read_conf(const json_t *stats)
{
    struct stat s;
    const char *file = json_string_value(json_object_get(stats, "conf"));
    const char *profile = json_string_value(json_object_get(stats, "profile"));
    return file != NULL && stat(file, &s) == 0 && S_ISREG(s.st_mode) &&
           hak_conf_read(&hak_conf, file, -1, NULL, profile, NULL, NULL) == 0;
}

/* Has the INI a value for the key that is as small already? */
static bool has_value(const struct advice *a, const char *section,
                      const char *key, const char *value)
{
    const struct hak_conf_entry *e =
        a->conf ? hak_conf_find(&hak_conf, section, key) : NULL;
    uint64_t has, wanted;
    if (e == NULL)
        return false;
    if (hak_conf_bytes(e->value, &has) != 0 ||
        hak_conf_bytes(value, &wanted) != 0)
        return strcmp(e->value, value) == 0;
    return has <= wanted;
}

/* ---- lines for the INI --------------------------------------------------- */

char *advice_lines(const struct advice *a, const char *section,
                   const struct ini_line *line, size_t n)
{
    char *text = NULL;
    size_t bytes = 0;
    bool any = false;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        ctl_die("no memory");
    for (size_t i = 0; i < n; i++) {
        if (has_value(a, section, line[i].key, line[i].value))
            continue;
        if (!any)
            fprintf(out, "[%s]\n", section);
        any = true;
        fprintf(out, "%s = %s\n", line[i].key, line[i].value);
    }
    if (fclose(out) != 0)
        ctl_die("no memory");
    return text;
}

__attribute__((format(printf, 1, 0))) static char *
format_args(const char *format, va_list ap)
{
    char *text = NULL;
    if (vasprintf(&text, format, ap) < 0)
        ctl_die("no memory");
    return text;
}

char *advice_format(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *text = format_args(format, ap);
    va_end(ap);
    return text;
}

void advice_add(struct advice *a, const char *title, int64_t bytes,
                const char *ini, const char *then, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *text = format_args(format, ap);
    va_end(ap);
    if (then != NULL && ini[0] == 0)
        then = "The INI of the process bounds it as much already.";
    char *all = advice_format("%s%s%s", text, then != NULL ? " " : "",
                              then != NULL ? then : "");
    json_array_append_new(a->out, json_pack("{s:s, s:I, s:s, s:s}", "title",
                                            title, "bytes", (json_int_t)bytes,
                                            "text", all, "ini", ini));
    free(all);
    free(text);
}

const char *advice_size(char out[SIZE_BYTES], int64_t bytes)
{
    json_t *n = json_integer(bytes);
    html_figure_text(out, SIZE_BYTES, n, HTML_BYTES);
    json_decref(n);
    return out;
}

/* ---- figures ------------------------------------------------------------- */

int64_t advice_most(struct advice_bytes b)
{
    return b.peak > b.mean ? b.peak : b.mean;
}

const json_t *advice_peak_moment(const struct advice *a)
{
    return json_array_get(json_object_get(a->page, "moments"), 0);
}

struct advice_bytes advice_cause(const struct advice *a, const char *cause)
{
    struct advice_bytes out = {
        0, report_count(json_object_get(a->page, "means"), cause)};
    const json_t *part;
    size_t i;
    json_array_foreach(json_object_get(advice_peak_moment(a), "parts"), i, part)
    {
        const char *name = json_string_value(json_object_get(part, "cause"));
        int64_t memory = report_known(part, "memory");
        if (name != NULL && strcmp(name, cause) == 0)
            out.peak = memory >= 0 ? memory : report_count(part, "mapped");
    }
    return out;
}

const json_t *advice_peak_point(const struct advice *a)
{
    return json_array_get(a->process->points,
                          report_peak_point(a->process->points));
}

const char *advice_when(const struct advice *a, char out[WHEN_BYTES],
                        struct advice_bytes b)
{
    char peak[SIZE_BYTES], mean[SIZE_BYTES];
    advice_size(peak, b.peak);
    advice_size(mean, b.mean);
    if (json_array_size(a->process->points) > 1)
        snprintf(out, WHEN_BYTES,
                 "It was %s at the peak of RSS and %s in the mean over time.",
                 peak, mean);
    else
        snprintf(out, WHEN_BYTES, "It is %s.", peak);
    return out;
}

/* ---- all ----------------------------------------------------------------- */

/* Largest first. */
static json_t *sorted(json_t *advice)
{
    json_t *out = json_array();
    while (json_array_size(advice) != 0) {
        size_t best = 0;
        for (size_t i = 1; i < json_array_size(advice); i++)
            if (report_count(json_array_get(advice, i), "bytes") >
                report_count(json_array_get(advice, best), "bytes"))
                best = i;
        json_array_append(out, json_array_get(advice, best));
        json_array_remove(advice, best);
    }
    json_decref(advice);
    return out;
}

json_t *report_advice(const struct report_process *p, const json_t *page)
{
    struct advice a = {
        .process = p,
        .page = page,
        .out = json_array(),
        .conf = p->stats != NULL && read_conf(p->stats),
    };
    a.bound = advice_cause(&a, "sum").peak * MATTERS_PERCENT / 100;
    if (a.bound < MATTERS_BYTES)
        a.bound = MATTERS_BYTES;
    advise(&a);
    return sorted(a.out);
}
