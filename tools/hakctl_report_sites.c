/* SPDX-License-Identifier: MIT
 * hakctl_report_sites.c - call sites and the flame graph of the page.
 *
 * A profile is a list of stacks for each of four views. They become one tree,
 * whose nodes have the bytes of all four, and a list of the innermost
 * functions.
 */
#include "hakctl_report.h"
#include "hakctl.h"

enum { NVIEWS = 4, DEPTH_MOST = 128, SITES_MOST = 20 };

/* A node is shown from one part in so many of the whole on. */
enum { NODE_PART = 500 };

static const char *const views[NVIEWS] = {"in_use", "peak", "allocated",
                                          "overhead"};

/* ---- strings, each once -------------------------------------------------- */

struct names {
    json_t *index; /* name -> number */
    json_t *list;
};

static uint32_t number_of(struct names *names, const char *name)
{
    const json_t *known = json_object_get(names->index, name);
    if (known != NULL)
        return (uint32_t)json_integer_value(known);
    size_t n = json_array_size(names->list);
    json_object_set_new(names->index, name, json_integer((json_int_t)n));
    json_array_append_new(names->list, json_string(name));
    return (uint32_t)n;
}

static const char *text_of(const json_t *frame, const char *key)
{
    const char *text = json_string_value(json_object_get(frame, key));
    return text != NULL ? text : "";
}

/* The bytes of a stack in a view. Sums of them are doubles, as no file can make
 * those overflow. */
static double bytes_of(const json_t *stack, size_t view)
{
    if (strcmp(views[view], "overhead") != 0)
        return (double)report_count(stack, "bytes");
    return (double)report_count(stack, "slot_overhead_bytes") +
           (double)report_count(stack, "page_overhead_bytes");
}

static json_t *bytes_json(double bytes)
{
    const double most = 9e15;
    return json_integer((json_int_t)(bytes < most ? bytes : most));
}

/* ---- the tree ------------------------------------------------------------ */

struct node {
    uint32_t name;
    uint32_t child, next; /* numbers of nodes; 0: none */
    double bytes[NVIEWS];
};

struct tree {
    struct node *node; /* 0 is the root */
    uint32_t n;
    struct names names;
};

static uint32_t add_node(struct tree *t, uint32_t name)
{
    t->node = reallocarray(t->node, t->n + 1, sizeof *t->node);
    if (t->node == NULL)
        ctl_die("no memory");
    t->node[t->n] = (struct node){.name = name};
    return t->n++;
}

static uint32_t child_of(struct tree *t, uint32_t parent, uint32_t name)
{
    for (uint32_t i = t->node[parent].child; i != 0; i = t->node[i].next)
        if (t->node[i].name == name)
            return i;
    uint32_t child = add_node(t, name);
    t->node[child].next = t->node[parent].child;
    t->node[parent].child = child;
    return child;
}

/* A function with its library, as one name may be in several. A function
 * without a name is called after its library already. */
static uint32_t name_of(struct tree *t, const json_t *frame)
{
    char *name = NULL;
    const char *function = text_of(frame, "function");
    const char *library = text_of(frame, "library");
    bool named =
        library[0] == 0 || strncmp(function, library, strlen(library)) == 0;
    if (asprintf(&name, "%s%s%s%s", function, named ? "" : " (",
                 named ? "" : library, named ? "" : ")") < 0)
        ctl_die("no memory");
    uint32_t number = number_of(&t->names, name);
    free(name);
    return number;
}

/* Add a stack, whose first frame is the innermost. */
static void add_stack(struct tree *t, const json_t *stack, size_t view)
{
    const json_t *frames = json_object_get(stack, "frames");
    size_t n = json_array_size(frames);
    uint32_t at = 0;
    t->node[0].bytes[view] += bytes_of(stack, view);
    for (size_t depth = 0; depth < n && depth < DEPTH_MOST; depth++) {
        at = child_of(t, at, name_of(t, json_array_get(frames, n - 1 - depth)));
        t->node[at].bytes[view] += bytes_of(stack, view);
    }
}

static bool is_shown(const struct tree *t, const struct node *node)
{
    for (size_t v = 0; v < NVIEWS; v++)
        if (node->bytes[v] > 0 &&
            node->bytes[v] * NODE_PART >= t->node[0].bytes[v])
            return true;
    return false;
}

/* [name, in use, peak, allocated, overhead, [children]] */
static json_t *node_json(const struct tree *t, uint32_t number)
{
    const struct node *node = &t->node[number];
    json_t *out = json_array(), *children = json_array();
    json_array_append_new(out, json_integer(node->name));
    for (size_t v = 0; v < NVIEWS; v++)
        json_array_append_new(out, bytes_json(node->bytes[v]));
    for (uint32_t i = node->child; i != 0; i = t->node[i].next)
        if (is_shown(t, &t->node[i]))
            json_array_append_new(children, node_json(t, i));
    json_array_append_new(out, children);
    return out;
}

/* ---- call sites ---------------------------------------------------------- */

