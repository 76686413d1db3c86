/* SPDX-License-Identifier: MIT
 * hakctl_compare_print.c - prints a comparison: a table of medians, what was
 * found, and what to think of it. As text or as Markdown.
 */
#include "hakctl_compare.h"
#include "hakctl.h"

#include <stdlib.h>

/* ---- values -------------------------------------------------------------- */

static void print_scaled(char *text, size_t bytes, double value, double step,
                         const char *const *units, size_t nunits)
{
    size_t i = 0;
    while (value >= step && i + 1 < nunits) {
        value /= step;
        i++;
    }
    snprintf(text, bytes, "%.*f %s",
             value < 10     ? 2
             : value < 1000 ? 1
                            : 0,
             value, units[i]);
}

static void print_figure(char *text, size_t bytes, double value)
{
    double size = value < 0 ? -value : value;
    if (size >= 1e4 && size < 1e8)
        snprintf(text, bytes, "%.0f", value);
    else
        snprintf(text, bytes, "%.4g", value);
}

void compare_print_value(char *text, size_t bytes, enum compare_unit unit,
                         double value)
{
    static const char *const times[] = {"ns", "us", "ms", "s"};
    static const char *const sizes[] = {"KiB", "MiB", "GiB", "TiB"};
    if (unit == COMPARE_NS)
        print_scaled(text, bytes, value, 1000, times, 4);
    else if (unit == COMPARE_US)
        print_scaled(text, bytes, value, 1000, times + 1, 3);
    else if (unit == COMPARE_KIB)
        print_scaled(text, bytes, value, 1024, sizes, 4);
    else if (unit == COMPARE_BYTES)
        print_scaled(text, bytes, value / 1024, 1024, sizes, 4);
    else
        print_figure(text, bytes, value);
}

static void print_median(char *text, size_t bytes, const struct compare *c,
                         size_t contender, size_t m)
{
    double median;
    if (compare_median(c, contender, m, &median))
        compare_print_value(text, bytes, c->measured[m].unit, median);
    else
        snprintf(text, bytes, "-");
}

/* The columns behind the name: medians, and in the first table the spread of
 * the main measure. */
enum { COLUMNS = COMPARE_MOST_MEASURES + 1, CELL = 24 };

struct table {
    const struct compare *c;
    bool apart;
    size_t n;
    size_t measure[COLUMNS]; /* of each column; nmeasures: the spread */
};

static struct table lay_out(const struct compare *c, bool apart)
{
    struct table t = {.c = c, .apart = apart};
    for (size_t m = 0; m < c->nmeasures; m++)
        if (!c->measured[m].hidden && c->measured[m].apart == apart)
            t.measure[t.n++] = m;
    if (!apart)
        t.measure[t.n++] = c->nmeasures;
    return t;
}

static const char *head_of(const struct table *t, size_t column)
{
    size_t m = t->measure[column];
    return m == t->c->nmeasures ? "spread" : t->c->measured[m].head;
}

static int width_of(const struct table *t, size_t column)
{
    return t->measure[column] == t->c->nmeasures ? 6 : 9;
}

static void fill_cell(const struct table *t, size_t contender, size_t column,
                      char cell[CELL])
{
    size_t m = t->measure[column];
    if (m != t->c->nmeasures)
        print_median(cell, CELL, t->c, contender, m);
    else if (compare_count(t->c, contender, COMPARE_DONE) != 0)
        snprintf(cell, CELL, "%.1f %%",
                 100 * compare_spread(t->c, contender, t->c->main));
    else
        snprintf(cell, CELL, "-");
}

/* ---- the table ----------------------------------------------------------- */

static int name_width(const struct compare *c)
{
    size_t width = 9;
    for (size_t i = 0; i < c->n; i++)
        if (strlen(c->at[i].name) > width)
            width = strlen(c->at[i].name);
    return width > 17 ? 17 : (int)width;
}

static void print_table(FILE *out, const struct table *t)
{
    const struct compare *c = t->c;
    int width = name_width(c);
    fprintf(out, "%-*s", width, "contender");
    for (size_t k = 0; k < t->n; k++)
        fprintf(out, "  %*s", width_of(t, k), head_of(t, k));
    fputc('\n', out);
    for (size_t i = 0; i < c->n; i++) {
        char cell[CELL];
        bool cut = strlen(c->at[i].name) > (size_t)width;
        fprintf(out, "%.*s%s%*s", cut ? width - 2 : width, c->at[i].name,
                cut ? ".." : "", cut ? 0 : width - (int)strlen(c->at[i].name),
                "");
        for (size_t k = 0; k < t->n; k++) {
            fill_cell(t, i, k, cell);
            fprintf(out, "  %*s", width_of(t, k), cell);
        }
        fputc('\n', out);
    }
}

