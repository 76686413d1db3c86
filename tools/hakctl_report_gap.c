/* SPDX-License-Identifier: MIT
 * hakctl_report_gap.c - the figures of the page: what memory is held for, and
 * how much of it is more than the program asked for.
 */
#include "hakctl_report.h"
#include "hakctl.h"

static int64_t at_least_0(int64_t n)
{
    return n > 0 ? n : 0;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- points -------------------------------------------------------------- */

/* The sum of a figure over the boxes of a point. */
int64_t report_sum(const json_t *point, const char *key)
{
    int64_t sum = 0;
    const json_t *boxes = json_object_get(point, "boxes");
    for (size_t i = 0; i < json_array_size(boxes) && i < REPORT_BOXES; i++)
        sum += report_count(json_array_get(boxes, i), key);
    return sum;
}

/* The levels of a point in bytes; -1: not known. */
struct levels {
    int64_t rss, meta, file;
    int64_t live, pages, cached; /* of the window, in the hands of boxes */
    int64_t dirty, purged;       /* of the window, in no box's hands */
    int64_t resident;            /* of the window */
};

static int64_t mapped_of(const struct levels *l)
{
    return l->live + l->pages + l->cached + l->dirty + l->purged;
}

/* Add what a box has of the window. A foreign box may have blocks elsewhere,
 * and figures that are read one after the other need not agree. */
static void add_box(struct levels *l, const json_t *box)
{
    int64_t mapped = report_count(box, "mapped");
    int64_t cached = smaller(report_count(box, "cached"), mapped);
    int64_t live = smaller(report_count(box, "live"), mapped - cached);
    l->live += live;
    l->cached += cached;
    l->pages += mapped - cached - live;
}

static struct levels read_levels(const json_t *point)
{
    const json_t *window = json_object_get(point, "window");
    struct levels l = {
        .rss = report_known(point, "rss"),
        .meta = report_count(point, "meta"),
        .file = report_count(point, "file"),
        .dirty = report_count(window, "dirty"),
        .resident = report_known(window, "resident"),
    };
    const json_t *boxes = json_object_get(point, "boxes");
    for (size_t i = 0; i < json_array_size(boxes) && i < REPORT_BOXES; i++)
        add_box(&l, json_array_get(boxes, i));
    l.purged = at_least_0(report_count(window, "free") - l.dirty);
    return l;
}

/* The highest value of a figure in the span of a point. In a point that was
 * merged from several, that is in the member `most`. */
static int64_t most_of(const json_t *point, const char *key, int64_t level)
{
    return larger(report_known(json_object_get(point, "most"), key), level);
}

int64_t report_most_rss(const json_t *point)
{
    return most_of(point, "rss", report_known(point, "rss"));
}

int64_t report_most_live(const json_t *point)
{
    return most_of(point, "live", report_sum(point, "live"));
}

/* The number of the point with the highest value, the first of several. */
size_t report_peak(const json_t *points, int64_t (*most)(const json_t *))
{
    size_t peak = 0, i;
    const json_t *point;
    json_array_foreach(points, i, point)
    {
        if (most(point) > most(json_array_get(points, peak)))
            peak = i;
    }

    return peak;
}

/* Find the measure of the window that is nearest to the point with that number.
 * False: there is none. */
static bool find_measure(const json_t *points, size_t number,
                         struct levels *out)
{
    size_t n = json_array_size(points);
    for (size_t away = 0; away < n; away++) {
        if (away <= number) {
            *out = read_levels(json_array_get(points, number - away));
            if (out->resident >= 0)
                return true;
        }
        if (away < n - number) {
            *out = read_levels(json_array_get(points, number + away));
            if (out->resident >= 0)
                return true;
        }
    }
    return false;
}

/*
 * The levels of the point with that number. The window is not measured at each
 * point. What changes between two measures is mostly what hakmem has, so what
 * the process has besides (libraries, stacks) is carried over from the nearest
 * one, and the window has the rest of RSS.
 */
static struct levels levels_at(const json_t *points, size_t number)
{
    struct levels there, l = read_levels(json_array_get(points, number));
    if (l.resident >= 0 || l.rss < 0 || !find_measure(points, number, &there))
        return l;
    int64_t besides = at_least_0(there.rss - there.meta - there.resident);
    l.resident = smaller(at_least_0(l.rss - l.meta - besides), mapped_of(&l));
    return l;
}

bool report_is_measured(const json_t *points)
{
    return levels_at(points, 0).resident >= 0;
}

/* ---- the gap ------------------------------------------------------------- */

/* What memory is held for. The order is that of the bars. */
enum cause { LIVE, ROUNDING, PAGES, CACHES, PURGE, PURGED, META, FILES, OTHER };
enum { NCAUSES = OTHER + 1 };

static const struct {
    const char *key, *label;
} causes[NCAUSES] = {
    [LIVE] = {"live", "Live blocks"},
    [ROUNDING] = {"rounding", "Slot rounding"},
    [PAGES] = {"pages", "Half-empty pages"},
    [CACHES] = {"caches", "Caches of boxes"},
    [PURGE] = {"purge", "Waiting for purge"},
    [PURGED] = {"purged", "Purged, kept mapped"},
    [META] = {"meta", "Metadata"},
    [FILES] = {"files", "Files and code"},
    [OTHER] = {"other", "Not of hakmem"},
};

struct gap {
    int64_t mapped[NCAUSES]; /* -1: not in the window */
    int64_t memory[NCAUSES]; /* resident; -1: not known */
};

/* Take up to *bytes from a part. */
static void take(int64_t *part, int64_t *bytes)
{
    int64_t n = smaller(*part, *bytes);
    *part -= n;
    *bytes -= n;
}

/* Divide RSS. What of the window is not in memory was never touched or has been
 * purged in place. Nobody knows in which part it lies, so it is taken from the
 * parts in which that is likely, the likeliest first. */
static void divide_memory(struct gap *g, const struct levels *l)
{
    static const enum cause order[] = {PURGED, PAGES, CACHES,
                                       LIVE,   PURGE, ROUNDING};
    const int64_t mapped = mapped_of(l);
    int64_t meta = smaller(l->meta, l->rss);
    int64_t ours = l->resident >= 0 ? l->resident : mapped - l->purged;
    ours = smaller(ours, l->rss - meta);
    int64_t absent = at_least_0(mapped - ours);
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        take(&g->memory[order[i]], &absent);
    int64_t rest = at_least_0(l->rss - meta - smaller(ours, mapped));
    g->memory[META] = meta;
    g->memory[FILES] = smaller(l->file, rest);
    g->memory[OTHER] = rest - g->memory[FILES];
}

/* rounding: -1 = not known. Then it is a part of the live blocks. */
static struct gap divide(const struct levels *l, int64_t rounding)
{
    int64_t rounded = smaller(at_least_0(rounding), l->live);
    struct gap g = {.mapped = {[LIVE] = l->live - rounded,
                               [ROUNDING] = rounded,
                               [PAGES] = l->pages,
                               [CACHES] = l->cached,
                               [PURGE] = l->dirty,
                               [PURGED] = l->purged,
                               [META] = -1,
                               [FILES] = -1,
                               [OTHER] = -1}};
    for (int i = 0; i < NCAUSES; i++)
        g.memory[i] = l->rss < 0 ? -1 : g.mapped[i];
    if (l->rss >= 0)
        divide_memory(&g, l);
    if (rounding < 0)
        g.mapped[ROUNDING] = g.memory[ROUNDING] = -1;
    return g;
}

json_t *report_share(int64_t part, int64_t whole)
{
    if (part < 0 || whole <= 0)
        return json_null();
    int64_t tenths = (int64_t)(1000 * ((double)part / (double)whole));
    return json_real((double)tenths / 10);
}

static json_t *part_json(const char *key, const char *label, int64_t mapped,
                         int64_t memory, int64_t rss)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "cause", key, "label", label,
                     "mapped", report_number(mapped), "memory",
                     report_number(memory), "share", report_share(memory, rss));
}

