/* SPDX-License-Identifier: MIT
 * hakctl_profile_groups.c - rows added up by function, thread, box, library or
 * stack.
 */
#include "hakctl_profile.h"
#include "hakctl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The group of a name and a library, which is made if there is none. */
static struct pf_group *group_of(struct pf_groups *g, struct pf_set *set,
                                 const char *name, const char *library)
{
    const char *key[2] = {name, library};
    uint32_t n = set->n, i = pf_set_add(set, key, sizeof key);
    if (i == n) {
        g->at = pf_grow(g->at, n, sizeof *g->at);
        g->at[n] = (struct pf_group){.name = name, .library = library};
        g->n = set->n;
    }
    return &g->at[i];
}

static struct pf_group *group_of_frame(struct pf_groups *g, struct pf_set *set,
                                       const struct pf_frame *f)
{
    return g->by == PF_LIBRARY ? group_of(g, set, f->library, pf_keep(""))
                               : group_of(g, set, f->function, f->library);
}

/* Add a row to each function or library of its stack, once. */
static void add_frames(struct pf_groups *g, struct pf_set *set,
                       const struct pf_row *row, size_t number)
{
    pf_values_add(&group_of_frame(g, set, row->stack.at[0])->self, &row->v);
    for (size_t i = 0; i < row->stack.n; i++) {
        struct pf_group *group = group_of_frame(g, set, row->stack.at[i]);
        if (group->last_row == number + 1)
            continue;
        group->last_row = number + 1;
        pf_values_add(&group->cum, &row->v);
    }
}

/* Stacks are one if their frames are. The texts of pf_keep have no such bytes,
 * so the set may hold them as a name. */
static struct pf_group *group_of_stack(struct pf_groups *g, struct pf_set *set,
                                       const struct pf_row *row)
{
    uint32_t n = set->n, i = pf_set_add(set, row->stack.at,
                                        row->stack.n * sizeof row->stack.at[0]);
    if (i == n) {
        g->at = pf_grow(g->at, n, sizeof *g->at);
        g->at[n] = (struct pf_group){.name = row->stack.at[0]->function,
                                     .library = row->stack.at[0]->library,
                                     .row = row};
        g->n = set->n;
    }
    return &g->at[i];
}

static const struct pf_options *sorted_by; /* during qsort */

static int by_size(const void *a, const void *b)
{
    const struct pf_group *x = a, *y = b;
    double left = fabs(pf_main(sorted_by, &x->self));
    double right = fabs(pf_main(sorted_by, &y->self));
    if (left == right) {
        left = fabs(pf_main(sorted_by, &x->cum));
        right = fabs(pf_main(sorted_by, &y->cum));
    }
    return left != right ? (left < right) - (left > right)
                         : strcmp(x->name, y->name);
}

void pf_group(struct pf_groups *out, const struct pf_rows *rows, enum pf_by by)
{
    struct pf_set set = {0};
    *out = (struct pf_groups){.by = by};
    for (size_t i = 0; i < rows->n; i++) {
        const struct pf_row *row = &rows->at[i];
        if (by == PF_FUNCTION || by == PF_LIBRARY) {
            add_frames(out, &set, row, i);
            continue;
        }
        struct pf_group *g =
            by == PF_STACK
                ? group_of_stack(out, &set, row)
                : group_of(out, &set, by == PF_THREAD ? row->thread : row->box,
                           pf_keep(""));
        pf_values_add(&g->self, &row->v);
        pf_values_add(&g->cum, &row->v);
    }
    sorted_by = rows->options;
    if (out->n != 0)
        qsort(out->at, out->n, sizeof *out->at, by_size);
}
