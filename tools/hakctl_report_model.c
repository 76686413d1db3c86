/* SPDX-License-Identifier: MIT
 * hakctl_report_model.c - the figures of the page: whose memory, how much of it
 * over time, and why it is more than the program asked for.
 */
#include "hakctl_report.h"
#include "hakctl.h"

#include <hakmem/version.h>

#include <time.h>

/* A timeline has up to 4096 points, and a chart is some 1000 pixels wide. */
enum { ROWS_MOST = 400 };

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
static int64_t sum_of(const json_t *point, const char *key)
{
    int64_t sum = 0;
    size_t i;
    const json_t *box;
    json_array_foreach(json_object_get(point, "boxes"), i, box)
        sum += report_count(box, key);
    return sum;
}

/* The levels of a point in bytes; -1: not known. */
struct levels {
    int64_t rss, meta, file;
    int64_t live, pages, cached; /* sums over boxes; pages: the rest of mapped */
    int64_t dirty, purged;       /* of what no box has */
    int64_t resident;            /* of the window */
};

static int64_t mapped_of(const struct levels *l)
{
    return l->live + l->pages + l->cached + l->dirty + l->purged;
}

static struct levels read_levels(const json_t *point)
{
    const json_t *window = json_object_get(point, "window");
    struct levels l = {
        .rss = report_known(point, "rss"),
        .meta = report_count(point, "meta"),
        .file = report_count(point, "file"),
        .live = sum_of(point, "live"),
        .cached = sum_of(point, "cached"),
        .dirty = report_count(window, "dirty"),
        .resident = report_known(window, "resident"),
    };
    l.pages = at_least_0(sum_of(point, "mapped") - l.live - l.cached);
    l.purged = at_least_0(report_count(window, "free") - l.dirty);
    return l;
}

/* The highest value of a figure in the span of a point. In a point that was
 * merged from several, that is in the member `most`. */
static int64_t most_of(const json_t *point, const char *key, int64_t level)
{
    return larger(report_known(json_object_get(point, "most"), key), level);
}

static int64_t most_rss(const json_t *point)
{
    return most_of(point, "rss", report_known(point, "rss"));
}

static int64_t most_live(const json_t *point)
{
    return most_of(point, "live", sum_of(point, "live"));
}

/* The number of the point with the highest value, the first of several. */
static size_t peak_of(const json_t *points, int64_t (*most)(const json_t *))
{
    size_t peak = 0, i;
    const json_t *point;
    json_array_foreach(points, i, point)
        if (most(point) > most(json_array_get(points, peak)))
            peak = i;
    return peak;
}

/* The levels of the point with that number. The window is not measured at each
 * point, so the last measure before is carried over, or the first one. */
static struct levels levels_at(const json_t *points, size_t number)
{
    struct levels l = read_levels(json_array_get(points, number));
    for (size_t i = number; l.resident < 0 && i-- > 0;)
        l.resident = read_levels(json_array_get(points, i)).resident;
    for (size_t i = number; l.resident < 0 && i < json_array_size(points); i++)
        l.resident = read_levels(json_array_get(points, i)).resident;
    return l;
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

/* A share in percent with one decimal; null without a whole. */
static json_t *share_of(int64_t part, int64_t whole)
{
    if (part < 0 || whole <= 0)
        return json_null();
    return json_real((double)(part * 1000 / whole) / 10);
}

static json_t *part_json(const char *key, const char *label, int64_t mapped,
                         int64_t memory, int64_t rss)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "cause", key, "label", label,
                     "mapped", report_number(mapped), "memory",
                     report_number(memory), "share", share_of(memory, rss));
}

/* One moment of the process: its memory, divided by causes. */
static json_t *moment_json(const char *key, const char *title, int64_t t,
                           const struct levels *l, int64_t rounding)
{
    struct gap g = divide(l, rounding);
    json_t *parts = json_array();
    for (int i = 0; i < NCAUSES; i++)
        json_array_append_new(parts, part_json(causes[i].key, causes[i].label,
                                               g.mapped[i], g.memory[i],
                                               l->rss));
    json_array_append_new(parts, part_json("sum", "Sum", mapped_of(l), l->rss,
                                           l->rss));
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:b, s:o}", "key", key,
                     "title", title, "t", (json_int_t)t, "live",
                     (json_int_t)l->live, "mapped", (json_int_t)mapped_of(l),
                     "rss", report_number(l->rss), "measured", l->resident >= 0,
                     "parts", parts);
}

