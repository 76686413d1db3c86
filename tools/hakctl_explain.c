/* SPDX-License-Identifier: MIT
 * hakctl_explain.c - hakctl explain: prints where a size goes, and why.
 *
 * It does what from_chain() of core/malloc/alloc.c does: it asks the boxes of
 * the chain in turn. A box that has lanes is asked by its lane, if the size has
 * a lane; other boxes are asked by a call.
 */
#include "hakctl.h"

#include <base/classes.h>
#include <conf/conf.h>
#include <core/state/boxes.h>
#include <core/state/core.h>

#include <errno.h>
#include <hakmem/foreign.h>

/* ---- one box of the chain for one size ---- */

enum verdict {
    LEFT_OUT, /* could not be loaded */
    DECLINES,
    SERVES,    /* the first box that does not decline */
    STANDS_BY, /* would serve, but a box before it does */
};

struct link {
    const struct hak_conf_box *conf;
    const struct hak_loaded *box; /* NULL: left out */
    enum verdict verdict;
    bool by_lane;
    size_t slot_bytes; /* 0: the box does not tell */
    size_t waste_bytes;
};

static const char *verdict_name(enum verdict v)
{
    static const char *const names[] = {[LEFT_OUT] = "left out",
                                        [DECLINES] = "declines",
                                        [SERVES] = "serves",
                                        [STANDS_BY] = "stands by"};
    return names[v];
}

/* The bytes that the box is asked for when the program asks for `size`. */
static size_t asked_bytes(const struct link *l, size_t size)
{
    uint32_t index = hak_index_of(size);
    if (l->by_lane) /* its slots must do for every size of the index */
        return index == 0 ? HAK_ALIGN_BYTES : hak_index_bytes(index);
    return hak_max(size, 1) + l->box->header_bytes;
}

static void judge_link(struct link *l, size_t size)
{
    const struct hak_box_entry *e = l->box->entry;
    size_t (*slot_size)(struct hak_box *, size_t) = l->box->ops.slot_size;
    l->by_lane = l->box->box.lanes && hak_index_of(size) < HAK_LANES;
    size_t asked = asked_bytes(l, size);
    bool declines =
        asked < e->min_bytes || (e->max_bytes != 0 && asked > e->max_bytes);
    if (slot_size != NULL) {
        l->slot_bytes =
            slot_size((struct hak_box *)(uintptr_t)&l->box->box, asked);
        declines = l->slot_bytes == 0;
    }
    if (l->slot_bytes > size)
        l->waste_bytes = l->slot_bytes - size;
    l->verdict = declines ? DECLINES : SERVES;
}

/* ---- one size ---- */

struct answer {
    size_t size;
    uint32_t index;
    const struct hak_conf_rule *rule; /* NULL: no rule covers the size */
    const struct hak_conf_route *route;
    struct link link[HAK_CONF_CHAIN];
    uint32_t nlinks;
    enum hak_fallback last;
    bool serves; /* a box serves the size */
};

static void answer_size(const struct ctl_core *core, size_t size,
                        struct answer *a)
{
    memset(a, 0, sizeof *a);
    a->size = size;
    a->index = hak_index_of(size);
    a->last = hak_conf.fallback;
    if (hak_conf.index_rule[a->index] < 0)
        return;
    a->rule = &hak_conf.rule[hak_conf.index_rule[a->index]];
    a->route = &hak_conf.route[a->rule->route];
    a->last = a->route->last;
    for (uint32_t i = 0; i < a->route->nchain; i++) {
        struct link *l = &a->link[a->nlinks++];
        l->conf = &hak_conf.box[a->route->chain[i]];
        l->box = core->box[a->route->chain[i]];
        if (l->box == NULL)
            continue;
        judge_link(l, size);
        if (l->verdict == SERVES && a->serves)
            l->verdict = STANDS_BY;
        a->serves |= l->verdict == SERVES;
    }
}

static const char *last_name(const struct answer *a)
{
    return a->last == HAK_FALLBACK_LIBC ? "libc" : "none";
}

