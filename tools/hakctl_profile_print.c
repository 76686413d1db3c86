/* SPDX-License-Identifier: MIT
 * hakctl_profile_print.c - header, totals and lists of a profile as text.
 */
#include "hakctl_profile.h"
#include "hakctl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- header -------------------------------------------------------------- */

static const char *reason_text(const char *reason)
{
    static const char *const texts[][2] = {
        {"exit", ", written at its exit"},
        {"signal", ", written at a signal"},
        {"growth", ", written after growth"},
        {"peak", ", written at a new peak"},
        {"control", ", written when hakctl asked"},
    };
    for (size_t i = 0; reason != NULL && i < sizeof texts / sizeof *texts; i++)
        if (strcmp(reason, texts[i][0]) == 0)
            return texts[i][1];
    return "";
}

static double number_of(const struct pf *p, const char *key)
{
    const char *text = pf_comment(p, key);
    return text != NULL ? strtod(text, NULL) : 0;
}

static void print_origin(const struct pf *p, const char *file)
{
    char every[32], peak[32];
    const char *program = pf_comment(p, "program");
    const char *pid = pf_comment(p, "pid");
    if (program == NULL) {
        printf("%s, of another tool than hakmem\n", file);
        return;
    }
    pf_frame_program(program);
    printf("%s%s%s%s\n", program, pid != NULL ? ", pid " : "",
           pid != NULL ? pid : "", reason_text(pf_comment(p, "reason")));
    printf("one sample every %s on average, %.0f samples, %.1f s",
           pf_bytes_long(every, number_of(p, "every")), number_of(p, "samples"),
           (double)p->duration_ns / 1e9);
    double at_ms = number_of(p, "peak_time_ms") - number_of(p, "started_ms");
    if (number_of(p, "peak") > 0)
        printf("; peak of %s after %.1f s",
               pf_bytes_long(peak, number_of(p, "peak")), at_ms / 1e3);
    putchar('\n');
    if (number_of(p, "lost_blocks") > 0 || number_of(p, "lost_stacks") > 0)
        printf("%.0f blocks and %.0f stacks had no room: the figures are too "
               "small, and a larger `most` of [heap_profile] mends that\n",
               number_of(p, "lost_blocks"), number_of(p, "lost_stacks"));
}

static const char *const headings[] = {"in use",
                                       "in use at the peak",
                                       "in use at exit",
                                       "allocated since the start",
                                       "held besides what was asked for",
                                       "freed"};

/* A total in words, with its confidence. */
static void print_amount(const struct pf_rows *rows, const struct pf_values *v)
{
    const struct pf_options *o = rows->options;
    char amount[32], error[32];
    if (o->objects || o->view == PF_LIFETIMES)
        printf("%.0f blocks", pf_main(o, v));
    else if (rows->objects_unit != NULL)
        printf("%.0f %s", pf_main(o, v), rows->objects_unit);
    else
        printf("%s", pf_bytes_long(amount, pf_main(o, v)));
    if (pf_has_confidence(rows) && v->variance_kib2 > 0)
        printf(" +- %s", pf_bytes_long(error, pf_confidence(v)));
    if (!o->objects && v->objects != 0 && o->view != PF_LIFETIMES)
        printf(" in %.0f blocks", v->objects);
}

static void print_overhead(const struct pf_values *v)
{
    char slot[32], page[32], asked[32];
    printf(": %s in their slots, %s in pages that they keep; asked for %s",
           pf_bytes_long(slot, v->slot), pf_bytes_long(page, v->page),
           pf_bytes_long(asked, v->bytes));
}

static struct pf_values minus(const struct pf_values *a,
                              const struct pf_values *b)
{
    return (struct pf_values){.bytes = a->bytes - b->bytes,
                              .objects = a->objects - b->objects,
                              .slot = a->slot - b->slot,
                              .page = a->page - b->page};
}

/* "2 MiB +- 1 MiB more than in OTHER: 12 MiB, was 10 MiB" */
static void print_change(const struct pf_rows *rows)
{
    const struct pf_options *o = rows->options;
    const struct pf_values none = {0};
    struct pf_values change = rows->total;
    bool less = pf_main(o, &change) < 0;
    if (less) {
        change = minus(&none, &rows->total);
        change.variance_kib2 = rows->total.variance_kib2;
    }
    change.objects = o->objects ? change.objects : 0;
    print_amount(rows, &change);
    printf(" %s than in %s: ", less ? "less" : "more", o->other);
    print_amount(rows, &rows->first);
    printf(", was ");
    struct pf_values was = minus(&rows->first, &rows->total);
    was.variance_kib2 = rows->total.variance_kib2 - rows->first.variance_kib2;
    print_amount(rows, &was);
}

