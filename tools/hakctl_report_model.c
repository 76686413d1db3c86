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

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- memory over time ---------------------------------------------------- */

static json_t *row_json(const json_t *point, size_t nboxes)
{
    const json_t *window = json_object_get(point, "window");
    json_t *mapped = json_array();
    for (size_t i = 0; i < nboxes; i++) {
        const json_t *box = json_array_get(json_object_get(point, "boxes"), i);
        json_array_append_new(mapped,
                              json_integer(report_count(box, "mapped")));
    }
    int64_t all = report_sum(point, "mapped") + report_count(window, "free");
    return json_pack("{s:I, s:o, s:I, s:I, s:I, s:o}", "t",
                     (json_int_t)report_count(point, "t"), "rss",
                     report_number(report_most_rss(point)), "live",
                     (json_int_t)report_most_live(point), "dirty",
                     (json_int_t)report_count(window, "dirty"), "mapped",
                     (json_int_t)all, "boxes", mapped);
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
            if (report_most_rss(json_array_get(points, i)) >
                report_most_rss(json_array_get(points, best)))
                best = i;
        json_array_append_new(rows,
                              row_json(json_array_get(points, best), nboxes));
    }
    json_array_append_new(rows,
                          row_json(json_array_get(points, n - 1), nboxes));
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
            all, json_pack("{s:I, s:I, s:s, s:s}", "number", (json_int_t)i + 1,
                           "t", (json_int_t)report_count(event, "t"), "event",
                           kind != NULL ? kind : "?", "text",
                           text != NULL ? text : ""));
    }
    return all;
}

/* ---- the process --------------------------------------------------------- */

/* A size class of a report in the form of a timeline. */
static json_t *class_of_stats(const json_t *c)
{
    return json_pack("[I, I, I, I, I]",
                     (json_int_t)report_count(c, "slot_bytes"),
                     (json_int_t)report_count(c, "live"),
                     (json_int_t)report_count(c, "live_bytes"),
                     (json_int_t)report_count(c, "mapped_bytes"),
                     (json_int_t)report_count(c, "cached_bytes"));
}

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
        {
            json_array_append_new(classes, class_of_stats(c));
        }
        json_array_append_new(
            boxes,
            json_pack("{s:I, s:I, s:I, s:I, s:o}", "live",
                      (json_int_t)report_count(box, "live_bytes"), "mapped",
                      (json_int_t)report_count(box, "mapped_bytes"), "cached",
                      (json_int_t)report_count(box, "cached_bytes"), "allocs",
                      (json_int_t)report_count(box, "allocs"), "classes",
                      classes));
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
    {
        json_array_append(names, json_object_get(box, "name"));
    }

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
 * Timelines go before reports and these before profiles. */
static pid_t choose_pid(const struct report *r)
{
    const json_t *first = json_array_get(r->timelines, 0);
    if (first == NULL)
        first = json_array_get(r->stats, 0);
    if (first == NULL)
        first = json_array_get(r->profiles, 0);
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
    const json_t *rss =
        json_array_get(points, report_peak(points, report_most_rss));
    const json_t *live =
        json_array_get(points, report_peak(points, report_most_live));
    const double most = 9e15;
    double allocs = 0;
    size_t i;
    const json_t *point;
    json_array_foreach(points, i, point)
    {
        allocs += (double)report_sum(point, "allocs");
    }

    return json_pack(
        "[o, o, o, o, o]", tile("Peak RSS", "bytes", report_most_rss(rss)),
        tile("RSS at the end", "bytes", report_known(last, "rss")),
        tile("Peak live", "bytes", report_most_live(live)),
        tile("Live at the end", "bytes", report_sum(last, "live")),
        tile("Allocations", "count", (int64_t)(allocs < most ? allocs : most)));
}

/* Say so if RSS was higher between the points than at any of them. */
static void note_merged(struct report *r, const json_t *points)
{
    char most[64], here[64];
    const json_t *peak = json_array_get(points, report_peak_point(points));
    json_t *highest = report_number(report_most_rss(
        json_array_get(points, report_peak(points, report_most_rss))));
    html_figure_text(most, sizeof most, highest, HTML_BYTES);
    html_figure_text(here, sizeof here, json_object_get(peak, "rss"),
                     HTML_BYTES);
    if (json_is_integer(highest) && strcmp(most, here) != 0)
        report_note(r,
                    "RSS was %s at its peak, but points of the timeline near "
                    "it were merged. What memory was held for is known at %s.",
                    most, here);
    json_decref(highest);
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
                       "hakctl run --report, when the program exits. One "
                       "that is killed or calls _exit writes none.");
    size_t last = json_array_size(points) - 1;
    if (!report_is_measured(points) &&
        report_known(json_array_get(points, last), "rss") >= 0)
        report_note(r, "It was not measured how much of hakmem's memory is "
                       "resident. So all that is mapped and not purged counts "
                       "as resident, and the part that is not of hakmem may "
                       "be larger than it is here.");
    note_merged(r, points);
    report_note_others(r, count_others(r));
}

/* The bytes by which slots are larger than what was asked for, of the blocks
 * that are live at the end; -1: not known. */
static int64_t rounding_of(const json_t *sites)
{
    return report_known(json_object_get(sites, "totals"), "rounding");
}

/* Set the members that show figures. */
static void set_figures(json_t *page, const struct report_process *p,
                        const json_t *events)
{
    json_t *sites = p->profile != NULL ? report_sites(p->profile) : json_null();
    size_t nboxes = json_array_size(p->boxes);
    json_object_set_new(page, "summary", summary_json(p->points));
    json_object_set_new(page, "moments",
                        report_moments(p->points, rounding_of(sites)));
    json_object_set_new(page, "means", report_means(p->points));
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
        ctl_say("report: no point of a timeline and no JSON report of process "
                "%d; a heap profile alone is shown by hakctl profile",
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
