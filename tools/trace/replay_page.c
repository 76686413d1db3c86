/* SPDX-License-Identifier: MIT
 * replay_page.c - the page of hakctl replay: figures of all contenders, and
 * memory over the trace. Its frame is tools/report/replay.html.
 */
#include "replay_command.h"

#include "../hakctl.h"
#include "../hakctl_report.h"

#include <hakmem/version.h>

#include <string.h>

/* ---- the head ------------------------------------------------------------ */

static void write_title(FILE *out, const json_t *page)
{
    const char *file = report_text(page, "trace/file");
    const char *slash = strrchr(file, '/');
    fputs("Replay of ", out);
    html_text(out, slash != NULL ? slash + 1 : file);
}

static void write_member(FILE *out, const json_t *page, const char *name,
                         const char *path, enum html_unit unit)
{
    const json_t *value = report_at(page, path);
    if (!json_is_number(value) && !json_is_string(value))
        return;
    fprintf(out, "<div><dt>%s</dt><dd data-key=\"%s\">", name, path);
    html_figure(out, value, unit);
    fputs("</dd></div>\n", out);
}

/* The program that was recorded, as words with blanks between. */
static void write_program(FILE *out, const json_t *page)
{
    const json_t *words = report_at(page, "trace/about/program"), *word;
    size_t i;
    if (json_array_size(words) == 0)
        return;
    fputs("<div><dt>Program</dt><dd>", out);
    json_array_foreach(words, i, word)
    {
        fputs(i != 0 ? " " : "", out);
        html_text(out, json_is_string(word) ? json_string_value(word) : "?");
    }
    fputs("</dd></div>\n", out);
}

static void write_process(FILE *out, const json_t *page)
{
    write_program(out, page);
    write_member(out, page, "Calls", "trace/calls", HTML_COUNT);
    write_member(out, page, "Threads", "trace/threads", HTML_COUNT);
    write_member(out, page, "Recorded for", "trace/duration_ms", HTML_MS);
    write_member(out, page, "Live at most", "trace/peak_live_bytes",
                 HTML_BYTES);
    write_member(out, page, "Rounds", "rounds", HTML_COUNT);
    write_member(out, page, "Order", "order", HTML_TEXT);
}

/* ---- notes --------------------------------------------------------------- */

static void write_notes(FILE *out, const json_t *page)
{
    const struct {
        bool applies;
        const char *text;
    } notes[] = {
        {json_is_true(report_at(page, "trace/cut")),
         "The end of the trace is missing. What is there was played."},
        {json_number_value(report_at(page, "trace/lost_calls")) > 0,
         "Some calls of the program could not be recorded."},
        {json_number_value(report_at(page, "from")) > 0 ||
             json_number_value(report_at(page, "to")) < 1,
         "Only a part of the trace was measured."},
        {json_is_true(report_at(page, "interrupted")),
         "Not all rounds were played: it was interrupted."},
        {json_is_true(report_at(page, "check")),
         "Blocks were checked, so times and memory are not those of the "
         "allocator alone."},
    };
    size_t n = sizeof notes / sizeof notes[0], shown = 0;
    for (size_t i = 0; i < n; i++)
        if (notes[i].applies)
            fprintf(out, "%s<li>%s</li>\n",
                    shown++ == 0
                        ? "<aside class=\"notes\" aria-label=\"Notes\">"
                          "\n<h2>Notes</h2>\n<ul>\n"
                        : "",
                    notes[i].text);
    fputs(shown != 0 ? "</ul>\n</aside>\n" : "", out);
}

/* ---- tables -------------------------------------------------------------- */

static void write_memory(FILE *out, const json_t *page)
{
    static const struct html_column columns[] = {
        {.key = "name", .title = "Contender", .unit = HTML_TEXT},
        {.key = "medians/alloc_ns",
         .title = "Time in the allocator",
         .unit = HTML_NS},
        {.key = "medians/peak_rss_bytes",
         .title = "Peak RSS",
         .unit = HTML_BYTES},
        {.key = "medians/mean_rss_bytes",
         .title = "Mean RSS",
         .unit = HTML_BYTES},
        {.key = "medians/rss_per_live",
         .title = "RSS per live byte",
         .unit = HTML_RATIO},
        {.key = "medians/minor_faults",
         .title = "Page faults",
         .unit = HTML_COUNT},
    };
    HTML_TABLE(out, page, columns, .caption = "Time and memory",
               .of = "contenders", .class = "names");
}

