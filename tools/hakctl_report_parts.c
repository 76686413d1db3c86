/* SPDX-License-Identifier: MIT
 * hakctl_report_parts.c - the upper half of the page as HTML: the process, what
 * memory is held for, and the advice.
 */
#include "hakctl_report.h"
#include "hakctl.h"

/* ---- the head ------------------------------------------------------------ */

void report_write_title(FILE *out, const json_t *page)
{
    fputs("Memory of ", out);
    html_text(out, report_text(page, "name"));
}

static void write_member(FILE *out, const json_t *page, const char *name,
                         const char *key, enum html_unit unit)
{
    const json_t *value = json_object_get(page, key);
    if (json_is_null(value) || report_text(page, key)[0] == 0)
        if (!json_is_number(value))
            return;
    fprintf(out, "<div><dt>%s</dt><dd data-key=\"%s\">", name, key);
    html_figure(out, value, unit);
    fputs("</dd></div>\n", out);
}

void report_write_process(FILE *out, const json_t *page)
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

void report_write_summary(FILE *out, const json_t *page)
{
    const json_t *tile;
    size_t i;
    json_array_foreach(json_object_get(page, "summary"), i, tile)
    {
        bool bytes = strcmp(report_text(tile, "unit"), "bytes") == 0;
        fputs("<div class=\"tile\"><dt>", out);
        html_text(out, report_text(tile, "label"));
        fputs("</dt><dd>", out);
        html_figure(out, json_object_get(tile, "value"),
                    bytes ? HTML_BYTES : HTML_COUNT);
        fputs("</dd></div>\n", out);
    }
}

void report_write_notes(FILE *out, const json_t *page)
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

void report_write_sources(FILE *out, const json_t *page)
{
    const json_t *name;
    size_t i;
    fputs("Made by hakctl ", out);
    html_text(out, report_text(page, "version"));
    json_array_foreach(json_object_get(page, "sources"), i, name)
    {
        fputs(i == 0 ? " of <code>" : ", <code>", out);
        html_text(out, json_string_value(name));
        fputs("</code>", out);
    }
}

/* ---- where memory is ----------------------------------------------------- */

static bool is_sum(const json_t *part)
{
    return strcmp(report_text(part, "cause"), "sum") == 0;
}

/* "; Live blocks: 3.00 MiB; Metadata: 64.0 KiB; in all: 3.06 MiB" */
static void write_bar_text(FILE *out, const json_t *moment, const char *key)
{
    const json_t *part;
    char figure[64];
    size_t i;
    json_array_foreach(json_object_get(moment, "parts"), i, part)
    {
        if (report_count(part, key) == 0)
            continue;
        html_figure_text(figure, sizeof figure, json_object_get(part, key),
                         HTML_BYTES);
        fprintf(out, "; %s: %s",
                is_sum(part) ? "in all" : report_text(part, "label"), figure);
    }
}

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
    write_bar_text(out, moment, key);
    fputs("\">", out);
    json_array_foreach(json_object_get(moment, "parts"), i, part)
    {
        double width = 100 * (double)report_count(part, key) / whole;
        if (is_sum(part) || width <= 0)
            continue;
        html_figure_text(figure, sizeof figure, json_object_get(part, key),
                         HTML_BYTES);
        fprintf(out,
                "<rect class=\"part c-%s\" x=\"%.3f%%\" width=\"%.3f%%\" "
                "height=\"100%%\"><title>%s: %s</title></rect>",
                report_text(part, "cause"), x, width,
                report_text(part, "label"), figure);
        x += width;
    }
    fputs("</svg></div>\n", out);
}

static void write_swatch(FILE *out, const json_t *row)
{
    if (!is_sum(row))
        fprintf(out,
                "<svg class=\"swatch\" aria-hidden=\"true\" width=\"18\" "
                "height=\"14\"><rect class=\"part c-%s\" width=\"100%%\" "
                "height=\"100%%\"/></svg>",
                report_text(row, "cause"));
}

static void write_moment(FILE *out, const json_t *page, size_t number)
{
    static const struct html_column columns[] = {
        {.key = "label", .title = "Part", .before = write_swatch},
        {.key = "memory", .title = "In memory", .unit = HTML_BYTES},
        {.key = "share", .title = "Of RSS", .unit = HTML_PERCENT},
        {.key = "mapped", .title = "Mapped", .unit = HTML_BYTES},
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
    html_text(out, report_text(moment, "title"));
    fprintf(out, " <small>after %s</small></h3>\n<div class=\"bars\">\n",
            caption);
    if (rss > 0)
        write_bar(out, moment, "RSS", "memory", whole);
    if (whole > 0)
        write_bar(out, moment, "Mapped", "mapped", whole);
    fputs("</div>\n", out);
    snprintf(caption, sizeof caption, "%s: what memory is held for",
             report_text(moment, "title"));
    HTML_TABLE(out, page, columns, .caption = caption, .of = of,
               .class = "parts");
    fputs("</div>\n", out);
}

void report_write_moments(FILE *out, const json_t *page)
{
    size_t n = json_array_size(json_object_get(page, "moments"));
    for (size_t i = 0; i < n; i++)
        write_moment(out, page, i);
}

/* ---- advice -------------------------------------------------------------- */

static bool has_lines(const json_t *advice)
{
    const json_t *one;
    size_t i;
    json_array_foreach(advice, i, one)
    {
        if (report_text(one, "ini")[0] != 0)
            return true;
    }

    return false;
}

void report_write_advice(FILE *out, const json_t *page)
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
        html_text(out, report_text(one, "title"));
        fputs(" <small data-key=\"bytes\">", out);
        html_figure(out, json_object_get(one, "bytes"), HTML_BYTES);
        fputs("</small></h3>\n<p>", out);
        html_text(out, report_text(one, "text"));
        fputs("</p>\n", out);
        if (report_text(one, "ini")[0] != 0) {
            fputs("<pre tabindex=\"0\" aria-label=\"Lines for the INI\"><code "
                  "data-key=\"ini\">",
                  out);
            html_text(out, report_text(one, "ini"));
            fputs("</code></pre>\n", out);
        }
        fputs("</article>\n", out);
    }
}
