/* SPDX-License-Identifier: MIT
 * hakctl_report.h - hakctl report: a page of HTML about the memory of a
 * program.
 *
 * The page is made in three steps, each with files of its own:
 *
 *     hakctl_report_read.c     files -> struct report
 *     hakctl_report_model.c    struct report -> the figures of the page, as
 *                              JSON: the process, memory over time
 *     hakctl_report_gap.c      the same: what memory is held for
 *     hakctl_report_classes.c  the same: size classes over time
 *     hakctl_report_sites.c    the same: call sites and the flame graph
 *     hakctl_report_advice.c   the same: keys of the INI that would help
 *     hakctl_report_rules.c    which ones
 *     hakctl_report_parts.c    figures -> HTML: the upper half of the page
 *     hakctl_report_charts.c   the same: the lower half
 *     hakctl_report_tables.c   tables
 *     hakctl_report_html.c     HTML's characters, and the frame of a page, also
 * of hakctl replay --page
 *
 * The page holds its figures as JSON too. All that it shows, the tables and
 * what its script draws, comes from there, so that they agree. docs/report.md
 * describes the page.
 */
#ifndef HAKMEM_HAKCTL_REPORT_H
#define HAKMEM_HAKCTL_REPORT_H

#include <jansson.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* More boxes than a process can have. Figures of others are left out, so that
 * no file can make a sum overflow. */
enum { REPORT_BOXES = 64 };

/* What was read about one or several processes. Zero at first. */
struct report {
    json_t *timelines; /* {"pid", "header", "points", "events",
                          "ended_ms" if it has ended} */
    json_t *profiles;  /* {"pid", "comments", "views"}: what hakctl profile
                          --json  printed for each of four views */
    json_t *stats;     /* reports of [stats] format = json */
    json_t *sources;   /* names of the files */
    json_t *notes;     /* sentences: what the page lacks, and how to get it */
    pid_t pid;         /* the process that the page is about; 0: that of the
                          first file */
};

/* ---- hakctl_report.c ----------------------------------------------------- */

/* Make the page of what was read. Returns false, after a message. */
bool report_make(struct report *r, const char *file);

/* ---- hakctl_report_read.c ------------------------------------------------ */

void report_start(struct report *r);
void report_end(struct report *r);

/*
 * report_read - read a timeline, a heap profile or reports in JSON.
 * Returns  false, after a message: the file cannot be read, is damaged, or is
 *          none of these
 */
bool report_read(struct report *r, const char *file);

