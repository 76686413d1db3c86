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

/* ---- the INI that the process has ------------------------------------------ */

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

/* ---- lines for the INI ------------------------------------------------------ */

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
    json_array_append_new(a->out,
                          json_pack("{s:s, s:I, s:s, s:s}", "title", title,
                                    "bytes", (json_int_t)bytes, "text", text,
                                    "ini", ini));
    free(text);
}

static const char *size_text(char out[64], int64_t bytes)
{
    json_t *n = json_integer(bytes);
    html_figure_text(out, 64, n, HTML_BYTES);
    json_decref(n);
    return out;
}

/* ---- figures ----------------------------------------------------------------- */

/* The bytes of a cause at a moment; of what is mapped if RSS is not known. */
static int64_t cause_at(const json_t *moment, const char *cause)
{
    const json_t *part;
    size_t i;
    json_array_foreach(json_object_get(moment, "parts"), i, part)
    {
        const char *name = json_string_value(json_object_get(part, "cause"));
        int64_t memory = report_known(part, "memory");
        if (name != NULL && strcmp(name, cause) == 0)
            return memory >= 0 ? memory : report_count(part, "mapped");
    }
    return 0;
}

/* The most bytes of a cause, and the moment that has them. */
static int64_t cause_of(const struct advice *a, const char *cause,
                        const json_t **moment)
{
    int64_t most = -1;
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(a->page, "moments"), i, one)
        if (cause_at(one, cause) > most) {
            most = cause_at(one, cause);
            *moment = one;
        }
    return most;
}

/* "at the peak of RSS" */
static const char *when(const json_t *moment)
{
    const char *key = json_string_value(json_object_get(moment, "key"));
    return key != NULL && strcmp(key, "peak") == 0 ? "at the peak of RSS"
                                                   : "at the end";
}

/* The point of a moment. */
static const json_t *point_of(const struct advice *a, const json_t *moment)
{
    int64_t t = report_count(moment, "t");
    const json_t *point;
    size_t i;
    json_array_foreach(a->process->points, i, point)
        if (report_count(point, "t") == t)
            return point;
    return NULL;
}

/* ---- waiting for purge -------------------------------------------------------- */

static void advise_purge(struct advice *a)
{
    enum { DELAY_MS = 10, USUAL_MS = 100 };
    static const struct ini_line lines[] = {{"purge_delay_ms", "10"},
                                            {"background", "yes"}};
    const json_t *moment = NULL;
    char saved[64];
    int64_t bytes = cause_of(a, "purge", &moment);
    if (bytes < a->bound)
        return;
    int64_t delay = report_known(
        json_object_get(point_of(a, moment), "window"), "delay_ms");
    if (delay < 0)
        delay = USUAL_MS;
    bool end = strcmp(when(moment), "at the end") == 0;
    size_t first = delay <= DELAY_MS, n = end ? 2 : 1;
    char *ini = first < n ? lines_of(a, "core", lines + first, n - first)
                          : strdup("");
    if (ini == NULL)
        ctl_die("no memory");
    int64_t less = first == 0 ? bytes - bytes * DELAY_MS / delay : bytes;
    add(a, "Memory that waits for its purge", bytes, ini,
        "Memory that boxes have given up stays resident for up to %lld ms, in "
        "case it is needed again. %s this was the figure above. %s "
        "The lines make it up to %s less; memory that is used again costs page "
        "faults then.",
        (long long)delay, end ? "At the end" : "At the peak of RSS",
        end ? "A program that sleeps gives it back only with a background "
              "thread."
            : "A shorter delay gives it back sooner.",
        size_text(saved, less));
    free(ini);
}

/* ---- caches of boxes ----------------------------------------------------------- */

/* What bounds the cache of each box, and values that are a fraction of the
 * defaults. left: what may stay. */