struct site {
    const json_t *frame, *caller; /* caller: NULL = none */
    double bytes[NVIEWS];
};

struct sites {
    struct site *at;
    size_t n;
    json_t *index; /* key -> number */
};

static struct site *add_site(struct sites *s, const json_t *frames)
{
    s->at = reallocarray(s->at, s->n + 1, sizeof *s->at);
    if (s->at == NULL)
        ctl_die("no memory");
    s->at[s->n] = (struct site){.frame = json_array_get(frames, 0),
                                .caller = json_array_get(frames, 1)};
    return &s->at[s->n++];
}

static struct site *site_of(struct sites *s, const json_t *frames)
{
    char *key = NULL;
    const json_t *frame = json_array_get(frames, 0);
    const json_t *caller = json_array_get(frames, 1);
    if (asprintf(&key, "%s|%s|%lld|%s|%s", text_of(frame, "function"),
                 text_of(frame, "file"), (long long)report_count(frame, "line"),
                 text_of(caller, "function"), text_of(frame, "library")) < 0)
        ctl_die("no memory");
    const json_t *known = json_object_get(s->index, key);
    if (known == NULL)
        json_object_set_new(s->index, key, json_integer((json_int_t)s->n));
    free(key);
    return known != NULL ? &s->at[json_integer_value(known)]
                         : add_site(s, frames);
}

static int by_in_use(const void *a, const void *b)
{
    const struct site *x = a, *y = b;
    for (size_t v = 0; v < NVIEWS; v++)
        if (x->bytes[v] != y->bytes[v])
            return x->bytes[v] < y->bytes[v] ? 1 : -1;
    return 0;
}

/* Where a function is: its source line, else its library. The caller frees the
 * text. */
static json_t *where_of(const json_t *frame)
{
    const char *file = text_of(frame, "file");
    const char *slash = strrchr(file, '/');
    if (file[0] == 0)
        return json_string(text_of(frame, "library"));
    return json_sprintf("%s:%lld", slash != NULL ? slash + 1 : file,
                        (long long)report_count(frame, "line"));
}

static json_t *site_json(const struct site *site)
{
    json_t *out = json_pack("{s:s, s:o, s:s}", "function",
                            text_of(site->frame, "function"), "where",
                            where_of(site->frame), "caller",
                            text_of(site->caller, "function"));
    for (size_t v = 0; v < NVIEWS; v++)
        json_object_set_new(out, views[v], bytes_json(site->bytes[v]));
    return out;
}

/* The sites with most bytes in any view. */
static json_t *sites_json(struct sites *s, const struct tree *t)
{
    json_t *out = json_array();
    if (s->n != 0)
        qsort(s->at, s->n, sizeof *s->at, by_in_use);
    for (size_t i = 0; i < s->n; i++) {
        bool large = i < SITES_MOST;
        for (size_t v = 0; v < NVIEWS; v++)
            large |= s->at[i].bytes[v] * SITES_MOST > t->node[0].bytes[v] &&
                     s->at[i].bytes[v] > 0;
        if (large)
            json_array_append_new(out, site_json(&s->at[i]));
    }
    return out;
}

/* ---- all ----------------------------------------------------------------- */

static json_t *totals_json(const json_t *profile, const struct tree *t)
{
    json_t *totals = json_object();
    const json_t *overhead = json_object_get(
        json_object_get(json_object_get(profile, "views"), "overhead"),
        "total");
    for (size_t v = 0; v < NVIEWS; v++)
        json_object_set_new(totals, views[v], bytes_json(t->node[0].bytes[v]));
    json_object_set_new(
        totals, "rounding",
        report_number(report_known(overhead, "slot_overhead_bytes")));
    return totals;
}

json_t *report_sites(const json_t *profile)
{
    struct tree t = {.names = {json_object(), json_array()}};
    struct sites s = {.index = json_object()};
    const json_t *comments = json_object_get(profile, "comments");
    add_node(&t, number_of(&t.names, "all"));
    for (size_t v = 0; v < NVIEWS; v++) {
        const json_t *view =
            json_object_get(json_object_get(profile, "views"), views[v]);
        const json_t *stack;
        size_t i;
        json_array_foreach(json_object_get(view, "stacks"), i, stack)
        {
            add_stack(&t, stack, v);
            site_of(&s, json_object_get(stack, "frames"))->bytes[v] +=
                bytes_of(stack, v);
        }
    }
    json_t *out =
        json_pack("{s:O?, s:I, s:I, s:o, s:o, s:O, s:o}", "reason",
                  json_object_get(comments, "reason"), "every",
                  (json_int_t)report_count(comments, "every"), "samples",
                  (json_int_t)report_count(comments, "samples"), "totals",
                  totals_json(profile, &t), "sites", sites_json(&s, &t),
                  "names", t.names.list, "tree", node_json(&t, 0));
    json_decref(t.names.index);
    json_decref(t.names.list);
    json_decref(s.index);
    free(t.node);
    free(s.at);
    return out;
}