/* A text in a cell of Markdown. */
static void print_escaped(FILE *out, const char *text)
{
    for (; *text != 0; text++) {
        if (strchr("|*_`<\\", *text) != NULL)
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void print_markdown_table(FILE *out, const struct table *t)
{
    fprintf(out, "| contender |");
    for (size_t k = 0; k < t->n; k++)
        fprintf(out, " %s |", head_of(t, k));
    fprintf(out, "\n|---|");
    for (size_t k = 0; k < t->n; k++)
        fprintf(out, "---:|");
    fputc('\n', out);
    for (size_t i = 0; i < t->c->n; i++) {
        char cell[CELL];
        fprintf(out, "| ");
        print_escaped(out, t->c->at[i].name);
        for (size_t k = 0; k < t->n; k++) {
            fill_cell(t, i, k, cell);
            fprintf(out, " | %s", cell);
        }
        fprintf(out, " |\n");
    }
}

static void print_tables(FILE *out, const struct compare *c)
{
    for (int apart = 0; apart < 2; apart++) {
        struct table t = lay_out(c, apart != 0);
        if (t.n == 0)
            continue;
        if (apart)
            fputc('\n', out);
        if (c->markdown)
            print_markdown_table(out, &t);
        else
            print_table(out, &t);
    }
}

/* ---- lines --------------------------------------------------------------- */

/* A line of what was found or of what to think of it. */
static void print_line(FILE *out, const struct compare *c, const char *text)
{
    if (!c->markdown) {
        fprintf(out, "  %s\n", text);
        return;
    }
    fprintf(out, "- ");
    print_escaped(out, text);
    fputc('\n', out);
}

static void print_verdicts(FILE *out, const struct compare *c, size_t i)
{
    char text[512];
    snprintf(text, sizeof text, "%s against %s:", c->at[i].name, c->at[0].name);
    fputc('\n', out);
    if (c->markdown)
        print_escaped(out, text);
    else
        fputs(text, out);
    fputs(c->markdown ? "\n\n" : "\n", out);
    compare_verdict(c, i, c->main, text, sizeof text);
    print_line(out, c, text);
    for (size_t m = 0; m < c->nmeasures; m++) {
        if (m == c->main || c->measured[m].hidden || c->measured[m].untold)
            continue;
        compare_verdict(c, i, m, text, sizeof text);
        print_line(out, c, text);
    }
}

static void print_outliers(FILE *out, const struct compare *c, size_t i)
{
    char text[256], value[CELL];
    size_t used = 0, n = 0;
    size_t m = c->main;
    text[0] = 0;
    for (size_t round = 0; round < c->rounds; round++) {
        if (!compare_is_outlier(c, i, m, round))
            continue;
        compare_print_value(value, sizeof value, c->measured[m].unit,
                            c->at[i].runs[round].value[m]);
        if (n++ < 3)
            used += (size_t)snprintf(text + used, sizeof text - used,
                                     "%sround %zu (%s)", n > 1 ? ", " : "",
                                     round + 1, value);
    }
    if (n == 0)
        return;
    char line[512];
    snprintf(line, sizeof line, "%s: %zu outlier%s in %s: %s%s", c->at[i].name,
             n, n == 1 ? "" : "s", c->measured[m].name, text,
             n > 3 ? ", ..." : "");
    print_line(out, c, line);
}

static void print_failures(FILE *out, const struct compare *c, size_t i)
{
    char line[512];
    size_t n = compare_count(c, i, COMPARE_FAILED), round = 0;
    if (n == 0)
        return;
    while (c->at[i].runs[round].state != COMPARE_FAILED)
        round++;
    snprintf(line, sizeof line, "%s: %zu run%s failed; round %zu: %s",
             c->at[i].name, n, n == 1 ? "" : "s", round + 1,
             c->at[i].runs[round].why);
    print_line(out, c, line);
}

/* Above this share of its median, the spread of the base says that the machine
 * or the program is noisy. */
static const double noisy = 0.05;

static void print_noise(FILE *out, const struct compare *c)
{
    char line[256];
    size_t m = c->main;
    double spread = compare_spread(c, 0, m);
    if (spread <= noisy)
        return;
    snprintf(line, sizeof line,
             "Noisy: the middle half of the runs of %s spans %.1f %% of the "
             "%s.",
             c->at[0].name, 100 * spread, c->measured[m].name);
    print_line(out, c, line);
    print_line(out, c,
               "Close other programs, pin this one by taskset, or raise "
               "--rounds.");
}

static void print_notes(FILE *out, const struct compare *c)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *notes = open_memstream(&text, &bytes);
    if (notes == NULL)
        ctl_die("no memory");
    for (size_t i = 0; i < c->n; i++) {
        print_outliers(notes, c, i);
        print_failures(notes, c, i);
    }
    print_noise(notes, c);
    fclose(notes);
    if (bytes != 0)
        fprintf(out, "\nNotes:\n%s%s", c->markdown ? "\n" : "", text);
    free(text);
}

/* ---- all of it ----------------------------------------------------------- */

/* A command line as a line, cut to 80 characters. */
static void print_command(FILE *out, const struct compare *c,
                          const char *before, const char *text)
{
    size_t n = strlen(text), width = 78 - strlen(before);
    bool cut = n > width;
    fprintf(out, "%s%s", before, c->markdown ? "`" : "");
    for (size_t i = 0; i < (cut ? width - 3 : n); i++)
        fputc((unsigned char)text[i] < ' ' ? ' ' : text[i], out);
    fprintf(out, "%s%s", cut ? "..." : "", c->markdown ? "`\n\n" : "\n");
}

static void print_title(FILE *out, const struct compare *c)
{
    size_t done = 0;
    for (size_t i = 0; i < c->n; i++)
        if (compare_count(c, i, COMPARE_DONE) > done)
            done = compare_count(c, i, COMPARE_DONE);
    print_command(out, c, "", c->title);
    if (c->load != NULL)
        print_command(out, c, "under ", c->load);
    fprintf(out, "%zu round%s", done, done == 1 ? "" : "s");
    if (c->warmup != 0 || c->context == NULL)
        fprintf(out, " after %zu of warm-up", c->warmup);
    fprintf(out, ", medians, base %s%s\n\n", c->at[0].name,
            c->interrupted     ? "; interrupted"
            : done < c->rounds ? "; not all were run"
                               : "");
}

void compare_print(FILE *out, const struct compare *c)
{
    print_title(out, c);
    print_tables(out, c);
    for (size_t i = 1; i < c->n; i++)
        print_verdicts(out, c, i);
    print_notes(out, c);
}