/* Is there a [route NAME]? If not, the rule names a box. */
static bool has_section(const struct hak_conf_route *route)
{
    for (uint32_t i = 0; i < hak_conf.nsections; i++) {
        const char *name = hak_conf.section[i].name;
        if (strncmp(name, "route ", 6) == 0 &&
            strcmp(name + 6, route->name) == 0)
            return true;
    }
    return false;
}

static struct hak_origin route_origin(const struct answer *a)
{
    return has_section(a->route) ? a->route->origin : a->rule->origin;
}

/* ---- text ---- */

static void print_head(const struct answer *a)
{
    uint32_t class_number = hak_class_of_index(a->index);
    size_t first = a->index == 0 ? 0 : hak_index_bytes(a->index - 1) + 1;
    printf("%zu bytes: size index %u, ", a->size, a->index);
    if (a->index == HAK_INDEX_LARGE)
        printf("%zu-", first);
    else
        printf("%zu-%zu", first, hak_index_bytes(a->index));
    if (class_number < 8)
        printf(", class C%u", class_number);
    printf("\n");
}

/* Print where `enabled` of a claiming route was set, if it was. */
static void print_enabled(const struct hak_conf_route *route)
{
    char section[HAK_CONF_NAME_BYTES + sizeof "route "];
    snprintf(section, sizeof section, "route %s", route->name);
    const struct hak_conf_entry *e =
        hak_conf_find(&hak_conf, section, "enabled");
    if (e == NULL)
        return;
    printf("; enabled: ");
    ctl_origin(stdout, e->origin);
}

static void print_rule(const struct answer *a)
{
    if (a->rule == NULL) {
        printf("  rule   none covers it\n  route  %s  (fallback, ",
               last_name(a));
        ctl_origin(stdout, hak_conf.fallback_origin);
        printf(")\n");
        return;
    }
    if (a->rule->claim)
        printf("  rule   [route %s] classes = %s  (", a->route->name,
               a->rule->text);
    else
        printf("  rule   %s = %s  (", a->rule->text, a->route->name);
    ctl_origin(stdout, a->rule->origin);
    if (a->rule->claim)
        print_enabled(a->route);
    printf(")\n  route  ");
    for (uint32_t i = 0; i < a->nlinks; i++)
        printf("%s > ", a->link[i].conf->name);
    printf("%s  (", last_name(a));
    ctl_origin(stdout, route_origin(a));
    printf(")\n");
}

static void print_link(const struct answer *a, const struct link *l)
{
    printf("  %-6s %s %s", l == a->link ? "boxes" : "", l->conf->name,
           verdict_name(l->verdict));
    if (l->box == NULL) {
        printf("\n");
        return;
    }
    bool serves = l->verdict != DECLINES;
    if (serves && l->slot_bytes == 0)
        printf(": a slot of unknown size");
    else if (serves)
        printf(": slot %zu, waste %zu (%.1f %%)", l->slot_bytes, l->waste_bytes,
               (double)l->waste_bytes * 100 / (double)l->slot_bytes);
    if (serves && l->box->header_bytes != 0)
        printf(", %u of it the core's header", l->box->header_bytes);
    if (serves)
        printf(", by %s", l->by_lane ? "lane" : "call");
    printf(", priority %d\n         %s\n", l->box->priority, l->box->path);
    if (serves)
        ctl_foreign_print(l->box, asked_bytes(l, a->size), 9);
}

static bool is_sampled(void)
{
    return hak_conf.sample >= 0;
}

static void print_sample(void)
{
    if (!is_sampled())
        return;
    printf("  sample one in %u goes to box %s first  (", hak_conf.sample_every,
           hak_conf.box[hak_conf.sample].name);
    ctl_origin(stdout, hak_conf_origin(&hak_conf, "core", "sample"));
    printf(")\n");
}