static const struct cache {
    const char *box;
    int64_t left;
    struct ini_line line[2];
    size_t n;
    const char *text;
} caches[] = {
    {"ultra", 2 << 20, {{"warm", "256k"}, {"depot", "2M"}}, 2,
     "warm bounds the empty pages that each thread keeps, depot those for all "
     "threads."},
    {"midmt", 1 << 20, {{"warm", "1M"}, {"empty_segments", "0"}}, 2,
     "warm bounds the empty pages that each thread keeps, empty_segments the "
     "segments of 2 to 4 MiB without any block."},
    {"large", 4 << 20, {{"cache_min_bytes", "4M"}, {"cache_share", "5"}}, 2,
     "Freed blocks are kept up to cache_min_bytes, and up to cache_share "
     "percent of the most that was live of late."},
    {"mid_v35", 0, {{"empty_segments", "0"}}, 1,
     "empty_segments is how many segments of 2 MiB without any block are "
     "kept."},
    {"tiny", 0, {{"empty_superslabs", "0"}}, 1,
     "empty_superslabs is how many SuperSlabs of 1 MiB without any block are "
     "kept."},
    {"smallmid", 0, {{"warm", "0"}}, 1,
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

static void advise_cache(struct advice *a, const char *box, int64_t bytes,
                         const char *moment)
{
    char title[128], section[128], saved[64];
    const struct cache *c = cache_of(box);
    snprintf(title, sizeof title, "The cache of box %.64s", box);
    if (c == NULL || bytes <= c->left) {
        add(a, title, bytes, "",
            "The box keeps so much for reuse %s. Its own parameters may bound "
            "that: hakctl boxes lists them.",
            moment);
        return;
    }
    snprintf(section, sizeof section, "box %s", c->box);
    char *ini = lines_of(a, section, c->line, c->n);
    add(a, title, bytes, ini,
        "The box kept so much for reuse %s. %s With the lines it keeps up to "
        "%s less, and asks the system more often.",
        moment, c->text, size_text(saved, bytes - c->left));
    free(ini);
}

/* The cached bytes of a box, at the moment that has most of them. */
static int64_t cached_of(const struct advice *a, size_t box,
                         const json_t **moment)
{
    int64_t most = 0;
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(a->page, "moments"), i, one)
    {
        const json_t *boxes = json_object_get(point_of(a, one), "boxes");
        int64_t n = report_count(json_array_get(boxes, box), "cached");
        if (n > cause_at(one, "caches")) /* the rest is not resident */
            n = cause_at(one, "caches");
        if (n > most) {
            most = n;
            *moment = one;
        }
    }
    return most;
}

static void advise_caches(struct advice *a)
{
    const json_t *name;
    size_t i;
    json_array_foreach(a->process->boxes, i, name)
    {
        const json_t *moment = NULL;
        int64_t bytes = cached_of(a, i, &moment);
        if (bytes >= a->bound && json_is_string(name))
            advise_cache(a, json_string_value(name), bytes, when(moment));
    }
}

/* ---- half-empty pages ------------------------------------------------------------ */

/* Free bytes in the pages of ultra's classes of 272 to 1024 bytes, in the worst
 * column of the heat map. */
static int64_t free_of_mid(const struct advice *a)
{
    const json_t *heat = json_object_get(a->page, "heat"), *row;
    int64_t most = 0;
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
        most = sum > most ? sum : most;
    }
    return most;
}

/* The class with most free bytes, as "64 B of box ultra". False: none. */
static bool worst_class(const struct advice *a, char *out, size_t bytes)
{
    const json_t *rows =
        json_object_get(json_object_get(a->page, "heat"), "rows");
    const json_t *row, *cell, *worst = NULL;
    int64_t most = 0;
    char slot[64];
    size_t i, k;
    json_array_foreach(rows, i, row)
        json_array_foreach(json_object_get(row, "cells"), k, cell)
            if (json_integer_value(cell) > most) {
                most = json_integer_value(cell);
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
    static const char ini[] =
        "[box mid_v35]\n"
        "slots = 320,384,448,512,640,768,896,1024\n"
        "[route MID_V35]\n"
        "box = mid_v35\n"
        "fallback = ultra\n"
        "classes = C5-C7\n"
        "enabled = yes\n";
    const json_t *moment = NULL;
    char worst[256] = "none that is known", saved[64];
    int64_t bytes = cause_of(a, "pages", &moment), mid = free_of_mid(a);
    if (bytes < a->bound)
        return;
    worst_class(a, worst, sizeof worst);
    if (mid >= a->bound)
        add(a, "Free slots in pages of 257 to 1024 bytes", mid, ini,
            "Box ultra has pages of its own for each multiple of 16 bytes. "
            "With the lines, eight sizes share the pages of box mid_v35. That "
            "saves up to %s where many sizes have few blocks each, and loses "
            "up to a fifth of a block to rounding. Compare two runs.",
            size_text(saved, mid));
    else
        add(a, "Free slots in pages that hold live blocks", bytes, "",
            "So much lay in free slots %s; the size class with most of it is "
            "%s. A page goes back when its last block is freed, so blocks "
            "that live long beside blocks that do not keep it. No key changes "
            "that. The column Overhead of the call sites shows who keeps such "
            "pages.",
            when(moment), worst);
}

/* ---- what no key changes --------------------------------------------------------- */

static void advise_rounding(struct advice *a)
{
    const json_t *moment = NULL;
    int64_t bytes = cause_of(a, "rounding", &moment);
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
    const json_t *moment = NULL;
    int64_t other = cause_of(a, "other", &moment);
    int64_t rss = report_count(moment, "rss");
    if (other >= a->bound && other >= rss / LARGE_PART)
        add(a, "Memory that is not of hakmem", other, "",
            "So much of RSS %s was neither hakmem's nor of files: stacks, "
            "data of libraries, and what the program maps itself. pmap -x PID "
            "lists it.",
            when(moment));
}

/* ---- all ------------------------------------------------------------------------- */

json_t *report_advice(const struct report_process *p, const json_t *page)
{
    const json_t *moment = NULL;
    struct advice a = {
        .process = p,
        .page = page,
        .out = json_array(),
        .conf = p->stats != NULL && read_conf(p->stats),
    };
    int64_t whole = cause_of(&a, "sum", &moment);
    a.bound = whole * MATTERS_PERCENT / 100;
    if (a.bound < MATTERS_BYTES)
        a.bound = MATTERS_BYTES;
    advise_purge(&a);
    advise_caches(&a);
    advise_pages(&a);
    advise_rounding(&a);
    advise_other(&a);
    return a.out;
}
