/* SPDX-License-Identifier: MIT
 * hakctl_report_tables.c - the figures of the page as HTML: tables, bars and
 * lists, which need no script.
 *
 * A table names the array that it shows, and each column the member: data-of
 * and data-key have them. tests/report/ compares each cell with the JSON.
 */
#include "hakctl_report.h"
#include "hakctl.h"

/* ---- JSON by path ----------------------------------------------------------
 */

/* The value at a path such as "moments/0/parts". NULL: there is none. */
static const json_t *at_path(const json_t *value, const char *path)
{
    char key[64];
    while (value != NULL && *path != 0) {
        size_t n = strcspn(path, "/");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        value = json_is_array(value)
                    ? json_array_get(value, strtoul(key, NULL, 10))
                    : json_object_get(value, key);
        path += path[n] != 0 ? n + 1 : n;
    }
    return value;
}

static const char *text_at(const json_t *value, const char *path)
{
    const char *text = json_string_value(at_path(value, path));
    return text != NULL ? text : "";
}

/* ---- tables ----------------------------------------------------------------
 */

struct column {
    char key[40]; /* a path in the row */
    char title[80];
    enum html_unit unit;
    /* Writes something in front of the cell's text; may be NULL. */
    void (*before)(FILE *out, const json_t *row);
    /* Writes the attributes of the cell; may be NULL. */
    void (*mark)(FILE *out, const json_t *page, const json_t *cell);
};

#define COLUMN(key_text, title_text, unit_of)                   \
    {                                                           \
        .key = key_text, .title = title_text, .unit = (unit_of) \
    }

struct table {
    const char *caption, *of; /* of: the path of the rows */
    const char *class;        /* NULL = none */
    const struct column *column;
    size_t ncolumns;
};

static void write_cell(FILE *out, const json_t *page, const struct table *t,
                       const json_t *row, size_t i)
{
    const struct column *c = &t->column[i];
    const json_t *value = at_path(row, c->key);
    const char *tag = i == 0 ? "th" : "td";
    fprintf(out, "<%s%s", tag, i == 0 ? " scope=\"row\"" : "");
    if (c->unit == HTML_TEXT && i != 0)
        fputs(" class=\"text\"", out);
    else if (c->mark != NULL)
        c->mark(out, page, value);
    fputc('>', out);
    if (c->before != NULL)
        c->before(out, row);
    html_figure(out, value, c->unit);
    fprintf(out, "</%s>", tag);
}

