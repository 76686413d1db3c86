/* SPDX-License-Identifier: MIT
 * hakctl_profile_tree.c - the call sites of a profile as a tree, from the
 * outermost function inwards.
 *
 * A node stands for a path of frames. Where a function has one callee of the
 * same value, the callee stands below it without more indentation, so that deep
 * stacks stay readable.
 */
#include "hakctl_profile.h"
#include "hakctl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct node {
    const struct pf_frame *frame;
    double value;
    uint32_t *child; /* indexes of nodes */
    uint32_t nchildren;
};

struct tree {
    struct node *node; /* 0 is the root, which has no frame */
    struct pf_set set; /* of (parent, frame) */
    const struct pf_rows *rows;
    double least; /* smaller nodes are not printed */
    size_t nhidden;
};

enum { INDENT_MOST = 40 };

static uint32_t child_of(struct tree *t, uint32_t parent,
                         const struct pf_frame *frame)
{
    const uintptr_t key[2] = {parent, (uintptr_t)frame};
    uint32_t n = t->set.n, i = pf_set_add(&t->set, key, sizeof key);
    if (i < n)
        return i + 1; /* the root is not in the set */
    t->node = pf_grow(t->node, n + 1, sizeof *t->node);
    t->node[n + 1] = (struct node){.frame = frame};
    struct node *p = &t->node[parent];
    p->child = pf_grow(p->child, p->nchildren, sizeof *p->child);
    p->child[p->nchildren++] = n + 1;
    return n + 1;
}

static void add_row(struct tree *t, const struct pf_row *row)
{
    double value = pf_main(t->rows->options, &row->v);
    uint32_t at = 0;
    t->node[0].value += value;
    for (size_t i = row->stack.n; i-- > 0;) {
        if (i != 0 && !t->rows->options->wrappers &&
            pf_is_plumbing(row->stack.at[i]->function))
            continue;
        at = child_of(t, at, row->stack.at[i]);
        t->node[at].value += value;
    }
}

static struct tree *sorted; /* during qsort */

static int by_value(const void *a, const void *b)
{
    const struct node *x = &sorted->node[*(const uint32_t *)a];
    const struct node *y = &sorted->node[*(const uint32_t *)b];
    double left = fabs(x->value), right = fabs(y->value);
    return left != right ? (left < right) - (left > right)
                         : strcmp(x->frame->function, y->frame->function);
}

static void print_node(const struct tree *t, const struct node *n, int indent)
{
    char value[32], share[32];
    char *text = pf_frame_text(n->frame);
    int shift = indent < INDENT_MOST ? indent : INDENT_MOST;
    int used = printf("%9s %6s  %*s", pf_value(value, t->rows, n->value),
                      pf_share(share, t->rows, n->value), shift, "");
    pf_print_rest((size_t)used, text);
    free(text);
}

/* A stack of nodes instead of recursion: a profile may be as deep as it says.
 * What is pushed last is printed first. */
struct todo {
    uint32_t node;
    int indent;
};

static struct todo *push_children(struct tree *t, struct todo *todo, size_t *n,
                                  const struct node *parent, int indent)
{
    sorted = t;
    if (parent->nchildren > 1)
        qsort(parent->child, parent->nchildren, sizeof *parent->child,
              by_value);
    for (uint32_t i = parent->nchildren; i-- > 0;) {
        double value = fabs(t->node[parent->child[i]].value);
        if (value < t->least || value == 0) {
            t->nhidden += value != 0;
            continue;
        }
        todo = pf_grow(todo, *n, sizeof *todo);
        todo[(*n)++] = (struct todo){parent->child[i], indent};
    }
    return todo;
}

static bool is_chain(const struct tree *t, const struct node *n)
{
    return n->nchildren == 1 && t->node[n->child[0]].value == n->value;
}

/* Returns how many lines were left out. */
static size_t print_all(struct tree *t, size_t top)
{
    size_t left = 0, line = 0;
    size_t n = 0;
    struct todo *todo = push_children(t, NULL, &n, &t->node[0], 0);
    while (n != 0) {
        struct todo next = todo[--n];
        const struct node *node = &t->node[next.node];
        if (top == 0 || line++ < top)
            print_node(t, node, next.indent);
        else
            left++;
        todo = push_children(t, todo, &n, node,
                             next.indent + (is_chain(t, node) ? 0 : 2));
    }
    free(todo);
    return left;
}

/* The largest value of a node, which the root need not have in a difference. */
static double most_of(const struct tree *t)
{
    double most = 0;
    for (uint32_t i = 0; i <= t->set.n; i++)
        if (fabs(t->node[i].value) > most)
            most = fabs(t->node[i].value);
    return most;
}

void pf_print_tree(const struct pf_rows *rows, size_t top)
{
    struct tree t = {.rows = rows};
    t.node = pf_grow(NULL, 0, sizeof *t.node);
    t.node[0] = (struct node){0};
    for (size_t i = 0; i < rows->n; i++)
        add_row(&t, &rows->at[i]);
    t.least = most_of(&t) / 200;
    bool diff = rows->options->other != NULL;
    printf("%9s %6s  CALL SITE\n", diff ? "CHANGE" : "CUMUL", diff ? "" : "%");
    size_t left = print_all(&t, top);
    sorted = NULL;
    if (left != 0)
        printf("%*s  ... and %zu more (--tree shows all)\n", 16, "", left);
    if (t.nhidden != 0)
        printf("%*s  branches below 0.5%% left out: %zu\n", 16, "", t.nhidden);
}