/* The bytes by which slots are larger than what was asked for, of the blocks
 * that are live at the end; -1: not known. */
static int64_t rounding_of(const json_t *sites)
{
    return report_known(json_object_get(sites, "totals"), "rounding");
}

static json_t *moments_json(const json_t *points, int64_t rounding)
{
    json_t *moments = json_array();
    size_t last = json_array_size(points) - 1;
    size_t peak = peak_of(points, most_rss);
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

/* ---- memory over time ---------------------------------------------------- */

static json_t *row_json(const json_t *point, size_t nboxes)
{
    struct levels l = read_levels(point);
    json_t *mapped = json_array();
    for (size_t i = 0; i < nboxes; i++) {
        const json_t *box =
            json_array_get(json_object_get(point, "boxes"), i);
        json_array_append_new(mapped,
                              json_integer(report_count(box, "mapped")));
    }
    return json_pack("{s:I, s:o, s:I, s:I, s:I, s:o}", "t",
                     (json_int_t)report_count(point, "t"), "rss",
                     report_number(most_rss(point)), "live",
                     (json_int_t)most_live(point), "dirty",
                     (json_int_t)l.dirty, "mapped", (json_int_t)mapped_of(&l),
                     "boxes", mapped);
}

/* The point with most RSS of each group of neighbours, so that the peak stays.
 * The last group is the last point alone, as the end has to stay too. */
static json_t *rows_json(const json_t *points, size_t nboxes)
{
    const size_t n = json_array_size(points);
    const size_t group = (n + ROWS_MOST - 1) / ROWS_MOST;
    json_t *rows = json_array();
    for (size_t first = 0; first < n - 1; first += group) {
        size_t best = first;
        for (size_t i = first; i < first + group && i < n - 1; i++)
            if (most_rss(json_array_get(points, i)) >
                most_rss(json_array_get(points, best)))
                best = i;
        json_array_append_new(rows,
                              row_json(json_array_get(points, best), nboxes));
    }
    json_array_append_new(rows, row_json(json_array_get(points, n - 1), nboxes));
    return rows;
}

static json_t *events_json(const json_t *events)
{
    json_t *all = json_array();
    size_t i;
    const json_t *event;
    json_array_foreach(events, i, event)
    {
        const char *kind = json_string_value(json_object_get(event, "event"));
        const char *text = json_string_value(json_object_get(event, "text"));
        json_array_append_new(
            all, json_pack("{s:I, s:I, s:s, s:s}", "number",
                           (json_int_t)(i + 1), "t",
                           (json_int_t)report_count(event, "t"), "event",
                           kind != NULL ? kind : "?", "text",
                           text != NULL ? text : ""));
    }
    return all;
}

/* ---- the process --------------------------------------------------------- */

/* A report as the only point of a timeline. */
static json_t *point_of_stats(const json_t *stats)
{
    json_t *boxes = json_array();
    size_t i, k;
    const json_t *box, *c;
    json_array_foreach(json_object_get(stats, "boxes"), i, box)
    {
        json_t *classes = json_array();
        json_array_foreach(json_object_get(box, "classes"), k, c)
            json_array_append_new(
                classes,
                json_pack("[I, I, I, I, I]",
                          (json_int_t)report_count(c, "slot_bytes"),
                          (json_int_t)report_count(c, "live"),
                          (json_int_t)report_count(c, "live_bytes"),
                          (json_int_t)report_count(c, "mapped_bytes"),
                          (json_int_t)report_count(c, "cached_bytes")));
        json_array_append_new(
            boxes, json_pack("{s:I, s:I, s:I, s:I, s:o}", "live",
                             (json_int_t)report_count(box, "live_bytes"),
                             "mapped",
                             (json_int_t)report_count(box, "mapped_bytes"),
                             "cached",
                             (json_int_t)report_count(box, "cached_bytes"),
                             "allocs", (json_int_t)report_count(box, "allocs"),
                             "classes", classes));
    }
    return json_pack("{s:i, s:o, s:I, s:{s:I, s:I}, s:o}", "t", 0, "rss",
                     report_number(report_known(stats, "rss_bytes")), "meta",
                     (json_int_t)report_count(stats, "meta_bytes"), "window",
                     "free", (json_int_t)report_count(stats, "kept_bytes"),
                     "dirty", (json_int_t)report_count(stats, "dirty_bytes"),
                     "boxes", boxes);
}

/* A report in the form of a timeline. */
static json_t *timeline_of_stats(const json_t *stats)
{
    json_t *names = json_array();
    size_t i;
    const json_t *box;
    json_array_foreach(json_object_get(stats, "boxes"), i, box)
        json_array_append(names, json_object_get(box, "name"));
    return json_pack("{s:{s:O?, s:o}, s:[o], s:[]}", "header", "program",
                     json_object_get(stats, "program"), "boxes", names,
                     "points", point_of_stats(stats), "events");
}

/* The last element of that process; NULL: there is none. */
static json_t *of_process(const json_t *all, pid_t pid)
{
    for (size_t i = json_array_size(all); i-- > 0;)
        if (report_count(json_array_get(all, i), "pid") == pid)
            return json_array_get(all, i);
    return NULL;
}

/* Count the other processes, each once. */
static size_t count_others(const struct report *r)
{
    const json_t *lists[] = {r->timelines, r->profiles, r->stats};
    json_t *pids = json_object();
    char key[24];
    for (size_t k = 0; k < sizeof lists / sizeof lists[0]; k++)
        for (size_t i = 0; i < json_array_size(lists[k]); i++) {
            int64_t pid = report_count(json_array_get(lists[k], i), "pid");
            snprintf(key, sizeof key, "%lld", (long long)pid);
            if (pid != r->pid)
                json_object_set_new(pids, key, json_true());
        }
    size_t n = json_object_size(pids);
    json_decref(pids);
    return n;
}

/* The process that the page is about: that of the first file, if nobody said.
 * Timelines go before profiles and these before reports. */
static pid_t choose_pid(const struct report *r)
{
    const json_t *first = json_array_get(r->timelines, 0);
    if (first == NULL)
        first = json_array_get(r->profiles, 0);
    if (first == NULL)
        first = json_array_get(r->stats, 0);
    return (pid_t)report_count(first, "pid");
}

static const char *name_of(const char *program)
{
    const char *slash = strrchr(program, '/');
    return slash != NULL && slash[1] != 0 ? slash + 1 : program;
}

static json_t *date_json(int64_t unix_ms)
{
    char text[64];
    struct tm tm;
    time_t s = (time_t)(unix_ms / 1000);
    if (unix_ms <= 0 || localtime_r(&s, &tm) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %Z", &tm) == 0)
        return json_null();
    return json_string(text);
}

/* Set the members that say which process it is. */
static void set_process(json_t *page, const struct report *r,
                        const json_t *timeline)
{
    const json_t *header = json_object_get(timeline, "header");
    const json_t *points = json_object_get(timeline, "points");
    const json_t *end = json_object_get(timeline, "ended_ms");
    const char *program = json_string_value(json_object_get(header, "program"));
    const char *args = json_string_value(json_object_get(header, "args"));
    size_t n = json_array_size(points);
    int64_t t = larger(report_count(json_array_get(points, n - 1), "t"),
                       report_count(timeline, "ended_ms"));
    if (program == NULL)
        program = "a program";
    json_object_set_new(page, "program", json_string(program));
    json_object_set_new(page, "name", json_string(name_of(program)));
    json_object_set_new(page, "args", json_string(args != NULL ? args : ""));
    json_object_set_new(page, "pid", json_integer(r->pid));
    json_object_set_new(page, "date",
                        date_json(report_count(header, "start_unix_ms")));
    json_object_set_new(page, "duration_ms",
                        report_number(n > 1 || end != NULL ? t : -1));
    json_object_set_new(page, "exited", json_boolean(end != NULL));
    json_object_set_new(page, "points", json_integer((json_int_t)n));
}

static json_t *tile(const char *label, const char *unit, int64_t value)
{
    return json_pack("{s:s, s:s, s:o}", "label", label, "unit", unit, "value",
                     report_number(value));
}

/* The figures at the top of the page. */
static json_t *summary_json(const json_t *points)
{
    const json_t *last = json_array_get(points, json_array_size(points) - 1);
    const json_t *rss = json_array_get(points, peak_of(points, most_rss));
    const json_t *live = json_array_get(points, peak_of(points, most_live));
    int64_t allocs = 0;
    size_t i;
    const json_t *point;
    json_array_foreach(points, i, point)
        allocs += sum_of(point, "allocs");
    return json_pack("[o, o, o, o, o]",
                     tile("Peak RSS", "bytes", most_rss(rss)),
                     tile("RSS at the end", "bytes", report_known(last, "rss")),
                     tile("Peak live", "bytes", most_live(live)),
                     tile("Live at the end", "bytes", sum_of(last, "live")),
                     tile("Allocations", "count", allocs));
}

/* Say what the page cannot show. */
static void note_missing(struct report *r, const json_t *timeline,
                         const json_t *profile, const json_t *points)
{
    if (timeline == NULL)
        report_note(r, "There is no timeline, so the page shows one moment "
                       "only. [stats] timeline = FILE writes one, and so does "
                       "hakctl run --report.");
    if (profile == NULL)
        report_note(r, "There is no heap profile, so the page has no call "
                       "sites, no flame graph and no slot rounding. "
                       "[heap_profile] file = FILE writes one, and so does "
                       "hakctl run --report.");
    size_t last = json_array_size(points) - 1;
    if (levels_at(points, last).resident < 0 &&
        levels_at(points, last).rss >= 0)
        report_note(r, "It was not measured how much of hakmem's memory is "
                       "resident. So all that is mapped and not purged counts "
                       "as resident, and the part that is not of hakmem may "
                       "be larger than it is here.");
    size_t others = count_others(r);
    if (others != 0)
        report_note(r, "%zu other process%s left files too. The page is about "
                       "process %d alone.",
                    others, others == 1 ? "" : "es", (int)r->pid);
}

/* Set the members that show figures. */
static void set_figures(json_t *page, const struct report_process *p,
                        const json_t *events)
{
    json_t *sites = p->profile != NULL ? report_sites(p->profile) : json_null();
    size_t nboxes = json_array_size(p->boxes);
    json_object_set_new(page, "summary", summary_json(p->points));
    json_object_set_new(page, "moments",
                        moments_json(p->points, rounding_of(sites)));
    json_object_set_new(page, "boxes", json_deep_copy(p->boxes));
    json_object_set_new(page, "time", rows_json(p->points, nboxes));
    json_object_set_new(page, "events", events_json(events));
    json_object_set_new(page, "heat", report_heat(p));
    json_object_set_new(page, "profile", sites);
    json_object_set_new(page, "advice", report_advice(p, page));
}

json_t *report_figures(struct report *r)
{
    if (r->pid == 0)
        r->pid = choose_pid(r);
    json_t *own = of_process(r->timelines, r->pid), *timeline = own;
    json_t *stats = of_process(r->stats, r->pid);
    if (timeline == NULL && stats != NULL)
        timeline = timeline_of_stats(stats);
    else
        json_incref(timeline);
    if (timeline == NULL) {
        ctl_say("report: no timeline and no JSON report of process %d; a heap "
                "profile alone is shown by hakctl profile",
                (int)r->pid);
        return NULL;
    }
    const json_t *header = json_object_get(timeline, "header");
    struct report_process p = {
        .boxes = json_object_get(header, "boxes"),
        .points = json_object_get(timeline, "points"),
        .profile = of_process(r->profiles, r->pid),
        .stats = stats,
    };
    json_t *page = json_pack("{s:i, s:s, s:O}", "hakmem_report", 1, "version",
                             HAK_VERSION, "sources", r->sources);
    set_process(page, r, timeline);
    set_figures(page, &p, json_object_get(timeline, "events"));
    note_missing(r, own, p.profile, p.points);
    json_object_set(page, "notes", r->notes);
    json_decref(timeline);
    return page;
}