/* One moment of the process: its memory, divided by causes. */
static json_t *moment_json(const char *key, const char *title, int64_t t,
                           const struct levels *l, int64_t rounding)
{
    struct gap g = divide(l, rounding);
    json_t *parts = json_array();
    for (int i = 0; i < NCAUSES; i++)
        json_array_append_new(parts,
                              part_json(causes[i].key, causes[i].label,
                                        g.mapped[i], g.memory[i], l->rss));
    json_array_append_new(
        parts, part_json("sum", "Sum", mapped_of(l), l->rss, l->rss));
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:b, s:o}", "key", key,
                     "title", title, "t", (json_int_t)t, "live",
                     (json_int_t)l->live, "mapped", (json_int_t)mapped_of(l),
                     "rss", report_number(l->rss), "measured", l->resident >= 0,
                     "parts", parts);
}

/* ---- moments and means --------------------------------------------------- */

/* RSS at a point itself. That can be divided; the highest RSS in the span of a
 * merged point cannot. */
static int64_t level_rss(const json_t *point)
{
    return report_known(point, "rss");
}

size_t report_peak_point(const json_t *points)
{
    return report_peak(points, level_rss);
}

json_t *report_moments(const json_t *points, int64_t rounding)
{
    json_t *moments = json_array();
    size_t last = json_array_size(points) - 1;
    size_t peak = report_peak_point(points);
    struct levels l = levels_at(points, peak);
    if (peak != last && l.rss >= 0)
        json_array_append_new(
            moments,
            moment_json("peak", "At the peak of RSS",
                        report_count(json_array_get(points, peak), "t"), &l,
                        -1));
    l = levels_at(points, last);
    json_array_append_new(
        moments, moment_json("end", "At the end",
                             report_count(json_array_get(points, last), "t"),
                             &l, rounding));
    return moments;
}

/* The mean of each cause over the time of all points. */
json_t *report_means(const json_t *points)
{
    double sum[NCAUSES] = {0}, whole = 0;
    json_t *out = json_object();
    const json_t *point;
    size_t i;
    json_array_foreach(points, i, point)
    {
        struct levels l = levels_at(points, i);
        double span = (double)larger(report_count(point, "span_ms"), 1);
        struct gap g = divide(&l, -1);
        whole += span;
        for (int k = 0; k < NCAUSES; k++)
            sum[k] += span * (double)(l.rss < 0 ? g.mapped[k] : g.memory[k]);
    }
    for (int k = 0; k < NCAUSES; k++)
        json_object_set_new(
            out, causes[k].key,
            report_number(at_least_0((int64_t)(sum[k] / whole))));
    return out;
}