/* Could this rule of the learner move the size's class? */
static bool may_move(const struct answer *a,
                     const struct hak_conf_learn_rule *rule)
{
    uint32_t class_number = hak_class_of_index(a->index);
    return hak_conf.learner.mode != HAK_LEARN_OFF &&
           class_number < HAK_CLASSES && (rule->classes >> class_number & 1);
}

static void print_learner(const struct answer *a)
{
    for (uint32_t i = 0; i < hak_conf.learner.nrules; i++) {
        const struct hak_conf_learn_rule *rule = &hak_conf.learn_rule[i];
        if (!may_move(a, rule))
            continue;
        printf("  learns rule %s %s move it to %s  (", rule->name,
               hak_conf.learner.mode == HAK_LEARN_APPLY ? "may" : "would",
               hak_conf.route[rule->route].name);
        ctl_origin(stdout, rule->origin);
        printf(")\n");
    }
}

static void print_text(const struct answer *a)
{
    print_head(a);
    print_rule(a);
    for (uint32_t i = 0; i < a->nlinks; i++)
        print_link(a, &a->link[i]);
    if (!a->serves)
        printf("  %s\n", a->last == HAK_FALLBACK_LIBC
                             ? "libc serves it"
                             : "malloc fails: no box takes it, and the "
                               "fallback is none");
    print_sample();
    print_learner(a);
}

/* ---- JSON ---- */

static void json_origin(struct hak_origin origin)
{
    fputs("\"file\":", stdout);
    ctl_json(stdout, origin.file != NULL ? origin.file : "built-in");
    if (origin.line > 0)
        printf(",\"line\":%d", origin.line);
    else
        fputs(",\"line\":null", stdout);
}

static void json_link(const struct link *l)
{
    fputs("{\"box\":", stdout);
    ctl_json(stdout, l->conf->name);
    printf(",\"verdict\":\"%s\"", verdict_name(l->verdict));
    if (l->box != NULL) {
        fputs(",\"path\":", stdout);
        ctl_json(stdout, l->box->path);
        printf(",\"priority\":%d,\"by\":\"%s\",\"header_bytes\":%u",
               l->box->priority, l->by_lane ? "lane" : "call",
               l->box->header_bytes);
        const struct hak_foreign_box_1 *table = ctl_foreign(l->box);
        if (table != NULL)
            printf(",\"calls\":\"%s\"", table->slow ? "libffi" : "adapter");
    }
    if (l->slot_bytes != 0)
        printf(",\"slot_bytes\":%zu,\"waste_bytes\":%zu", l->slot_bytes,
               l->waste_bytes);
    fputc('}', stdout);
}

static void json_rule(const struct answer *a)
{
    if (a->rule == NULL) {
        fputs(",\"rule\":null,\"route\":null", stdout);
        return;
    }
    printf(",\"rule\":{\"%s\":", a->rule->claim ? "classes" : "sizes");
    ctl_json(stdout, a->rule->text);
    fputc(',', stdout);
    json_origin(a->rule->origin);
    fputs("},\"route\":{\"name\":", stdout);
    ctl_json(stdout, a->route->name);
    fputc(',', stdout);
    json_origin(route_origin(a));
    fputc('}', stdout);
}

static void json_learner(const struct answer *a)
{
    bool first = true;
    if (hak_conf.learner.mode == HAK_LEARN_OFF)
        return;
    fputs(",\"learner\":[", stdout);
    for (uint32_t i = 0; i < hak_conf.learner.nrules; i++) {
        const struct hak_conf_learn_rule *rule = &hak_conf.learn_rule[i];
        if (!may_move(a, rule))
            continue;
        fputs(first ? "{\"rule\":" : ",{\"rule\":", stdout);
        ctl_json(stdout, rule->name);
        fputs(",\"route\":", stdout);
        ctl_json(stdout, hak_conf.route[rule->route].name);
        fputc(',', stdout);
        json_origin(rule->origin);
        fputc('}', stdout);
        first = false;
    }
    fputc(']', stdout);
}

