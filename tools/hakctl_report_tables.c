/* SPDX-License-Identifier: MIT
 * hakctl_report_tables.c - tables of the page, from the arrays of its figures.
 */
#include "hakctl_report.h"
#include "hakctl.h"

/* ---- JSON by path -------------------------------------------------------- */

/* The value at a path such as "moments/0/parts". NULL: there is none. */
const json_t *report_at(const json_t *value, const char *path)
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

const char *report_text(const json_t *value, const char *path)
{
    const char *text = json_string_value(report_at(value, path));
    return text != NULL ? text : "";
}

/* ---- tables -------------------------------------------------------------- */

static void write_cell(FILE *out, const json_t *page,
                       const struct html_table *t, const json_t *row, size_t i)
{
    const struct html_column *c = &t->column[i];
    const json_t *value = report_at(row, c->key);
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
void html_table(FILE *out, const json_t *page, const struct html_table *t)
{
    const json_t *rows = report_at(page, t->of), *row;
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