static void print_totals(const struct pf_rows *rows, const struct pf *p)
{
    const struct pf_options *o = rows->options;
    printf("%s: ", headings[o->view]);
    if (o->other != NULL)
        print_change(rows);
    else
        print_amount(rows, &rows->total);
    if (o->view == PF_OVERHEAD && !o->objects && o->other == NULL)
        print_overhead(&rows->total);
    putchar('\n');
    if (o->focus_text != NULL) {
        printf("only stacks that match \"%s\"; all stacks: ", o->focus_text);
        print_amount(rows, &rows->all);
        putchar('\n');
    }
    char known[32];
    if (o->view == PF_PEAK && !o->view_given && o->other == NULL)
        printf("in use at exit: %s in %.0f blocks (--leaks)\n",
               pf_bytes_long(known, pf_sum(p, "inuse_space")),
               pf_sum(p, "inuse_objects"));
    if (o->view == PF_LEAKS)
        printf("left out: %s in %.0f blocks that libc, libstdc++ and the "
               "loader ask for once\n",
               pf_bytes_long(known, rows->known.bytes), rows->known.objects);
}

static void print_ages(const struct pf_rows *rows)
{
    const struct pf_values *v = &rows->total;
    static const char bar[] = "########################################";
    printf("\n%-10s %12s %7s\n", "LIFETIME", "BLOCKS", "%");
    for (size_t i = 0; i < PF_AGES; i++) {
        char share[32];
        int n = v->objects > 0 ? (int)(v->freed[i] * 40 / v->objects) : 0;
        printf("%-10s %12.0f %7s  %.*s\n", pf_ages[i], v->freed[i],
               pf_share(share, rows, v->freed[i]), n < 0 || n > 40 ? 0 : n,
               bar);
    }
}

void pf_print_header(const struct pf_rows *rows, const struct pf *p)
{
    print_origin(p, rows->options->file);
    print_totals(rows, p);
    if (rows->n == 0)
        puts(rows->options->view == PF_LEAKS ? "nothing else is left"
                                             : "no sample has such a value");
    else if (rows->options->view == PF_LIFETIMES)
        print_ages(rows);
}

/* ---- lists --------------------------------------------------------------- */

static size_t print_ages_head(const char *name)
{
    return (size_t)printf("%9s %5s %5s %5s %5s %5s %5s %5s  %s\n", "FREED",
                          "<1ms", "<10ms", "<.1s", "<1s", "<10s", "<100s",
                          "more", name) -
           strlen(name) - 1;
}

static void print_ages_of(const struct pf_values *v)
{
    printf("%9.0f", v->objects);
    for (size_t i = 0; i < PF_AGES; i++)
        printf(" %4.0f%%",
               v->objects != 0 ? 100 * v->freed[i] / v->objects : 0);
}

static size_t print_group_head(const struct pf_rows *rows,
                               const struct pf_groups *g)
{
    static const char *const names[] = {"STACK", "FUNCTION", "THREAD", "BOX",
                                        "LIBRARY"};
    bool nested = g->by == PF_FUNCTION || g->by == PF_LIBRARY;
    const char *percent = rows->options->other != NULL ? "" : "%";
    int n = 0;
    if (rows->options->view == PF_LIFETIMES)
        return print_ages_head(names[g->by]);
    if (rows->options->view == PF_OVERHEAD && !rows->options->objects)
        n = printf("%9s %6s %9s %9s %9s", "HELD", percent, "SLOTS", "PAGES",
                   "ASKED");
    else
        n = printf("%9s %6s", nested ? "SELF" : "ALL", percent);
    if (pf_has_confidence(rows))
        n += printf(" %8s", "+-");
    if (nested)
        n += printf(" %9s %6s", "CUMUL", percent);
    printf("  %s\n", names[g->by]);
    return (size_t)n + 2;
}