static void write_times(FILE *out, const json_t *page)
{
    static const struct html_column columns[] = {
        {.key = "name", .title = "Contender", .unit = HTML_TEXT},
        {.key = "medians/malloc_p50_ns",
         .title = "malloc, half",
         .unit = HTML_NS},
        {.key = "medians/malloc_p99_ns", .title = "99 %", .unit = HTML_NS},
        {.key = "medians/malloc_p999_ns", .title = "99.9 %", .unit = HTML_NS},
        {.key = "medians/free_p50_ns", .title = "free, half", .unit = HTML_NS},
        {.key = "medians/free_p99_ns", .title = "99 %", .unit = HTML_NS},
        {.key = "medians/free_p999_ns", .title = "99.9 %", .unit = HTML_NS},
    };
    HTML_TABLE(out, page, columns,
               .caption = "Half, 99 % and 99.9 % of the calls take at most",
               .of = "contenders", .class = "names");
}

static void write_curve(FILE *out, const json_t *page)
{
    enum { FIXED = 4 };
    struct html_column columns[FIXED + COMPARE_MAX_CONTENDERS] = {
        {.key = "call", .title = "Calls", .unit = HTML_COUNT},
        {.key = "t", .title = "Time", .unit = HTML_MS},
        {.key = "live", .title = "Live", .unit = HTML_BYTES},
        {.key = "recorded", .title = "Recorded process", .unit = HTML_BYTES},
    };
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(page, "contenders"), i, one)
    {
        struct html_column *c = &columns[FIXED + i];
        snprintf(c->key, sizeof c->key, "rss/%zu", i);
        snprintf(c->title, sizeof c->title, "%s", report_text(one, "name"));
        c->unit = HTML_BYTES;
    }
    html_table(out, page,
               &(struct html_table){.caption = "Memory over the trace",
                                    .of = "curve",
                                    .column = columns,
                                    .ncolumns = FIXED + i});
}

/* The sentences about each contender. Those about one are beside each other. */
static void write_verdicts(FILE *out, const json_t *page)
{
    const json_t *verdict;
    const char *about = "";
    size_t i;
    json_array_foreach(json_object_get(page, "verdicts"), i, verdict)
    {
        const char *contender = report_text(verdict, "contender");
        if (json_is_false(json_object_get(verdict, "told")))
            continue;
        if (strcmp(contender, about) != 0) {
            fputs(about[0] != 0 ? "</ul>\n<h3>" : "<h3>", out);
            html_text(out, contender);
            fputs(" against ", out);
            html_text(out, report_text(page, "contenders/0/name"));
            fputs("</h3>\n<ul>\n", out);
            about = contender;
        }
        fputs("<li>", out);
        html_text(out, report_text(verdict, "text"));
        fputs("</li>\n", out);
    }
    fputs(about[0] != 0
              ? "</ul>\n"
              : "<p>There is one contender, so nothing to compare.</p>\n",
          out);
}

static void write_sources(FILE *out, const json_t *page)
{
    fputs("Made by hakctl " HAK_VERSION " of ", out);
    html_text(out, report_text(page, "trace/file"));
}

/* ---- the page ------------------------------------------------------------ */

bool replay_write_page(const json_t *all, const char *file)
{
    static const struct html_slot slots[] = {
        {"title", write_title}, {"process", write_process},
        {"notes", write_notes}, {"memory", write_memory},
        {"times", write_times}, {"verdicts", write_verdicts},
        {"curve", write_curve}, {"sources", write_sources},
        {"data", html_json},    {NULL, NULL}};
    static const struct html_page kind = {"replay.html", "replay.js", slots};
    return html_write_page(&kind, all, file);
}