static void print_json(const struct answer *a)
{
    uint32_t class_number = hak_class_of_index(a->index);
    printf("{\"size\":%zu,\"index\":%u", a->size, a->index);
    if (class_number < 8)
        printf(",\"class\":\"C%u\"", class_number);
    else
        fputs(",\"class\":null", stdout);
    json_rule(a);
    fputs(",\"chain\":[", stdout);
    for (uint32_t i = 0; i < a->nlinks; i++) {
        fputs(i == 0 ? "" : ",", stdout);
        json_link(&a->link[i]);
    }
    printf("],\"last\":\"%s\"", last_name(a));
    if (is_sampled()) {
        printf(",\"sample\":{\"every\":%u,\"box\":", hak_conf.sample_every);
        ctl_json(stdout, hak_conf.box[hak_conf.sample].name);
        fputc('}', stdout);
    }
    json_learner(a);
    fputc('}', stdout);
}

/* ---- the command ---- */

struct sizes {
    size_t *at;
    size_t n;
};

static bool add_size(struct sizes *s, const char *text)
{
    uint64_t bytes = 0;
    int error = hak_conf_bytes(text, &bytes);
    if (error == -ERANGE || (error == 0 && bytes > PTRDIFF_MAX)) {
        ctl_say("explain: \"%s\" is more than any malloc gives", text);
        return false;
    }
    if (error != 0) {
        ctl_say("explain: \"%s\" is not a size (64, 4k, 4KiB, 1M)", text);
        return false;
    }
    size_t *more = realloc(s->at, (s->n + 1) * sizeof *s->at);
    if (more == NULL)
        ctl_die("no memory");
    s->at = more;
    s->at[s->n++] = bytes;
    return true;
}

/* Parse the words, each of which is a list of sizes. Returns false, after a
 * message: there is an error. */
static bool parse_size_lists(struct sizes *s, char **words)
{
    for (; *words != NULL; words++) {
        char *rest = *words, *item;
        while ((item = strsep(&rest, ",")) != NULL)
            if (!add_size(s, item))
                return false;
    }
    return true;
}

static void print_finding(void *context, enum hak_diag_level level,
                          const char *file, int line, const char *text)
{
    (void)context;
    ctl_print_finding(stderr, &(struct ctl_finding){level, file, line, text});
}

static int explain_size(const struct sizes *sizes, const char *path,
                        const char *profile, bool json)
{
    struct ctl_core core;
    if (ctl_crashes(path, profile))
        return CTL_BAD;
    if (ctl_load(&core, path, profile, print_finding, NULL, NULL) != 0) {
        ctl_say("%s has errors, so libc would serve all sizes; hakctl lint "
                "shows them",
                path);
        return CTL_BAD;
    }
    for (size_t i = 0; i < sizes->n; i++) {
        struct answer a;
        answer_size(&core, sizes->at[i], &a);
        fputs(!json ? (i == 0 ? "" : "\n") : i == 0 ? "[\n" : ",\n", stdout);
        (json ? print_json : print_text)(&a);
    }
    fputs(json ? "\n]\n" : "", stdout);
    return hak_conf.nerrors == 0 ? CTL_OK : CTL_SOME;
}

int ctl_explain(int argc, char **argv)
{
    static const struct option longs[] = {
        {"conf", required_argument, NULL, 'c'},
        {"profile", required_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},
        {CTL_HELP},
        {NULL, 0, NULL, 0}};
    const char *given = NULL, *profile = NULL, *path = NULL;
    struct sizes sizes = {NULL, 0};
    bool json = false;
    int option, status = CTL_BAD;
    while ((option = ctl_option(argc, argv, ":c:p:jh", longs)) != -1) {
        if (option == 'c')
            given = optarg;
        else if (option == 'p')
            profile = optarg;
        else if (option == 'j')
            json = true;
        else
            return CTL_BAD;
    }
    if (optind == argc)
        ctl_say("explain: no size given, as in hakctl explain 64,4k");
    else if (parse_size_lists(&sizes, argv + optind) &&
             (path = ctl_conf(given)) != NULL)
        status = explain_size(&sizes, path, profile, json);
    free(sizes.at);
    return status;
}