static void print_values(const struct pf_rows *rows, const struct pf_values *v)
{
    const struct pf_options *o = rows->options;
    char value[32], share[32], slot[32], page[32], asked[32], error[32];
    bool sign = o->other != NULL;
    if (o->view == PF_LIFETIMES) {
        print_ages_of(v);
        return;
    }
    printf("%9s %6s", pf_value(value, rows, pf_main(o, v)),
           pf_share(share, rows, pf_main(o, v)));
    if (o->view == PF_OVERHEAD && !o->objects)
        printf(" %9s %9s %9s", pf_bytes(slot, v->slot, sign),
               pf_bytes(page, v->page, sign), pf_bytes(asked, v->bytes, sign));
    if (pf_has_confidence(rows))
        printf(" %8s", v->variance_kib2 > 0
                           ? pf_bytes(error, pf_confidence(v), false)
                           : "");
}

static void print_group(const struct pf_rows *rows, const struct pf_groups *g,
                        const struct pf_group *group, size_t used)
{
    char value[32], share[32];
    double cum = pf_main(rows->options, &group->cum);
    print_values(rows, &group->self);
    if ((g->by == PF_FUNCTION || g->by == PF_LIBRARY) &&
        rows->options->view != PF_LIFETIMES)
        printf(" %9s %6s", pf_value(value, rows, cum),
               pf_share(share, rows, cum));
    printf("  ");
    const struct pf_frame f = {.function = group->name[0] ? group->name : "-",
                               .file = "",
                               .library = group->library};
    char *text = pf_frame_text(&f);
    pf_print_rest(used, text);
    free(text);
}

static bool is_shown(const struct pf_rows *rows, const struct pf_group *g)
{
    return pf_main(rows->options, &g->self) != 0;
}

void pf_print_groups(const struct pf_rows *rows, const struct pf_groups *g,
                     size_t top)
{
    size_t shown = 0, left = 0;
    size_t used = print_group_head(rows, g);
    for (size_t i = 0; i < g->n; i++) {
        if (!is_shown(rows, &g->at[i]))
            continue;
        if (top == 0 || shown < top)
            print_group(rows, g, &g->at[i], used);
        else
            left++;
        shown++;
    }
    if (left != 0)
        printf("%*s  ... and %zu more (--top 0 shows all)\n", 16, "", left);
}

void pf_print_stacks(const struct pf_rows *rows, const struct pf_groups *g,
                     size_t top)
{
    size_t left = 0;
    size_t used = print_group_head(rows, g);
    for (size_t i = 0; i < g->n; i++) {
        const struct pf_group *group = &g->at[i];
        if (!is_shown(rows, group))
            continue;
        if (top != 0 && i >= top) {
            left++;
            continue;
        }
        print_values(rows, &group->self);
        for (size_t k = 0; k < group->row->stack.n; k++) {
            char *text = pf_frame_text(group->row->stack.at[k]);
            printf("%*s", k == 0 ? 2 : (int)used, "");
            pf_print_rest(used, text);
            free(text);
        }
        putchar('\n');
    }
    if (left != 0)
        printf("... and %zu more stacks (--top 0 shows all)\n", left);
}

/* ---- collapsed stacks ---------------------------------------------------- */

static void print_plain(FILE *out, const char *name)
{
    for (; *name != 0; name++)
        fputc(*name == ';' || *name == '\n' ? ':' : *name, out);
}

/* The value of a line is whole and not 0, and each stack has one line. */
void pf_print_collapsed(const struct pf_rows *rows)
{
    struct pf_set set = {0};
    double *value = calloc(rows->n + 1, sizeof *value); /* by number of set */
    for (size_t i = 0; i < rows->n; i++) {
        const struct pf_stack *s = &rows->at[i].stack;
        char *text = NULL;
        size_t bytes = 0;
        FILE *out = open_memstream(&text, &bytes);
        if (out == NULL || value == NULL)
            ctl_die("no memory for the profile");
        for (size_t k = s->n; k-- > 0;) {
            print_plain(out, s->at[k]->function);
            fputc(k != 0 ? ';' : 0, out);
        }
        if (fclose(out) != 0)
            ctl_die("no memory for the profile");
        uint32_t at = pf_set_add(&set, text, bytes);
        free(text);
        value[at] += pf_main(rows->options, &rows->at[i].v);
    }
    for (uint32_t i = 0; i < set.n && value != NULL; i++)
        if (value[i] >= 0.5)
            printf("%s %.0f\n", (const char *)set.entry[i].bytes, value[i]);
    free(value);
}
