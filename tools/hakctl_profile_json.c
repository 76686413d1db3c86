/* SPDX-License-Identifier: MIT
 * hakctl_profile_json.c - a profile as one JSON object; docs/heap-profile.md
 * lists its members.
 */
#include "hakctl_profile.h"
#include "hakctl.h"
#include "hakctl_control.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void set_text(json_t *to, const char *key, const char *text)
{
    if (text[0] != 0)
        json_object_set_new(to, key, ctl_json_string(text));
}

static void set_number(json_t *to, const char *key, double value)
{
    json_object_set_new(to, key, json_integer((json_int_t)llround(value)));
}

/* Add the values of the view. */
static void set_values(json_t *to, const struct pf_rows *rows,
                       const struct pf_values *v)
{
    const struct pf_options *o = rows->options;
    if (o->view == PF_LIFETIMES) {
        json_t *ages = json_object();
        for (size_t i = 0; i < PF_AGES; i++)
            set_number(ages, pf_ages[i], v->freed[i]);
        set_number(to, "freed", v->objects);
        json_object_set_new(to, "lifetimes", ages);
        return;
    }
    set_number(to, rows->objects_unit != NULL ? "value" : "bytes", v->bytes);
    set_number(to, "objects", v->objects);
    if (o->view == PF_OVERHEAD) {
        set_number(to, "slot_overhead_bytes", v->slot);
        set_number(to, "page_overhead_bytes", v->page);
    }
    if (rows->has_variance)
        set_number(to, "confidence_95_bytes", pf_confidence(v));
}

static json_t *values_of(const struct pf_rows *rows, const struct pf_values *v)
{
    json_t *out = json_object();
    set_values(out, rows, v);
    return out;
}

static json_t *group_json(const struct pf_rows *rows, const struct pf_groups *g,
                          const struct pf_group *group)
{
    static const char *const names[] = {"stack", "function", "thread", "box",
                                        "library"};
    json_t *out = json_object();
    json_object_set_new(out, names[g->by], ctl_json_string(group->name));
    set_text(out, "library", group->library);
    json_object_set_new(out, "self", values_of(rows, &group->self));
    if (g->by == PF_FUNCTION || g->by == PF_LIBRARY)
        json_object_set_new(out, "cumulative", values_of(rows, &group->cum));
    return out;
}

static json_t *frames_json(const struct pf_stack *s)
{
    json_t *out = json_array();
    for (size_t i = 0; i < s->n; i++) {
        json_t *f = json_object();
        json_object_set_new(f, "function", ctl_json_string(s->at[i]->function));
        set_text(f, "file", s->at[i]->file);
        if (s->at[i]->line != 0)
            set_number(f, "line", (double)s->at[i]->line);
        set_text(f, "library", s->at[i]->library);
        json_array_append_new(out, f);
    }
    return out;
}

static json_t *row_json(const struct pf_rows *rows, const struct pf_row *row)
{
    json_t *out = values_of(rows, &row->v);
    set_text(out, "thread", row->thread);
    set_text(out, "box", row->box);
    if (row->slot_bytes != 0)
        json_object_set_new(out, "slot_bytes", json_integer(row->slot_bytes));
    json_object_set_new(out, "frames", frames_json(&row->stack));
    return out;
}

/* The comments KEY=VALUE of the file; those that are numbers as numbers. */
static json_t *comments_json(const struct pf *p)
{
    json_t *out = json_object();
    for (uint32_t i = 0; i < p->ncomments; i++) {
        const char *text = pf_text(p, (uint32_t)p->comment[i]);
        const char *equals = strchr(text, '=');
        if (equals == NULL || equals == text)
            continue;
        char *key = strndup(text, (size_t)(equals - text)), *end;
        double number = strtod(equals + 1, &end);
        json_t *value = end != equals + 1 && *end == 0 && isfinite(number)
                            ? json_integer((json_int_t)number)
                            : ctl_json_string(equals + 1);
        /* A key that is no UTF-8 is left out. */
        json_object_set_new(out, key, value);
        free(key);
    }
    return out;
}

/* What the file and the view are. */
static json_t *head_json(const struct pf_rows *rows, const struct pf *p)
{
    const struct pf_options *o = rows->options;
    json_t *out = json_object();
    json_object_set_new(out, "file", ctl_json_string(o->file));
    if (o->other != NULL)
        json_object_set_new(out, "compared_with", ctl_json_string(o->other));
    json_object_set_new(out, "view", ctl_json_string(pf_view_name(o->view)));
    json_object_set_new(out, "profile", comments_json(p));
    json_object_set_new(out, "duration_ns",
                        json_integer((json_int_t)p->duration_ns));
    json_object_set_new(out, "total", values_of(rows, &rows->total));
    if (o->focus_text != NULL) {
        json_object_set_new(out, "focus", ctl_json_string(o->focus_text));
        json_object_set_new(out, "total_without_focus",
                            values_of(rows, &rows->all));
    }
    if (o->view == PF_LEAKS) {
        json_t *known = json_object();
        set_number(known, "bytes", rows->known.bytes);
        set_number(known, "objects", rows->known.objects);
        json_object_set_new(out, "left_out", known);
    }
    return out;
}

void pf_print_json(const struct pf_rows *rows, const struct pf *p,
                   const struct pf_groups *g, size_t top)
{
    static const char *const lists[] = {NULL, "functions", "threads", "boxes",
                                        "libraries"};
    json_t *out = head_json(rows, p), *stacks = json_array();
    if (g->by != PF_STACK) {
        json_t *list = json_array();
        for (size_t i = 0; i < g->n && (top == 0 || i < top); i++)
            json_array_append_new(list, group_json(rows, g, &g->at[i]));
        json_object_set_new(out, lists[g->by], list);
    }
    for (size_t i = 0; i < rows->n; i++)
        json_array_append_new(stacks, row_json(rows, &rows->at[i]));
    json_object_set_new(out, "stacks", stacks);
    json_dumpf(out, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(out);
}
