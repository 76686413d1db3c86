/* SPDX-License-Identifier: MIT
 * resolve.c - makes core settings, sorted boxes and routes of the entries.
 */
#include <conf/private.h>

#include <string.h>
#include <strings.h>

enum { PRIORITY_STEP = 10 };

/* ---- names --------------------------------------------------------------- */

int conf_find_box(const struct hak_conf *c, const char *name)
{
    for (uint32_t i = 0; i < c->nboxes; i++)
        if (strcmp(c->box[i].name, name) == 0)
            return (int)i;
    return -1;
}

int conf_find_route(const struct hak_conf *c, const char *name)
{
    for (uint32_t i = 0; i < c->nroutes; i++)
        if (strcmp(c->route[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* Whether name is "libc" or "none". If so, set *out. */
static bool parse_last(const char *name, enum hak_fallback *out)
{
    bool none = strcmp(name, "none") == 0;
    if (!none && strcmp(name, "libc") != 0)
        return false;
    *out = none ? HAK_FALLBACK_NONE : HAK_FALLBACK_LIBC;
    return true;
}

void conf_tell_no_name(struct hak_conf *c, const struct hak_conf_entry *e,
                       const char *noun, bool routes, bool last)
{
    const char *names[HAK_MAX_BOXES + HAK_CONF_ROUTES + 2];
    char mean[CONF_ITEM_BYTES];
    size_t n = 0;
    for (uint32_t i = 0; i < c->nboxes; i++)
        names[n++] = c->box[i].name;
    for (uint32_t i = 0; routes && i < c->nroutes; i++)
        names[n++] = c->route[i].name;
    if (last) {
        names[n++] = "libc";
        names[n++] = "none";
    }
    conf_did_you_mean(mean, sizeof mean, e->value, names, n);
    hak_conf_tell(c, HAK_DIAG_ERROR, e->origin,
                  "\"%s\" in [%s]: there is no %s \"%s\"%s", e->key, e->section,
                  noun, e->value, mean);
}

static void declare_box(struct hak_conf *c, const char *name,
                        struct hak_origin where)
{
    if (c->nboxes == HAK_MAX_BOXES) {
        conf_tell_limit(c, where, CONF_LIMIT_BOXES);
        return;
    }
    c->box[c->nboxes] = (struct hak_conf_box){
        .name = name,
        .priority = (int)c->nboxes * PRIORITY_STEP,
        .lanes = true,
        .used = true,
        .origin = where,
        .path_origin = {"built-in", 0},
    };
    c->nboxes++;
}

static void declare_route(struct hak_conf *c, const char *name,
                          struct hak_origin where)
{
    if (c->nroutes == HAK_CONF_ROUTES)
        conf_tell_limit(c, where, CONF_LIMIT_ROUTES);
    else
        c->route[c->nroutes++] =
            (struct hak_conf_route){.name = name, .origin = where};
}

void conf_declare(struct hak_conf *c)
{
    for (uint32_t i = 0; i < c->nsections; i++) {
        const struct hak_conf_section *s = &c->section[i];
        const char *box = conf_name(s->name, "box");
        const char *route = conf_name(s->name, "route");
        struct hak_origin where = {c->file, s->line};
        if (box != NULL)
            declare_box(c, box, where);
        if (route != NULL)
            declare_route(c, route, where);
    }
    for (uint32_t i = 0; i < c->nroutes; i++) {
        int box = conf_find_box(c, c->route[i].name);
        if (box >= 0)
            hak_conf_tell(c, HAK_DIAG_ERROR, c->route[i].origin,
                          "route \"%s\" has the name of the box in line %d",
                          c->route[i].name, c->box[box].origin.line);
    }
}

/* ---- checks -------------------------------------------------------------- */

static void check_classes(struct hak_conf *c, const struct hak_conf_entry *e)
{
    char why[CONF_TOLD_BYTES];
    uint8_t mask;
    if (hak_conf_classes(e->value, &mask, why, sizeof why) != 0)
        hak_conf_tell(c, HAK_DIAG_ERROR, e->origin, "\"classes\" in [%s]: %s",
                      e->section, why);
}

void conf_check_route(struct hak_conf *c, const struct hak_conf_entry *e)
{
    enum hak_fallback last;
    union hak_value value;
    bool box = conf_find_box(c, e->value) >= 0;
    bool route = conf_find_route(c, e->value) >= 0;
    if (strcmp(e->key, "classes") == 0) {
        check_classes(c, e);
    } else if (strcmp(e->key, "enabled") == 0) {
        conf_check_value(c, e, conf_key(conf_vocabulary(e->section), e->key),
                         &value);
    } else if (strcmp(e->key, "box") == 0) {
        if (!box && route)
            hak_conf_tell(c, HAK_DIAG_ERROR, e->origin,
                          "\"box\" in [%s]: \"%s\" is a route", e->section,
                          e->value);
        else if (!box)
            conf_tell_no_name(c, e, "box", false, false);
    } else if (!box && !route && strpbrk(e->value, ", \t") != NULL) {
        hak_conf_tell(c, HAK_DIAG_ERROR, e->origin,
                      "\"fallback\" in [%s]: \"%s\" is more than one name; it "
                      "takes one route, box, libc or none, and a route has a "
                      "fallback of its own",
                      e->section, e->value);
    } else if (!box && !route && !parse_last(e->value, &last)) {
        conf_tell_no_name(c, e, "box or route", true, true);
    }
}

void conf_check_sample(struct hak_conf *c, const struct hak_conf_entry *e)
{
    if (strcmp(e->value, "none") != 0 && conf_find_box(c, e->value) < 0)
        conf_tell_no_name(c, e, "box", false, false);
}

void conf_check_signal(struct hak_conf *c, const struct hak_conf_entry *e)
{
    char why[CONF_TOLD_BYTES];
    int number;
    if (hak_conf_signal(e->value, &number, why, sizeof why) != 0)
        hak_conf_tell(c, HAK_DIAG_ERROR, e->origin, "\"%s\" in [%s]: %s",
                      e->key, e->section, why);
}

/* ---- core, stats, learner ------------------------------------------------ */

/* The number that won for a key; the key's default if no layer gave one or the
 * text is bad. Bad texts were reported by the checks. */
static int64_t number_of_key(const struct hak_conf *c, const char *section,
                             const char *key)
{
    const struct hak_conf_entry *e = hak_conf_find(c, section, key);
    const struct hak_param *param = conf_key(conf_vocabulary(section), key);
    union hak_value value = {.i = param != NULL ? param->def : 0};
    if (e != NULL && param != NULL)
        hak_conf_param(param, e->value, &value, NULL, 0);
    return value.i;
}

/* The text that won for a key; its default if no layer gave one; "" if such a
 * section has no such key. */
static const char *text_of_key(const struct hak_conf *c, const char *section,
                               const char *key)
{
    const struct hak_conf_entry *e = hak_conf_find(c, section, key);
    const struct hak_param *param = conf_key(conf_vocabulary(section), key);
    return e != NULL ? e->value : param != NULL ? param->def_text : "";
}

#define CORE_NUMBER(key, c_type, ...) \
    c->key = (c_type)number_of_key(c, "core", #key);

static void resolve_core(struct hak_conf *c)
{
    HAK_CORE_KEYS(CORE_NUMBER)
    c->pressure_file = text_of_key(c, "core", "pressure_file");
    c->fallback_origin = hak_conf_origin(c, "core", "fallback");
    c->free_route_origin = hak_conf_origin(c, "core", "free_route");
    c->stats_at_exit = text_of_key(c, "stats", "at_exit");
    c->stats_at_start = text_of_key(c, "stats", "at_start");
    c->stats_json = number_of_key(c, "stats", "format") != 0;
    hak_conf_signal(text_of_key(c, "stats", "on_signal"), &c->stats_on_signal,
                    NULL, 0);
    c->stats_on_term = number_of_key(c, "stats", "on_term") != 0;
    if (c->stats_on_term && strcasecmp(c->stats_at_exit, "none") == 0) {
        hak_conf_tell(c, HAK_DIAG_WARNING,
                      hak_conf_origin(c, "stats", "on_term"),
                      "on_term = yes reports nothing, since at_exit = none");
        c->stats_on_term = false;
    }
    c->stats_pid = (uint32_t)number_of_key(c, "stats", "only_pid");
    c->timeline = text_of_key(c, "stats", "timeline");
    c->stats_every_ms = (uint32_t)number_of_key(c, "stats", "every_ms");
    c->control_socket = text_of_key(c, "control", "socket");
    c->record_ring = text_of_key(c, "record", "ring");
}

static void resolve_heap_profile(struct hak_conf *c)
{
    static const char section[] = "heap_profile";
    struct hak_conf_heap_profile *h = &c->heap_profile;
    h->file = text_of_key(c, section, "file");
    h->every_bytes = (uint64_t)number_of_key(c, section, "every");
    h->frames = (uint32_t)number_of_key(c, section, "frames");
    h->most_bytes = (uint64_t)number_of_key(c, section, "most");
    h->cost_percent = (uint32_t)number_of_key(c, section, "cost");
    h->at_exit = number_of_key(c, section, "at_exit") != 0;
    h->on_growth_bytes = (uint64_t)number_of_key(c, section, "on_growth");
    h->on_peak_percent = (uint32_t)number_of_key(c, section, "on_peak");
    h->only_pid = (uint32_t)number_of_key(c, section, "only_pid");
    hak_conf_signal(text_of_key(c, section, "on_signal"), &h->on_signal, NULL,
                    0);
}

static void resolve_learner(struct hak_conf *c)
{
    struct hak_conf_learner *l = &c->learner;
    l->mode = (enum hak_learn_mode)number_of_key(c, "learner", "mode");
    l->every = (uint32_t)number_of_key(c, "learner", "every");
    l->settle = (uint32_t)number_of_key(c, "learner", "settle");
    int64_t percent = number_of_key(c, "learner", "margin");
    l->margin_bps = (uint32_t)percent * 100;
    l->log = text_of_key(c, "learner", "log");
}

/* Resolve all sections whose keys are those of the core. */
static void resolve_keys(struct hak_conf *c)
{
    resolve_core(c);
    resolve_learner(c);
    resolve_heap_profile(c);
}

/* ---- changes of the running process -------------------------------------- */

static struct hak_conf_entry *entry_of(struct hak_conf *c, const char *section,
                                       const char *key)
{
    const struct hak_conf_entry *e = hak_conf_find(c, section, key);
    return e != NULL ? &c->entry[e - c->entry] : NULL;
}

int hak_conf_set(struct hak_conf *c, const char *section, const char *key,
                 const char *value, struct hak_conf_entry *old)
{
    struct hak_conf_entry e = {
        section, key, value, {"control", 0}, HAK_LAYER_CONTROL};
    struct hak_conf_entry *at = entry_of(c, section, key);
    uint32_t nerrors = c->nerrors;
    *old = at != NULL ? *at : (struct hak_conf_entry){0};
    if (conf_name(section, "box") == NULL)
        conf_check(c, &e);
    if (c->nerrors != nerrors)
        return -EINVAL;
    if (at == NULL && c->nentries == HAK_CONF_ENTRIES)
        return -ENOSPC;
    *(at != NULL ? at : &c->entry[c->nentries++]) = e;
    resolve_keys(c);
    return 0;
}

void hak_conf_unset(struct hak_conf *c, const char *section, const char *key,
                    const struct hak_conf_entry *old)
{
    struct hak_conf_entry *at = entry_of(c, section, key);
    if (at == NULL)
        return;
    *at = old->value != NULL ? *old : c->entry[--c->nentries];
    resolve_keys(c);
}

const struct hak_param *hak_conf_keys(const char *section, uint32_t *n)
{
    struct conf_vocabulary v = conf_vocabulary(section);
    *n = v.n;
    return v.keys;
}

/* ---- boxes --------------------------------------------------------------- */

static void sort_boxes(struct hak_conf *c)
{
    for (uint32_t i = 1; i < c->nboxes; i++) {
        struct hak_conf_box box = c->box[i];
        uint32_t at = i;
        for (; at > 0 && c->box[at - 1].priority > box.priority; at--)
            c->box[at] = c->box[at - 1];
        c->box[at] = box;
    }
}

static void resolve_boxes(struct hak_conf *c)
{
    for (uint32_t i = 0; i < c->nboxes; i++) {
        struct hak_conf_box *box = &c->box[i];
        const char *section = conf_section_of("box", box->name);
        box->path = text_of_key(c, section, "path");
        box->type = text_of_key(c, section, "type");
        box->path_origin =
            hak_conf_origin(c, section, box->type != NULL ? "type" : "path");
        if (box->type != NULL && strcmp(box->type, "foreign") != 0)
            hak_conf_tell(c, HAK_DIAG_ERROR, box->path_origin,
                          "type = %s: the one type is foreign, for another "
                          "library; a box of its own is named by path alone",
                          box->type);
        if (hak_conf_find(c, section, "priority") != NULL)
            box->priority = (int)number_of_key(c, section, "priority");
        box->lanes = number_of_key(c, section, "lanes") != 0;
    }
    sort_boxes(c);
    c->sample = conf_find_box(c, text_of_key(c, "core", "sample"));
    for (uint32_t i = 1; i < c->nboxes; i++) {
        const struct hak_conf_box *a = &c->box[i - 1], *b = &c->box[i];
        if (a->priority != b->priority)
            continue;
        const struct hak_conf_entry *e =
            hak_conf_find(c, conf_section_of("box", b->name), "priority");
        if (e == NULL) /* defaults are never equal, so a has a priority key */
            e = hak_conf_find(c, conf_section_of("box", a->name), "priority");
        hak_conf_tell(c, HAK_DIAG_ERROR, e != NULL ? e->origin : b->origin,
                      "boxes \"%s\" and \"%s\" have one priority, %d", a->name,
                      b->name, b->priority);
    }
}

/* ---- routes -------------------------------------------------------------- */

/* The boxes of a route in the order they are asked. Each is in it once, so all
 * boxes have room. */
struct chain {
    uint8_t box[HAK_MAX_BOXES];
    uint8_t n;
};

static void chain_add(struct hak_conf *c, struct chain *chain, int box,
                      const struct hak_conf_route *route)
{
    for (uint32_t i = 0; i < chain->n; i++) {
        if (chain->box[i] != box)
            continue;
        hak_conf_tell(c, HAK_DIAG_WARNING, route->origin,
                      "route \"%s\" comes to box \"%s\" twice; it is asked "
                      "once",
                      route->name, c->box[box].name);
        return;
    }
    chain->box[chain->n++] = (uint8_t)box;
}

/* The route that route `at` falls back to; -1: it falls back to a box, libc or
 * none. */
static int next_route(const struct hak_conf *c, int at)
{
    const char *section = conf_section_of("route", c->route[at].name);
    const char *fallback = text_of_key(c, section, "fallback");
    return conf_find_route(c, fallback);
}

/* Whether the fallbacks from route `at` on never end. A circle is reported
 * once, at the first of its routes. */
static bool is_endless(struct hak_conf *c, int at)
{
    char path[CONF_TOLD_BYTES / 2] = "";
    bool first = true;
    int route = at;
    for (uint32_t steps = 0; steps <= c->nroutes && route >= 0; steps++) {
        hak_text_join(path, sizeof path, path, steps > 0 ? " -> " : "",
                      c->route[route].name);
        if (steps > 0 && route == at)
            break;
        first &= route >= at;
        route = next_route(c, route);
    }
    const char *section = conf_section_of("route", c->route[at].name);
    if (route == at && first)
        hak_conf_tell(c, HAK_DIAG_ERROR,
                      hak_conf_origin(c, section, "fallback"),
                      "route fallbacks go round: %s", path);
    return route >= 0; /* true too if `at` leads into a circle of others */
}

/* Collect the boxes of route `at` and of the routes that it falls back to, and
 * set its `last`. The box of a disabled route is left out. */
static void collect_chain(struct hak_conf *c, int at, struct chain *chain)
{
    struct hak_conf_route *route = &c->route[at];
    for (; at >= 0; at = next_route(c, at)) {
        const char *section = conf_section_of("route", c->route[at].name);
        const char *fallback = text_of_key(c, section, "fallback");
        int box = conf_find_box(c, text_of_key(c, section, "box"));
        int second = conf_find_box(c, fallback);
        if (box >= 0 && c->route[at].enabled)
            chain_add(c, chain, box, route);
        if (second >= 0)
            chain_add(c, chain, second, route);
        else
            parse_last(fallback, &route->last);
    }
}

static void resolve_route(struct hak_conf *c, int at)
{
    struct hak_conf_route *route = &c->route[at];
    const char *own = conf_section_of("route", route->name);
    const struct hak_conf_entry *e = hak_conf_find(c, own, "box");
    if (e == NULL)
        hak_conf_tell(c, HAK_DIAG_ERROR, route->origin, "[%s] has no \"box =\"",
                      own);
    else
        route->origin = e->origin;
    route->last = c->fallback;
    if (is_endless(c, at))
        return;
    struct chain chain = {.n = 0};
    collect_chain(c, at, &chain);
    if (chain.n > HAK_CONF_CHAIN) {
        hak_conf_tell(c, HAK_DIAG_ERROR, route->origin,
                      "route \"%s\" comes to %d boxes; at most %d", route->name,
                      chain.n, HAK_CONF_CHAIN);
        chain.n = HAK_CONF_CHAIN;
    }
    memcpy(route->chain, chain.box, chain.n);
    route->nchain = chain.n;
}

static void resolve_claim(struct hak_conf *c, struct hak_conf_route *route)
{
    const char *own = conf_section_of("route", route->name);
    route->enabled = number_of_key(c, own, "enabled") != 0;
    hak_conf_classes(text_of_key(c, own, "classes"), &route->classes, NULL, 0);
}

/* ---- calls --------------------------------------------------------------- */

const char *hak_conf_call(const struct hak_conf *c, const char *box, uint32_t n,
                          const char **call, bool *poll)
{
    for (uint32_t i = 0; i < c->nsections; i++) {
        const char *section = c->section[i].name;
        const char *of = text_of_key(c, section, "box");
        if (conf_name(section, "call") == NULL ||
            (box != NULL && strcmp(of, box) != 0) || n-- > 0)
            continue;
        *call = text_of_key(c, section, "call");
        *poll = number_of_key(c, section, "poll") != 0;
        return conf_name(section, "call");
    }
    return NULL;
}

/* Check that each [call NAME] has a `call` and names an existing box. */
static void check_calls(struct hak_conf *c)
{
    for (uint32_t i = 0; i < c->nsections; i++) {
        const char *section = c->section[i].name;
        if (conf_name(section, "call") == NULL)
            continue;
        const struct hak_conf_entry *box = hak_conf_find(c, section, "box");
        struct hak_origin where = {c->file, c->section[i].line};
        if (box == NULL || hak_conf_find(c, section, "call") == NULL)
            hak_conf_tell(c, HAK_DIAG_ERROR, where, "[%s] has no \"%s =\"",
                          section, box == NULL ? "box" : "call");
        else if (conf_find_box(c, box->value) < 0)
            conf_tell_no_name(c, box, "box", false, false);
    }
}

void conf_resolve(struct hak_conf *c)
{
    check_calls(c);
    resolve_keys(c);
    resolve_boxes(c);
    for (uint32_t i = 0; i < c->nroutes; i++)
        resolve_claim(c, &c->route[i]);
    for (int i = 0; i < (int)c->nroutes; i++)
        resolve_route(c, i);
}
