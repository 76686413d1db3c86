/* SPDX-License-Identifier: MIT
 * hakctl_profile_rows.c - the samples of a profile as rows of values of one
 * view.
 *
 * Values are found by the names of their types, so that files of other tools
 * work as far as they have such types. If nobody has asked for a view and the
 * file has no type of the usual one, its own default type is taken.
 */
#include "hakctl_profile.h"
#include "hakctl.h"

#include <stdlib.h>
#include <string.h>

const char *const pf_ages[PF_AGES] = {"<1ms", "<10ms", "<100ms", "<1s",
                                      "<10s", "<100s", ">=100s"};

/* ---- types of values ----------------------------------------------------- */

/* Where the values of a view are in a sample; -1: nowhere. */
struct columns {
    int bytes, objects, slot, page, freed, variance;
};

static int column(const struct pf *p, const char *type)
{
    for (uint32_t i = 0; i < p->ntypes; i++)
        if (strcmp(pf_text(p, p->type[i].type), type) == 0)
            return (int)i;
    return -1;
}

double pf_sum(const struct pf *p, const char *type)
{
    int i = column(p, type);
    double sum = 0;
    for (uint32_t k = 0; k < p->nsamples && i >= 0; k++)
        sum += (double)(int64_t)p->value[p->sample[k].first_value + (size_t)i];
    return sum;
}

static int column_or(const struct pf *p, const char *type, const char *other)
{
    int i = column(p, type);
    return i >= 0 ? i : column(p, other);
}

static int default_column(const struct pf *p)
{
    int i = p->default_type != 0 ? column(p, pf_text(p, p->default_type)) : -1;
    return i >= 0 ? i : (int)p->ntypes - 1;
}

/* "space" and "objects" are what pprof makes of tcmalloc's texts. */
static struct columns columns_of(const struct pf *p, enum pf_view view)
{
    struct columns c = {-1, -1, -1, -1, -1, -1};
    if (view == PF_PEAK) {
        c.bytes = column(p, "peak_space");
        c.objects = column(p, "peak_objects");
    } else if (view == PF_ALLOCATED) {
        c.bytes = column(p, "alloc_space");
        c.objects = column(p, "alloc_objects");
    } else if (view == PF_LIFETIMES) {
        c.bytes = c.objects = c.freed = column(p, "freed_objects");
    } else {
        c.bytes = column_or(p, "inuse_space", "space");
        c.objects = column_or(p, "inuse_objects", "objects");
        c.variance = column(p, "inuse_variance");
    }
    if (view == PF_OVERHEAD) {
        c.slot = column(p, "slot_overhead");
        c.page = column(p, "page_overhead");
        if (c.slot < 0 && c.page < 0)
            c.bytes = -1;
    }
    return c;
}

const char *pf_view_name(enum pf_view view)
{
    static const char *const names[] = {"in-use",    "peak",     "leaks",
                                        "allocated", "overhead", "lifetimes"};
    return names[view];
}

static void say_no_view(const struct pf *p, const struct pf_options *o,
                        const char *file)
{
    char list[512] = "";
    size_t n = 0;
    for (uint32_t i = 0; i < p->ntypes && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s",
                              i != 0 ? ", " : "", pf_text(p, p->type[i].type));
    ctl_say("%s: has no values for --%s%s; its types are %s", file,
            pf_view_name(o->view), o->objects ? " --objects" : "", list);
}

/* Choose the columns. Returns false, after a message: there are none. */
static bool choose(struct pf_rows *rows, const struct pf *p, const char *file,
                   struct columns *out)
{
    const struct pf_options *o = rows->options;
    *out = columns_of(p, o->view);
    int wanted = o->objects ? out->objects : out->bytes;
    if (wanted < 0 && !o->view_given && !o->objects) {
        out->bytes = default_column(p);
        const char *unit = pf_text(p, p->type[out->bytes].unit);
        if (strcmp(unit, "bytes") != 0)
            rows->objects_unit = pf_keep(unit);
        wanted = out->bytes;
    }
    if (wanted < 0)
        say_no_view(p, o, file);
    rows->has_variance = out->variance >= 0;
    return wanted >= 0;
}

/* ---- values -------------------------------------------------------------- */

double pf_main(const struct pf_options *o, const struct pf_values *v)
{
    if (o->objects)
        return v->objects;
    return o->view == PF_OVERHEAD ? v->slot + v->page : v->bytes;
}