/* Wide tables scroll in a region, which the keyboard can reach. */
static void write_table(FILE *out, const json_t *page, const struct table *t)
{
    const json_t *rows = at_path(page, t->of), *row;
    size_t r;
    fputs("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"",
          out);
    html_text(out, t->caption);
    fprintf(out, "\"><table class=\"%s\" data-of=\"%s\"><caption>",
            t->class != NULL ? t->class : "", t->of);
    html_text(out, t->caption);
    fputs("</caption>\n<thead><tr>", out);
    for (size_t i = 0; i < t->ncolumns; i++) {
        fprintf(out, "<th scope=\"col\" data-key=\"%s\"%s>", t->column[i].key,
                t->column[i].unit == HTML_TEXT ? " class=\"text\"" : "");
        html_text(out, t->column[i].title);
        fputs("</th>", out);
    }
    fputs("</tr></thead>\n<tbody>\n", out);
    json_array_foreach(rows, r, row)
    {
        fputs("<tr>", out);
        for (size_t i = 0; i < t->ncolumns; i++)
            write_cell(out, page, t, row, i);
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

#define WRITE_TABLE(out, page, columns, ...)                             \
    write_table(                                                         \
        out, page,                                                       \
        &(struct table){.column = (columns),                             \
                        .ncolumns = sizeof(columns) / sizeof *(columns), \
                        __VA_ARGS__})

/* ---- the head --------------------------------------------------------------
 */

static void write_title(FILE *out, const json_t *page)
{
    fputs("Memory of ", out);
    html_text(out, text_at(page, "name"));
}

static void write_member(FILE *out, const json_t *page, const char *name,
                         const char *key, enum html_unit unit)
{
    const json_t *value = json_object_get(page, key);
    if (json_is_null(value) || text_at(page, key)[0] == 0)
        if (!json_is_number(value))
            return;
    fprintf(out, "<div><dt>%s</dt><dd data-key=\"%s\">", name, key);
    html_figure(out, value, unit);
    fputs("</dd></div>\n", out);
}

static void write_process(FILE *out, const json_t *page)
{
    char pid[24];
    snprintf(pid, sizeof pid, "%lld", (long long)report_count(page, "pid"));
    write_member(out, page, "Program", "program", HTML_TEXT);
    fprintf(out, "<div><dt>Process</dt><dd>%s</dd></div>\n", pid);
    write_member(out, page, "Started", "date", HTML_TEXT);
    write_member(out, page,
                 json_is_true(json_object_get(page, "exited")) ? "Ran for"
                                                               : "Seen for",
                 "duration_ms", HTML_MS);
    write_member(out, page, "Command", "args", HTML_TEXT);
}

static void write_summary(FILE *out, const json_t *page)
{
    const json_t *tile;
    size_t i;
    json_array_foreach(json_object_get(page, "summary"), i, tile)
    {
        bool bytes = strcmp(text_at(tile, "unit"), "bytes") == 0;
        fputs("<div class=\"tile\"><dt>", out);
        html_text(out, text_at(tile, "label"));
        fputs("</dt><dd>", out);
        html_figure(out, json_object_get(tile, "value"),
                    bytes ? HTML_BYTES : HTML_COUNT);
        fputs("</dd></div>\n", out);
    }
}

static void write_notes(FILE *out, const json_t *page)
{
    const json_t *notes = json_object_get(page, "notes"), *note;
    size_t i;
    if (json_array_size(notes) == 0)
        return;
    fputs("<aside class=\"notes\" aria-label=\"What this page lacks\">\n"
          "<h2>What this page lacks</h2>\n<ul>\n",
          out);
    json_array_foreach(notes, i, note)
    {
        fputs("<li>", out);
        html_text(out, json_string_value(note));
        fputs("</li>\n", out);
    }
    fputs("</ul>\n</aside>\n", out);
}

static void write_sources(FILE *out, const json_t *page)
{
    const json_t *name;
    size_t i;
    fputs("Made by hakctl ", out);
    html_text(out, text_at(page, "version"));
    json_array_foreach(json_object_get(page, "sources"), i, name)
    {
        fputs(i == 0 ? " of <code>" : ", <code>", out);
        html_text(out, json_string_value(name));
        fputs("</code>", out);
    }
}

/* ---- where memory is --------------------------------------------------------
 */

/* Write a bar of one figure (mapped or memory) of the parts of a moment. */
static void write_bar(FILE *out, const json_t *moment, const char *name,
                      const char *key, double whole)
{
    const json_t *part;
    char figure[64];
    double x = 0;
    size_t i;
    fprintf(out,
            "<div class=\"bar\"><span class=\"name\">%s</span>"
            "<svg role=\"img\" height=\"34\" aria-label=\"%s",
            name, name);
    json_array_foreach(json_object_get(moment, "parts"), i, part)
    {
        bool sum = strcmp(text_at(part, "cause"), "sum") == 0;
        if (report_count(part, key) == 0)
            continue;
        html_figure_text(figure, sizeof figure, json_object_get(part, key),
                         HTML_BYTES);
        fprintf(out, "; %s: %s", sum ? "in all" : text_at(part, "label"),
                figure);
    }
    fputs("\">", out);
    json_array_foreach(json_object_get(moment, "parts"), i, part)
    {
        double width = 100 * (double)report_count(part, key) / whole;
        if (strcmp(text_at(part, "cause"), "sum") == 0 || width <= 0)
            continue;
        html_figure_text(figure, sizeof figure, json_object_get(part, key),
                         HTML_BYTES);
        fprintf(out,
                "<rect class=\"part c-%s\" x=\"%.3f%%\" width=\"%.3f%%\" "
                "height=\"100%%\"><title>%s: %s</title></rect>",
                text_at(part, "cause"), x, width, text_at(part, "label"),
                figure);
        x += width;
    }
    fputs("</svg></div>\n", out);
}

static void write_swatch(FILE *out, const json_t *row)
{
    if (strcmp(text_at(row, "cause"), "sum") != 0)
        fprintf(out,
                "<svg class=\"swatch\" aria-hidden=\"true\" width=\"18\" "
                "height=\"14\"><rect class=\"part c-%s\" width=\"100%%\" "
                "height=\"100%%\"/></svg>",
                text_at(row, "cause"));
}

static void write_moment(FILE *out, const json_t *page, size_t number)
{
    static const struct column columns[] = {
        {.key = "label", .title = "Part", .before = write_swatch},
        COLUMN("memory", "In memory", HTML_BYTES),
        COLUMN("share", "Of RSS", HTML_PERCENT),
        COLUMN("mapped", "Mapped", HTML_BYTES),
    };
    char of[40], caption[128];
    const json_t *moment =
        json_array_get(json_object_get(page, "moments"), number);
    double mapped = (double)report_count(moment, "mapped");
    double rss = (double)report_count(moment, "rss");
    double whole = mapped > rss ? mapped : rss;
    snprintf(of, sizeof of, "moments/%zu/parts", number);
    html_figure_text(caption, sizeof caption, json_object_get(moment, "t"),
                     HTML_MS);
    fputs("<div class=\"moment\">\n<h3>", out);
    html_text(out, text_at(moment, "title"));
    fprintf(out, " <small>after %s</small></h3>\n<div class=\"bars\">\n",
            caption);
    if (rss > 0)
        write_bar(out, moment, "RSS", "memory", whole);
    if (whole > 0)
        write_bar(out, moment, "Mapped", "mapped", whole);
    fputs("</div>\n", out);
    snprintf(caption, sizeof caption, "%s: what memory is held for",
             text_at(moment, "title"));
    WRITE_TABLE(out, page, columns, .caption = caption, .of = of,
                .class = "parts");
    fputs("</div>\n", out);
}

static void write_moments(FILE *out, const json_t *page)
{
    size_t n = json_array_size(json_object_get(page, "moments"));
    for (size_t i = 0; i < n; i++)
        write_moment(out, page, i);
}

/* ---- advice -----------------------------------------------------------------
 */

static bool has_lines(const json_t *advice)
{
    const json_t *one;
    size_t i;
    json_array_foreach(advice, i,
                       one) if (text_at(one, "ini")[0] != 0) return true;
    return false;
}

static void write_advice(FILE *out, const json_t *page)
{
    const json_t *all = json_object_get(page, "advice"), *one;
    size_t i;
    if (!has_lines(all))
        fputs(
            "<p class=\"fine\">There is nothing to change in the INI: no part "
            "of the memory that one of its keys could make smaller is more "
            "than 1 MiB and 5 % of RSS.</p>\n",
            out);
    json_array_foreach(all, i, one)
    {
        fprintf(out, "<article data-of=\"advice/%zu\">\n<h3>", i);
        html_text(out, text_at(one, "title"));
        fputs(" <small data-key=\"bytes\">", out);
        html_figure(out, json_object_get(one, "bytes"), HTML_BYTES);
        fputs("</small></h3>\n<p>", out);
        html_text(out, text_at(one, "text"));
        fputs("</p>\n", out);
        if (text_at(one, "ini")[0] != 0) {
            fputs("<pre tabindex=\"0\" aria-label=\"Lines for the INI\"><code "
                  "data-key=\"ini\">",
                  out);
            html_text(out, text_at(one, "ini"));
            fputs("</code></pre>\n", out);
        }
        fputs("</article>\n", out);
    }
}

/* ---- over time
 * --------------------------------------------------------------- */

static void write_time(FILE *out, const json_t *page)
{
    enum { FIXED = 5, MOST = FIXED + 64 };
    struct column columns[MOST] = {
        COLUMN("t", "Time", HTML_MS),
        COLUMN("rss", "RSS", HTML_BYTES),
        COLUMN("live", "Live", HTML_BYTES),
        COLUMN("mapped", "Mapped in all", HTML_BYTES),
        COLUMN("dirty", "Waiting for purge", HTML_BYTES),
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
    write_table(out, page,
                &(struct table){.caption = "Memory over time",
                                .of = "time",
                                .column = columns,
                                .ncolumns = n});
}

static void write_events(FILE *out, const json_t *page)
{
    static const struct column columns[] = {
        COLUMN("number", "No.", HTML_COUNT),
        COLUMN("t", "Time", HTML_MS),
        COLUMN("event", "Event", HTML_TEXT),
        COLUMN("text", "What", HTML_TEXT),
    };
    if (json_array_size(json_object_get(page, "events")) == 0)
        fputs("<p>There were no events: no route, box or key was changed while "
              "the program ran.</p>\n",
              out);
    else
        WRITE_TABLE(out, page, columns,
                    .caption = "What was changed while the program ran",
                    .of = "events");
}

/* ---- size classes
 * ------------------------------------------------------------ */

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

static void write_heat(FILE *out, const json_t *page)
{
    enum { FIXED = 2, MOST = 24 };
    struct column columns[MOST] = {
        COLUMN("slot", "Slot", HTML_BYTES),
        COLUMN("box", "Box", HTML_TEXT),
    };
    const json_t *times = at_path(page, "heat/times"), *t;
    size_t n = FIXED, i;
    if (json_array_size(times) == 0) {
        fputs("<p>No figures of size classes were recorded.</p>\n", out);
        return;
    }
    json_array_foreach(times, i, t)
    {
        if (n == MOST - 1)
            break;
        columns[n].unit = HTML_BYTES;
        columns[n].mark = mark_heat;
        snprintf(columns[n].key, sizeof columns[n].key, "cells/%zu", i);
        html_figure_text(columns[n].title, sizeof columns[n].title, t, HTML_MS);
        n++;
    }
    columns[n] =
        (struct column)COLUMN("share", "Free at the end", HTML_PERCENT);
    write_table(out, page,
                &(struct table){.caption = "Free bytes in the pages of each "
                                           "size class, over time",
                                .of = "heat/rows",
                                .class = "heatmap",
                                .column = columns,
                                .ncolumns = n + 1});
    if (report_count(json_object_get(page, "heat"), "left") != 0)
        fprintf(out, "<p>%lld classes with less are left out.</p>\n",
                (long long)report_count(json_object_get(page, "heat"), "left"));
}

/* ---- call sites
 * -------------------------------------------------------------- */

static const char no_profile[] =
    "<p>There is no heap profile. <code>[heap_profile] file = FILE</code> "
    "writes one, and so does <code>hakctl run --report</code>.</p>\n";

static bool has_profile(const json_t *page)
{
    return json_is_object(json_object_get(page, "profile"));
}

static void write_sites(FILE *out, const json_t *page)
{
    static const struct column columns[] = {
        COLUMN("function", "Function", HTML_TEXT),
        COLUMN("where", "Where", HTML_TEXT),
        COLUMN("caller", "Called by", HTML_TEXT),
        COLUMN("in_use", "In use", HTML_BYTES),
        COLUMN("peak", "At the peak", HTML_BYTES),
        COLUMN("allocated", "Allocated", HTML_BYTES),
        COLUMN("overhead", "Overhead", HTML_BYTES),
    };
    if (!has_profile(page))
        fputs(no_profile, out);
    else
        WRITE_TABLE(out, page, columns, .caption = "Call sites with most bytes",
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
            write_node(out, names, child, depth + 1);
        fputs("</ul>", out);
    }
    fputs("</li>\n", out);
}

static void write_tree(FILE *out, const json_t *page)
{
    if (!has_profile(page)) {
        fputs(no_profile, out);
        return;
    }
    fputs("<ul class=\"tree\">\n", out);
    write_node(out, at_path(page, "profile/names"),
               at_path(page, "profile/tree"), 0);
    fputs("</ul>\n", out);
}

/* ---- all
 * ---------------------------------------------------------------------- */

const struct report_slot report_slots[] = {
    {"title", write_title},     {"process", write_process},
    {"summary", write_summary}, {"notes", write_notes},
    {"moments", write_moments}, {"advice", write_advice},
    {"time", write_time},       {"events", write_events},
    {"heat", write_heat},       {"sites", write_sites},
    {"tree", write_tree},       {"sources", write_sources},
    {"data", html_json},
};
const size_t report_nslots = sizeof report_slots / sizeof report_slots[0];
