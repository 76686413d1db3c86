/* SPDX-License-Identifier: MIT
 * hakctl_report_advice.c - the advice of the page: for each cause that holds
 * much memory, the keys of the INI that would make it less.
 *
 * The keys are those that plugins/NAME/README.md and hakctl boxes describe.
 * tests/report/ puts all of them into INI files and lints these.
 */
#include "hakctl_report.h"
#include "hakctl.h"

#include <conf/values.h>
#include <core/state/core.h>

#include <stdarg.h>
#include <sys/stat.h>

/* A part of memory matters from both of these on. */
enum { MATTERS_BYTES = 1 << 20, MATTERS_PERCENT = 5 };

struct advice {
    const struct report_process *process;
    const json_t *page;
    json_t *out;
    int64_t bound; /* of bytes that matter */
    bool conf;     /* hak_conf holds the INI of the process */
};

/* ---- the INI that the process has ------------------------------------------
 */

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

/* ---- lines for the INI ------------------------------------------------------
 */

struct ini_line {
    const char *key, *value;
};

/* The lines of one section that the INI does not have; "" if it has all. The
 * caller frees the text. */
static char *lines_of(const struct advice *a, const char *section,
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

static void add(struct advice *a, const char *title, int64_t bytes,
                const char *ini, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static void add(struct advice *a, const char *title, int64_t bytes,
                const char *ini, const char *format, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, format);
    int n = vasprintf(&text, format, ap);
    va_end(ap);
    if (n < 0)
        ctl_die("no memory");
    json_array_append_new(a->out, json_pack("{s:s, s:I, s:s, s:s}", "title",
                                            title, "bytes", (json_int_t)bytes,
                                            "text", text, "ini", ini));
    free(text);
}

static const char *size_text(char out[64], int64_t bytes)
{
    json_t *n = json_integer(bytes);
    html_figure_text(out, 64, n, HTML_BYTES);
    json_decref(n);
    return out;
}

/* ---- figures
 * ----------------------------------------------------------------- */

/* Bytes at the peak of RSS, or at the only moment that there is, and their mean
 * over time. What is there at the end alone does not count: then most programs
 * have freed what they had. */
struct bytes {
    int64_t peak, mean;
};

static int64_t most(struct bytes b)
{
    return b.peak > b.mean ? b.peak : b.mean;
}

static const json_t *peak_moment(const struct advice *a)
{
    return json_array_get(json_object_get(a->page, "moments"), 0);
}

static struct bytes cause_of(const struct advice *a, const char *cause)
{
    struct bytes out = {0,
                        report_count(json_object_get(a->page, "means"), cause)};
    const json_t *part;
    size_t i;
    json_array_foreach(json_object_get(peak_moment(a), "parts"), i, part)
    {
        const char *name = json_string_value(json_object_get(part, "cause"));
        int64_t memory = report_known(part, "memory");
        if (name != NULL && strcmp(name, cause) == 0)
            out.peak = memory >= 0 ? memory : report_count(part, "mapped");
    }
    return out;
}

/* The point of the peak of RSS. */
static const json_t *peak_point(const struct advice *a)
{
    return json_array_get(a->process->points,
                          report_peak(a->process->points, report_most_rss));
}

enum { WHEN_BYTES = 200 };

/* "It was 3 MiB at the peak of RSS and 2 MiB in the mean over time." */
static const char *when(const struct advice *a, char out[WHEN_BYTES],
                        struct bytes b)
{
    char peak[64], mean[64];
    size_text(peak, b.peak);
    size_text(mean, b.mean);
    if (json_array_size(a->process->points) > 1)
        snprintf(out, WHEN_BYTES,
                 "It was %s at the peak of RSS and %s in the mean over time.",
                 peak, mean);
    else
        snprintf(out, WHEN_BYTES, "It is %s.", peak);
    return out;
}

/* ---- waiting for purge
 * -------------------------------------------------------- */

static void advise_purge(struct advice *a)
{
    enum { DELAY_MS = 10, USUAL_MS = 100 };
    static const struct ini_line lines[] = {{"purge_delay_ms", "10"},
                                            {"background", "yes"}};
    const struct bytes bytes = cause_of(a, "purge");
    char saved[64], it_was[WHEN_BYTES];
    if (most(bytes) < a->bound)
        return;
    int64_t delay =
        report_known(json_object_get(peak_point(a), "window"), "delay_ms");
    if (delay < 0)
        delay = USUAL_MS;
    bool sleeps = bytes.mean >= a->bound;
    size_t first = delay <= DELAY_MS, n = sleeps ? 2 : 1;
    char *ini = first < n ? lines_of(a, "core", lines + first, n - first)
                          : lines_of(a, "core", lines, 0);
    int64_t less = most(bytes);
    if (first == 0)
        less -= less * DELAY_MS / delay;
    add(a, "Memory that waits for its purge", most(bytes), ini,
        "What boxes have given up stays resident for up to %lld ms, in case it "
        "is needed again. %s %s The lines make it up to %s less. Memory that "
        "is used again then costs page faults.",
        (long long)delay, when(a, it_was, bytes),
        sleeps ? "A program that sleeps gives it back only with a background "
                 "thread."
               : "A shorter delay gives it back sooner.",
        size_text(saved, less));
    free(ini);
}

/* ---- caches of boxes
 * ----------------------------------------------------------- */

/* What bounds the cache of each box, and values that are a fraction of the
 * defaults. left: what may stay. */
static const struct cache {
    const char *box;
    int64_t left;
    struct ini_line line[2];
    size_t n;
    const char *text;
} caches[] = {
    {"ultra",
     2 << 20,
     {{"warm", "256k"}, {"depot", "2M"}},
     2,
     "warm bounds the empty pages that each thread keeps, depot those for all "
     "threads."},
    {"midmt",
     1 << 20,
     {{"warm", "1M"}, {"empty_segments", "0"}},
     2,
     "warm bounds the empty pages that each thread keeps, empty_segments the "
     "segments of 2 to 4 MiB without any block."},
    {"large",
     4 << 20,
     {{"cache_min_bytes", "4M"}, {"cache_share", "5"}},
     2,
     "Freed blocks are kept up to cache_min_bytes, and up to cache_share "
     "percent of the most that was live of late."},
    {"mid_v35",
     0,
     {{"empty_segments", "0"}},
     1,
     "empty_segments is how many segments of 2 MiB without any block are "
     "kept."},
    {"tiny",
     0,
     {{"empty_superslabs", "0"}},
     1,
     "empty_superslabs is how many SuperSlabs of 1 MiB without any block are "
     "kept."},
    {"smallmid",
     0,
     {{"warm", "0"}},
     1,
     "warm is how many SuperSlabs of 1 MiB without any block are kept."},
};
enum { NCACHES = sizeof caches / sizeof caches[0] };

static const struct cache *cache_of(const char *box)
{
    for (size_t i = 0; i < NCACHES; i++)
        if (strcmp(caches[i].box, box) == 0)
            return &caches[i];
    return NULL;
}

static void advise_cache(struct advice *a, const char *box, struct bytes bytes)
{
    char title[128], section[80], saved[64], it_was[WHEN_BYTES];
    const struct cache *c = cache_of(box);
    snprintf(title, sizeof title, "The cache of box %.64s", box);
    when(a, it_was, bytes);
    if (c == NULL || most(bytes) <= c->left) {
        add(a, title, most(bytes), "",
            "The box keeps memory for reuse. %s Its own parameters may bound "
            "that: hakctl boxes lists them.",
            it_was);
        return;
    }
    snprintf(section, sizeof section, "box %s", c->box);
    char *ini = lines_of(a, section, c->line, c->n);
    add(a, title, most(bytes), ini,
        "The box keeps memory for reuse. %s %s With the lines it keeps up to "
        "%s less, and asks the system for memory more often.",
        it_was, c->text, size_text(saved, most(bytes) - c->left));
    free(ini);
}

/* The cached bytes of a box. Not all of them need be in memory, so they are
 * at most what the caches of all boxes have in memory. */
static struct bytes cached_of(const struct advice *a, size_t box)
{
    const struct bytes all = cause_of(a, "caches");
    const json_t *points = a->process->points, *point;
    double sum = 0, whole = 0;
    size_t i;
    json_array_foreach(points, i, point)
    {
        double span = (double)report_count(point, "span_ms") + 1;
        const json_t *boxes = json_object_get(point, "boxes");
        sum +=
            span * (double)report_count(json_array_get(boxes, box), "cached");
        whole += span;
    }
    const json_t *boxes = json_object_get(peak_point(a), "boxes");
    struct bytes out = {report_count(json_array_get(boxes, box), "cached"),
                        (int64_t)(sum / whole)};
    out.peak = out.peak < all.peak ? out.peak : all.peak;
    out.mean = out.mean < all.mean ? out.mean : all.mean;
    return out;
}

static void advise_caches(struct advice *a)
{
    const json_t *name;
    size_t i;
    json_array_foreach(a->process->boxes, i, name)
    {
        struct bytes bytes = cached_of(a, i);
        if (most(bytes) >= a->bound && json_is_string(name))
            advise_cache(a, json_string_value(name), bytes);
    }
}

/* ---- half-empty pages
 * ------------------------------------------------------------ */

/* Free bytes in the pages of ultra's classes of 272 to 1024 bytes, in the worst
 * column of the heat map. */
static int64_t free_of_mid(const struct advice *a)
{
    const json_t *heat = json_object_get(a->page, "heat"), *row;
    int64_t worst = 0;
    size_t k, i;
    for (k = 0; k < json_array_size(json_object_get(heat, "times")); k++) {
        int64_t sum = 0;
        json_array_foreach(json_object_get(heat, "rows"), i, row)
        {
            const char *box = json_string_value(json_object_get(row, "box"));
            int64_t slot = report_count(row, "slot");
            if (box != NULL && strcmp(box, "ultra") == 0 && slot > 256)
                sum += json_integer_value(
                    json_array_get(json_object_get(row, "cells"), k));
        }
        worst = sum > worst ? sum : worst;
    }
    return worst;
}

/* The class with most free bytes, as "64 B of box ultra". False: none. */
static bool worst_class(const struct advice *a, char *out, size_t bytes)
{
    const json_t *rows =
        json_object_get(json_object_get(a->page, "heat"), "rows");
    const json_t *row, *cell, *worst = NULL;
    int64_t bytes_most = 0;
    char slot[64];
    size_t i, k;
    json_array_foreach(rows, i, row)
        json_array_foreach(json_object_get(row, "cells"), k,
                           cell) if (json_integer_value(cell) > bytes_most)
    {
        bytes_most = json_integer_value(cell);
        worst = row;
    }
    if (worst == NULL)
        return false;
    const char *box = json_string_value(json_object_get(worst, "box"));
    snprintf(out, bytes, "%s of box %s",
             size_text(slot, report_count(worst, "slot")),
             box != NULL ? box : "?");
    return true;
}

static void advise_pages(struct advice *a)
{
    static const char ini[] = "[box mid_v35]\n"
                              "slots = 320,384,448,512,640,768,896,1024\n"
                              "[route MID_V35]\n"
                              "box = mid_v35\n"
                              "fallback = ultra\n"
                              "classes = C5-C7\n"
                              "enabled = yes\n";
    char worst[256] = "none that is known", saved[64], it_was[WHEN_BYTES];
    const struct bytes bytes = cause_of(a, "pages");
    int64_t mid = free_of_mid(a);
    if (most(bytes) < a->bound)
        return;
    worst_class(a, worst, sizeof worst);
    when(a, it_was, bytes);
    if (mid >= a->bound)
        add(a, "Free slots in pages of 257 to 1024 bytes", most(bytes), ini,
            "Box ultra has pages of its own for each multiple of 16 bytes. "
            "With the lines, eight sizes share the pages of box mid_v35. That "
            "saves up to %s where many sizes have few blocks each, and loses "
            "up to a fifth of a block to rounding. Compare two runs.",
            size_text(saved, mid < most(bytes) ? mid : most(bytes)));
    else
        add(a, "Free slots in pages that hold live blocks", most(bytes), "",
            "%s The size class with most of it is %s. A page goes back when "
            "its last block is freed, so blocks that live long beside blocks "
            "that do not keep it. No key changes that. The column Overhead of "
            "the call sites shows who keeps such pages.",
            it_was, worst);
}

/* ---- what no key changes
 * --------------------------------------------------------- */

static void advise_rounding(struct advice *a)
{
    const json_t *totals =
        json_object_get(json_object_get(a->page, "profile"), "totals");
    int64_t bytes = report_count(totals, "rounding");
    if (bytes >= a->bound)
        add(a, "Slots that are larger than what was asked for", bytes, "",
            "Blocks have so much more than the program asked for. ultra loses "
            "up to 15 bytes a block, midmt up to an eighth. hakctl explain "
            "SIZE shows the slot of a size; the column Overhead of the call "
            "sites shows who asks for sizes just above a slot.");
}

static void advise_other(struct advice *a)
{
    enum { LARGE_PART = 4 }; /* a quarter of RSS */
    char it_was[WHEN_BYTES];
    const struct bytes other = cause_of(a, "other");
    if (other.peak >= a->bound &&
        other.peak >= report_count(peak_moment(a), "rss") / LARGE_PART)
        add(a, "Memory that is not of hakmem", most(other), "",
            "%s It is neither hakmem's nor of files: stacks, data of "
            "libraries, and what the program maps itself. pmap -x PID lists "
            "it. No key of hakmem changes it.",
            when(a, it_was, other));
}

/* ---- all
 * ------------------------------------------------------------------------- */

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
    a.bound = cause_of(&a, "sum").peak * MATTERS_PERCENT / 100;
    if (a.bound < MATTERS_BYTES)
        a.bound = MATTERS_BYTES;
    advise_purge(&a);
    advise_caches(&a);
    advise_pages(&a);
    advise_rounding(&a);
    advise_other(&a);
    return sorted(a.out);
}