void pf_values_add(struct pf_values *to, const struct pf_values *more)
{
    to->bytes += more->bytes;
    to->objects += more->objects;
    to->slot += more->slot;
    to->page += more->page;
    to->variance_kib2 += more->variance_kib2;
    for (size_t i = 0; i < PF_AGES; i++)
        to->freed[i] += more->freed[i];
}

static const struct pf_label *label(const struct pf *p,
                                    const struct pf_sample *s, const char *key)
{
    for (uint32_t i = 0; i < s->nlabels; i++) {
        const struct pf_label *l = &p->label[s->first_label + i];
        if (strcmp(pf_text(p, l->key), key) == 0)
            return l;
    }
    return NULL;
}

static const char *label_text(const struct pf *p, const struct pf_sample *s,
                              const char *key)
{
    const struct pf_label *l = label(p, s, key);
    return pf_keep(l != NULL ? pf_text(p, l->text) : "");
}

static struct pf_values values_of(const struct pf *p, const struct pf_sample *s,
                                  const struct columns *c, int sign)
{
    const uint64_t *at = p->value + s->first_value;
#define VALUE(i) ((i) >= 0 ? sign * (double)(int64_t)at[i] : 0)
    struct pf_values v = {.bytes = VALUE(c->bytes),
                          .objects = VALUE(c->objects),
                          .slot = VALUE(c->slot),
                          .page = VALUE(c->page)};
    if (c->variance >= 0)
        v.variance_kib2 = (double)(int64_t)at[c->variance];
    const struct pf_label *l = c->freed >= 0 ? label(p, s, "lifetime") : NULL;
    for (size_t i = 0; i < PF_AGES && l != NULL; i++)
        if (strcmp(pf_text(p, l->text), pf_ages[i]) == 0)
            v.freed[i] = VALUE(c->freed);
#undef VALUE
    return v;
}

static bool is_zero(const struct pf_values *v)
{
    return v->bytes == 0 && v->objects == 0 && v->slot == 0 && v->page == 0;
}

/* ---- rows ---------------------------------------------------------------- */

/* Does --focus match a function, a file or a library of the stack? */
static bool is_in_focus(const struct pf_options *o, const struct pf_stack *s)
{
    if (o->focus_text == NULL)
        return true;
    for (size_t i = 0; i < s->n; i++)
        if (regexec(&o->focus, s->at[i]->function, 0, NULL, 0) == 0 ||
            regexec(&o->focus, s->at[i]->file, 0, NULL, 0) == 0 ||
            regexec(&o->focus, s->at[i]->library, 0, NULL, 0) == 0)
            return true;
    return false;
}

/* Leave out the innermost functions that only pass the request on. */
static void drop_wrappers(struct pf_stack *s)
{
    size_t skip = 0;
    while (skip < s->n && pf_is_wrapper(s->at[skip]->function))
        skip++;
    if (skip == s->n)
        return;
    s->n -= skip;
    memmove(s->at, s->at + skip, s->n * sizeof(struct pf_frame *));
}

static void add_row(struct pf_rows *rows, const struct pf_row *row)
{
    const struct pf_options *o = rows->options;
    if (o->view == PF_LEAKS && pf_known_leak(&row->stack) != NULL) {
        rows->known.bytes += row->v.bytes;
        rows->known.objects += row->v.objects;
        free(row->stack.at);
        return;
    }
    pf_values_add(&rows->all, &row->v);
    if (!is_in_focus(o, &row->stack)) {
        free(row->stack.at);
        return;
    }
    pf_values_add(&rows->total, &row->v);
    rows->at = pf_grow(rows->at, rows->n, sizeof *rows->at);
    rows->at[rows->n] = *row;
    if (!o->wrappers)
        drop_wrappers(&rows->at[rows->n].stack);
    rows->n++;
}

bool pf_rows_add(struct pf_rows *rows, const struct pf *p,
                 const struct pf_names *names, const char *file, int sign)
{
    struct columns c;
    if (!choose(rows, p, file, &c))
        return false;
    for (uint32_t i = 0; i < p->nsamples; i++) {
        const struct pf_sample *s = &p->sample[i];
        const struct pf_label *slot = label(p, s, "bytes");
        struct pf_row row = {.v = values_of(p, s, &c, sign),
                             .slot_bytes = slot != NULL ? slot->number : 0};
        if (is_zero(&row.v))
            continue;
        row.thread = label_text(p, s, "thread");
        row.box = label_text(p, s, "box");
        row.stack = pf_stack_of(names, s);
        add_row(rows, &row);
    }
    return true;
}