/* Add a sentence to the notes. */
void report_note(struct report *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Say that n other processes left files too. */
void report_note_others(struct report *r, size_t n);

/* A number of a JSON object that is a count of something: 0 to 2^53. 0: there
 * is no such member. */
int64_t report_count(const json_t *object, const char *key);
/* The same; -1: there is no such member, so the figure is not known. */
int64_t report_known(const json_t *object, const char *key);
/* A count as JSON; null for -1. */
json_t *report_number(int64_t n);

/* ---- hakctl_report_model.c and others ------------------------------------ */

/*
 * report_figures - all that the page shows. docs/report.md lists the members.
 * Returns  the figures, the caller's; NULL, after a message: there are none of
 *          that process
 */
json_t *report_figures(struct report *r);

/* What hakctl_report_model.c hands on to the makers of the other members. */
struct report_process {
    const json_t *boxes;   /* names */
    const json_t *points;  /* in order of time; one at least */
    const json_t *profile; /* NULL: none */
    const json_t *stats;   /* NULL: none */
};

/* ---- hakctl_report_gap.c ------------------------------------------------- */

/* The sum of a figure over the boxes of a point. */
int64_t report_sum(const json_t *point, const char *key);
/* The highest RSS and live bytes in the span of a point; -1: not known. */
int64_t report_most_rss(const json_t *point);
int64_t report_most_live(const json_t *point);
/* The number of the point with the highest value, the first of several. */
size_t report_peak(const json_t *points, int64_t (*most)(const json_t *));
/* The number of the point with most RSS that can be divided. */
size_t report_peak_point(const json_t *points);
/* Was it measured how much of the window is in memory? */
bool report_is_measured(const json_t *points);

/* A share in percent with one decimal; null without a whole. */
json_t *report_share(int64_t part, int64_t whole);

/* Memory divided by causes: at the peak of RSS and at the end, and the mean of
 * each cause. rounding: bytes at the end, -1 = not known. */
json_t *report_moments(const json_t *points, int64_t rounding);
json_t *report_means(const json_t *points);

/* ---- hakctl_report_classes.c, _sites.c, _advice.c ------------------------ */

json_t *report_heat(const struct report_process *p);
json_t *report_sites(const json_t *profile);
json_t *report_advice(const struct report_process *p, const json_t *page);

/* ---- hakctl_report_html.c ------------------------------------------------ */

/* Write text, which may come from anywhere, as text of HTML or as the value of
 * an attribute in double quotes. */
void html_text(FILE *out, const char *text);

/* Write JSON so that it can stand in <script type="application/json">. */
void html_json(FILE *out, const json_t *value);

enum html_unit {
    HTML_TEXT,
    HTML_COUNT,
    HTML_BYTES,
    HTML_NS,
    HTML_MS,
    HTML_PERCENT,
    HTML_RATIO
};

/* Write a figure as people read it, in <data> with its exact value. A figure
 * that is not known is a dash. */
void html_figure(FILE *out, const json_t *value, enum html_unit unit);
/* The same as plain text. */
void html_figure_text(char *out, size_t bytes, const json_t *value,
                      enum html_unit unit);

/* What fills the slot {{NAME}} of a frame. */
struct html_slot {
    const char *name; /* NULL: the end of the list */
    void (*write)(FILE *out, const json_t *page);
};

/* A kind of page: files of tools/report/, and its slots. */
struct html_page {
    const char *frame, *script;
    const struct html_slot *slots;
};

/*
 * html_write_page - write a page.
 * file     is replaced as a whole, or left as it is
 * Returns  false, after a message
 */
bool html_write_page(const struct html_page *kind, const json_t *page,
                     const char *file);

/* Can a page be written there? Returns false, after a message. */
bool report_can_write(const char *file);

/* ---- hakctl_report_tables.c ---------------------------------------------- */

/* The value at a path such as "moments/0/parts". NULL: there is none. */
const json_t *report_at(const json_t *value, const char *path);
/* The text at a path; "": there is none. */
const char *report_text(const json_t *value, const char *path);

struct html_column {
    char key[40]; /* a path in the row */
    char title[80];
    enum html_unit unit;
    /* Writes something in front of the cell's text; may be NULL. */
    void (*before)(FILE *out, const json_t *row);
    /* Writes the attributes of the cell; may be NULL. */
    void (*mark)(FILE *out, const json_t *page, const json_t *cell);
};

struct html_table {
    const char *caption, *of; /* of: the path of the rows */
    const char *class;        /* NULL = none */
    const struct html_column *column;
    size_t ncolumns;
};

/*
 * html_table - write a table.
 *
 * A table names the array that it shows, and each column the member: data-of
 * and data-key have them. tests/report/ compares each cell with the JSON.
 */
void html_table(FILE *out, const json_t *page, const struct html_table *t);
#define HTML_TABLE(out, page, columns, ...)                                   \
    html_table(                                                               \
        out, page,                                                            \
        &(struct html_table){.column = (columns),                             \
                             .ncolumns = sizeof(columns) / sizeof *(columns), \
                             __VA_ARGS__})

/* ---- hakctl_report_parts.c, hakctl_report_charts.c ----------------------- */

/* Fill the slot {{NAME}} of report.html. */
void report_write_title(FILE *out, const json_t *page);
void report_write_process(FILE *out, const json_t *page);
void report_write_summary(FILE *out, const json_t *page);
void report_write_notes(FILE *out, const json_t *page);
void report_write_moments(FILE *out, const json_t *page);
void report_write_advice(FILE *out, const json_t *page);
void report_write_sources(FILE *out, const json_t *page);
void report_write_time(FILE *out, const json_t *page);
void report_write_events(FILE *out, const json_t *page);
void report_write_heat(FILE *out, const json_t *page);
void report_write_sites(FILE *out, const json_t *page);
void report_write_tree(FILE *out, const json_t *page);

#endif
