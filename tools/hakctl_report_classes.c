/* SPDX-License-Identifier: MIT
 * hakctl_report_classes.c - the heat map of the page: for each size class, how
 * many bytes of its pages are free, over time.
 *
 * A timeline tells the classes at some of its points only, as arrays [slot
 * bytes, live, live bytes, mapped bytes, cached bytes, ...].
 */
#include "hakctl_report.h"
#include "hakctl.h"

enum { COLUMNS_MOST = 10, ROWS_MOST = 24 };
enum { SLOT_BYTES, LIVE, LIVE_BYTES, MAPPED_BYTES, CACHED_BYTES };

static int64_t item(const json_t *class, size_t i)
{
    double n = json_number_value(json_array_get(class, i));
    return n > 0 && n < 9e15 ? (int64_t)n : 0;
}

static int64_t free_bytes(const json_t *class)
{
    int64_t n = item(class, MAPPED_BYTES) - item(class, CACHED_BYTES) -
                item(class, LIVE_BYTES);
    return n > 0 ? n : 0;
}

/* ---- columns: the points to show ----------------------------------------- */

static const json_t *classes_of(const json_t *point, size_t box)
{
    const json_t *boxes = json_object_get(point, "boxes");
    return json_object_get(json_array_get(boxes, box), "classes");
}

static bool has_classes(const json_t *point)
{
    for (size_t i = 0; i < REPORT_BOXES; i++)
        if (json_array_size(classes_of(point, i)) != 0)
            return true;
    return false;
}

/* Choose points that have classes, evenly, with the last of them. Returns how
 * many. */
static size_t choose_columns(const json_t *points,
                             const json_t *out[COLUMNS_MOST])
{
    size_t have = 0, seen = 0, n = 0, i;
    const json_t *point;
    json_array_foreach(points, i, point)
    {
        have += has_classes(point);
    }

    json_array_foreach(points, i, point)
    {
        if (!has_classes(point))
            continue;
        seen++;
        if (have <= COLUMNS_MOST || seen * COLUMNS_MOST / have > n)
            out[n++] = point;
    }
    return n;
}

/* ---- rows: the classes --------------------------------------------------- */

struct row {
    size_t box;
    int64_t slot_bytes;
    int64_t most; /* free bytes in the worst column */
};

struct rows {
    struct row *at;
    size_t n;
};

static const json_t *find_class(const json_t *point, size_t box, int64_t slot)
{
    size_t i;
    const json_t *c;
    json_array_foreach(classes_of(point, box), i, c)
    {
        if (item(c, SLOT_BYTES) == slot)
            return c;
    }

    return NULL;
}

static struct row *row_of(struct rows *rows, size_t box, int64_t slot)
{
    for (size_t i = 0; i < rows->n; i++)
        if (rows->at[i].box == box && rows->at[i].slot_bytes == slot)
            return &rows->at[i];
    rows->at = reallocarray(rows->at, rows->n + 1, sizeof *rows->at);
    if (rows->at == NULL)
        ctl_die("no memory");
    rows->at[rows->n] = (struct row){box, slot, 0};
    return &rows->at[rows->n++];
}

static void add_rows(struct rows *rows, const json_t *point, size_t box)
{
    size_t i;
    const json_t *c;
    json_array_foreach(classes_of(point, box), i, c)
    {
        struct row *row = row_of(rows, box, item(c, SLOT_BYTES));
        if (free_bytes(c) > row->most)
            row->most = free_bytes(c);
    }
}

static int by_most(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return (x->most < y->most) - (x->most > y->most);
}

static int by_place(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->box != y->box)
        return x->box < y->box ? -1 : 1;
    return (x->slot_bytes > y->slot_bytes) - (x->slot_bytes < y->slot_bytes);
}

/* ---- JSON ---------------------------------------------------------------- */

static json_t *row_json(const struct row *row, const json_t *boxes,
                        const json_t *const *column, size_t ncolumns)
{
    json_t *cells = json_array();
    for (size_t i = 0; i < ncolumns; i++)
        json_array_append_new(
            cells, json_integer(free_bytes(
                       find_class(column[i], row->box, row->slot_bytes))));
    const json_t *last =
        find_class(column[ncolumns - 1], row->box, row->slot_bytes);
    int64_t live = item(last, LIVE_BYTES), vacant = free_bytes(last);
    json_t *share = report_share(vacant, live + vacant);
    return json_pack("{s:O, s:I, s:o, s:I, s:o}", "box",
                     json_array_get(boxes, row->box), "slot",
                     (json_int_t)row->slot_bytes, "cells", cells, "live",
                     (json_int_t)live, "share", share);
}

struct totals {
    size_t left;  /* classes that have no row */
    int64_t most; /* free bytes in the worst cell */
};

/* The rows of the classes with most free bytes, by box and size. */
static json_t *rows_json(const struct report_process *p,
                         const json_t *const *column, size_t ncolumns,
                         struct totals *totals)
{
    struct rows rows = {NULL, 0};
    json_t *out = json_array();
    for (size_t i = 0; i < ncolumns; i++)
        for (size_t box = 0; box < REPORT_BOXES; box++)
            add_rows(&rows, column[i], box);
    if (rows.n != 0)
        qsort(rows.at, rows.n, sizeof *rows.at, by_most);
    size_t n = rows.n < ROWS_MOST ? rows.n : ROWS_MOST;
    *totals = (struct totals){rows.n - n, n != 0 ? rows.at[0].most : 0};
    if (n != 0)
        qsort(rows.at, n, sizeof *rows.at, by_place);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            out, row_json(&rows.at[i], p->boxes, column, ncolumns));
    free(rows.at);
    return out;
}

json_t *report_heat(const struct report_process *p)
{
    const json_t *column[COLUMNS_MOST];
    struct totals totals = {0, 0};
    size_t n = choose_columns(p->points, column);
    json_t *times = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(times,
                              json_integer(report_count(column[i], "t")));
    json_t *rows = n != 0 ? rows_json(p, column, n, &totals) : json_array();
    return json_pack("{s:o, s:o, s:I, s:I}", "times", times, "rows", rows,
                     "left", (json_int_t)totals.left, "most",
                     (json_int_t)totals.most);
}
