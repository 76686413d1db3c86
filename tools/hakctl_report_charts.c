/* SPDX-License-Identifier: MIT
 * hakctl_report_charts.c - what the page draws, as tables and lists that need
 * no script: memory over time, size classes, call sites.
 */
#include "hakctl_report.h"
#include "hakctl.h"

/* ---- over time ----------------------------------------------------------- */

void report_write_time(FILE *out, const json_t *page)
{
    enum { FIXED = 5, MOST = FIXED + 64 };
    struct html_column columns[MOST] = {
        {.key = "t", .title = "Time", .unit = HTML_MS},
        {.key = "rss", .title = "RSS", .unit = HTML_BYTES},
        {.key = "live", .title = "Live", .unit = HTML_BYTES},
        {.key = "mapped", .title = "Mapped in all", .unit = HTML_BYTES},
        {.key = "dirty", .title = "Waiting for purge", .unit = HTML_BYTES},
    };
    const json_t *boxes = json_object_get(page, "boxes"), *name;
    size_t n = FIXED, i;
    json_array_foreach(boxes, i, name)
    {
        if (n == MOST)
            break;
        columns[n].unit = HTML_BYTES;
        snprintf(columns[n].key, sizeof columns[n].key, "boxes/%zu", i);
        snprintf(columns[n].title, sizeof columns[n].title, "Mapped by %s",
                 json_is_string(name) ? json_string_value(name) : "?");
        n++;
    }
    html_table(out, page,
               &(struct html_table){.caption = "Memory over time",
                                    .of = "time",
                                    .column = columns,
                                    .ncolumns = n});
}

void report_write_events(FILE *out, const json_t *page)
{
    static const struct html_column columns[] = {
        {.key = "number", .title = "No.", .unit = HTML_COUNT},
        {.key = "t", .title = "Time", .unit = HTML_MS},
        {.key = "event", .title = "Event", .unit = HTML_TEXT},
        {.key = "text", .title = "What", .unit = HTML_TEXT},
    };
    if (json_array_size(json_object_get(page, "events")) == 0)
        fputs("<p>There were no events: no route, box or key was changed while "
              "the program ran.</p>\n",
              out);
    else
        HTML_TABLE(out, page, columns,
                   .caption = "What was changed while the program ran",
                   .of = "events");
}

/* ---- size classes -------------------------------------------------------- */

/* The colour of a cell goes by its share of the hottest one. */
static void mark_heat(FILE *out, const json_t *page, const json_t *cell)
{
    static const int bounds[] = {3, 12, 25, 50, 75}; /* percent */
    int64_t n = json_integer_value(cell), level = 0;
    int64_t most = report_count(json_object_get(page, "heat"), "most");
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        level += n > 0 && n * 100 >= most * bounds[i];
    fprintf(out, " class=\"heat h%d\"", (int)level);
}

enum { HEAT_COLUMNS_MOST = 24 };

/* Fill in a column for each time. Returns the number of columns. */
static size_t heat_columns(struct html_column columns[HEAT_COLUMNS_MOST],
                           const json_t *times)
{
    const json_t *t;
    size_t n = 2, i;
    columns[0] = (struct html_column){
        .key = "slot", .title = "Slot", .unit = HTML_BYTES};
    columns[1] =
        (struct html_column){.key = "box", .title = "Box", .unit = HTML_TEXT};
    json_array_foreach(times, i, t)
    {
        if (n == HEAT_COLUMNS_MOST - 1)
            break;
        columns[n] =
            (struct html_column){.unit = HTML_BYTES, .mark = mark_heat};
        snprintf(columns[n].key, sizeof columns[n].key, "cells/%zu", i);
        html_figure_text(columns[n].title, sizeof columns[n].title, t, HTML_MS);
        n++;
    }
    columns[n++] = (struct html_column){
        .key = "share", .title = "Free at the end", .unit = HTML_PERCENT};
    return n;
}

void report_write_heat(FILE *out, const json_t *page)
{
    struct html_column columns[HEAT_COLUMNS_MOST];
    const json_t *heat = json_object_get(page, "heat");
    const json_t *times = json_object_get(heat, "times");
    if (json_array_size(times) == 0) {
        fputs("<p>No figures of size classes were recorded.</p>\n", out);
        return;
    }
    const struct html_table table = {
        .caption = "Free bytes in the pages of each size class, over time",
        .of = "heat/rows",
        .class = "heatmap",
        .column = columns,
        .ncolumns = heat_columns(columns, times),
    };
    html_table(out, page, &table);
    if (report_count(heat, "left") != 0)
        fprintf(out, "<p>%lld classes with less are left out.</p>\n",
                (long long)report_count(heat, "left"));
}

/* ---- call sites ---------------------------------------------------------- */

static const char no_profile[] =
    "<p>There is no heap profile. <code>[heap_profile] file = FILE</code> "
    "writes one, and so does <code>hakctl run --report</code>.</p>\n";

static bool has_profile(const json_t *page)
{
    return json_is_object(json_object_get(page, "profile"));
}

void report_write_sites(FILE *out, const json_t *page)
{
    static const struct html_column columns[] = {
        {.key = "function", .title = "Function", .unit = HTML_TEXT},
        {.key = "where", .title = "Where", .unit = HTML_TEXT},
        {.key = "caller", .title = "Called by", .unit = HTML_TEXT},
        {.key = "in_use", .title = "In use", .unit = HTML_BYTES},
        {.key = "peak", .title = "At the peak", .unit = HTML_BYTES},
        {.key = "allocated", .title = "Allocated", .unit = HTML_BYTES},
        {.key = "overhead", .title = "Overhead", .unit = HTML_BYTES},
    };
    if (!has_profile(page))
        fputs(no_profile, out);
    else
        HTML_TABLE(out, page, columns, .caption = "Call sites with most bytes",
                   .of = "profile/sites", .class = "sites");
}

/* A node of the tree is [name, in use, peak, allocated, overhead, children]. */
static void write_node(FILE *out, const json_t *names, const json_t *node,
                       unsigned depth)
{
    enum { DEPTH_MOST = 64 };
    static const char *const views[] = {"in use", "at the peak", "allocated",
                                        "overhead"};
    const json_t *children = json_array_get(node, 5), *child;
    size_t name = (size_t)json_integer_value(json_array_get(node, 0)), i;
    fputs("<li>", out);
    html_text(out, json_string_value(json_array_get(names, name)));
    for (i = 0; i < 4; i++) {
        fprintf(out, "%s %s ", i == 0 ? ":" : ",", views[i]);
        html_figure(out, json_array_get(node, i + 1), HTML_BYTES);
    }
    if (json_array_size(children) != 0 && depth < DEPTH_MOST) {
        fputs("<ul>\n", out);
        json_array_foreach(children, i, child)
        {
            write_node(out, names, child, depth + 1);
        }

        fputs("</ul>", out);
    }
    fputs("</li>\n", out);
}

void report_write_tree(FILE *out, const json_t *page)
{
    if (!has_profile(page)) {
        fputs(no_profile, out);
        return;
    }
    fputs("<ul class=\"tree\">\n", out);
    write_node(out, report_at(page, "profile/names"),
               report_at(page, "profile/tree"), 0);
    fputs("</ul>\n", out);
}
