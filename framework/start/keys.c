/* SPDX-License-Identifier: MIT
 * keys.c - the effective keys of the running process, and changes of them.
 *
 * Each key is told as an INI would have it, so that the keys in their order
 * make an INI that starts the process as it is now: boxes that were loaded are
 * there, those that drain or are closed are not, and [policy] is the present
 * table of routes.
 */
#include <start/change.h>

#include <base/meta.h>
#include <base/seal.h>
#include <base/text.h>
#include <base/why.h>
#include <conf/values.h>
#include <core/box/modules.h>
#include <core/box/walk.h>
#include <core/memory/space.h>
#include <core/state/op_calls.h>
#include <report/report.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- which keys may change ----------------------------------------------- */

static int apply_purge_delay(char *why, size_t n)
{
    (void)why, (void)n;
    hak_space_set_purge_delay(hak_conf.purge_delay_ms);
    return 0;
}

static int apply_sampling(char *why, size_t n)
{
    if (hak_core.sample_box == NULL)
        return hak_refuse(-ENOTSUP, why, n,
                          "nothing is sampled; [core] sample names a box at "
                          "start");
    if (!hak_seal_open())
        return hak_refuse(-ENOMEM, why, n, "no memory");
    hak_core.sample_every = hak_conf.sample_every;
    hak_seal_close();
    return 0;
}

static int apply_target(char *why, size_t n)
{
    return hak_report_retarget(why, n);
}

static int apply_nothing(char *why, size_t n)
{
    (void)why, (void)n;
    return 0;
}

int hak_change_module(const char *name, char *why, size_t n)
{
    if (!hak_seal_stage())
        return hak_refuse(-ENOMEM, why, n, "no memory");
    uint32_t before = hak_modules.n;
    int error = hak_module_open(name, why, n);
    hak_seal_staged();
    for (uint32_t i = before; i < hak_modules.n; i++)
        if (hak_modules.entry[i]->run != NULL)
            hak_modules.entry[i]->run();
    if (hak_modules.n > before)
        hak_modules_tell("module", "%s", name);
    return error;
}

/* A learner that was off at start has to be opened first. */
static int apply_learner(char *why, size_t n)
{
    return hak_conf.learner.mode == HAK_LEARN_OFF
               ? 0
               : hak_change_module("learner", why, n);
}

static int apply_timeline(char *why, size_t n)
{
    return strcmp(hak_conf.timeline, "none") == 0
               ? 0
               : hak_change_module("timeline", why, n);
}

static const struct settable {
    const char *section, *key;
    int (*apply)(char *why, size_t n); /* 0, or -errno: the key stays */
} settable[] = {
    {"core", "purge_delay_ms", apply_purge_delay},
    {"core", "sample_every", apply_sampling},
    {"stats", "at_exit", apply_target},
    {"stats", "format", apply_nothing},
    {"stats", "only_pid", apply_nothing},
    {"stats", "timeline", apply_timeline},
    {"stats", "every_ms", apply_nothing},
    {"learner", "mode", apply_learner},
    {"learner", "every", apply_nothing},
    {"learner", "settle", apply_nothing},
    {"learner", "margin", apply_nothing},
};
enum { NSETTABLE = sizeof settable / sizeof settable[0] };

static const struct settable *find_settable(const char *section,
                                            const char *key)
{
    for (size_t i = 0; i < NSETTABLE; i++)
        if (strcmp(settable[i].section, section) == 0 &&
            strcmp(settable[i].key, key) == 0)
            return &settable[i];
    return NULL;
}

/* ---- setting one --------------------------------------------------------- */

/* A text that is kept, or `there` if that is one. */
static const char *keep(const char *there, const char *text)
{
    return there != NULL ? there : hak_meta_text(text);
}

/* Parse a value and give it to its key. *old: as for hak_conf_set. */
static int set_entry(const char *section, const char *key, const char *value,
                     const struct hak_param *param, union hak_value *parsed,
                     struct hak_conf_entry *old, char *why, size_t n)
{
    const struct hak_conf_entry *e = hak_conf_find(&hak_conf, section, key);
    if (hak_conf_param(param, value, parsed, why, n) != 0)
        return -EINVAL;
    section = keep(e != NULL ? e->section : NULL, section);
    key = keep(e != NULL ? e->key : NULL, key);
    value = hak_meta_text(value);
    if (section == NULL || key == NULL || value == NULL)
        return hak_refuse(-ENOMEM, why, n, "no memory");
    if (param->type == HAK_PARAM_TEXT || param->type == HAK_PARAM_CALL)
        parsed->text = value;
    int error = hak_conf_set(&hak_conf, section, key, value, old);
    if (error == -ENOSPC)
        hak_refuse(error, why, n, "there are too many keys in all");
    return error;
}

static const struct hak_param *param_of(const struct hak_param *params,
                                        uint32_t nparams, const char *key)
{
    for (uint32_t i = 0; i < nparams; i++)
        if (strcmp(params[i].name, key) == 0)
            return &params[i];
    return NULL;
}

static int set_fixed(const char *section, const char *key, const char *value,
                     char *why, size_t n)
{
    uint32_t nkeys;
    const struct hak_param *keys = hak_conf_keys(section, &nkeys);
    const struct hak_param *param = param_of(keys, nkeys, key);
    const struct settable *s = find_settable(section, key);
    union hak_value parsed;
    struct hak_conf_entry old;
    if (param == NULL)
        return hak_refuse(-ENOENT, why, n, "there is no key %s in [%s]", key,
                          section);
    if (s == NULL)
        return hak_refuse(-EPERM, why, n,
                          "it is read at start only; change the INI and start "
                          "the program again");
    int error = set_entry(section, key, value, param, &parsed, &old, why, n);
    if (error == 0 && (error = s->apply(why, n)) != 0)
        hak_conf_unset(&hak_conf, section, key, &old);
    return error;
}

/* Give parameter i of b its new value, and tell the box. */
static int change_param(struct hak_loaded *b, uint32_t i, union hak_value value,
                        char *why, size_t n)
{
    union hak_value old = b->values[i];
    if (!hak_seal_open())
        return hak_refuse(-ENOMEM, why, n, "no memory");
    b->values[i] = value;
    hak_seal_close();
    struct hak_op_scope scope;
    hak_op_begins(&scope, b, HAK_OP_set_param, 0);
    int error = b->ops.set_param(&b->box, i);
    hak_op_ends(&scope);
    if (error == 0)
        return 0;
    if (hak_seal_open()) {
        b->values[i] = old;
        hak_seal_close();
    }
    return hak_refuse(error, why, n, "the box refuses %s: %s",
                      b->entry->params[i].name, strerrordesc_np(-error));
}

static int set_of_box(struct hak_loaded *b, const char *section,
                      const char *key, const char *text, char *why, size_t n)
{
    const struct hak_param *params = b->entry->params;
    const struct hak_param *param = param_of(params, b->entry->nparams, key);
    union hak_value value;
    struct hak_conf_entry old;
    if (param == NULL)
        return hak_refuse(-ENOENT, why, n, "box %s has no parameter %s",
                          b->box.name, key);
    if ((param->flags & HAK_PARAM_MUTABLE) == 0 || b->ops.set_param == NULL)
        return hak_refuse(-EPERM, why, n,
                          "the box reads it at start only; load the box under "
                          "another name with the new value, and swap");
    if (b->box.state_now != HAK_BOX_ACTIVE)
        return hak_refuse(-EBUSY, why, n, "box %s is not active", b->box.name);
    int error = set_entry(section, key, text, param, &value, &old, why, n);
    if (error != 0)
        return error;
    error = change_param(b, (uint32_t)(param - params), value, why, n);
    if (error != 0)
        hak_conf_unset(&hak_conf, section, key, &old);
    return error;
}

int hak_change_set(const char *section, const char *key, const char *value,
                   char *why, size_t n)
{
    bool of_box = strncmp(section, "box ", 4) == 0;
    struct hak_loaded *b = NULL;
    int error;
    hak_change_begin();
    if (of_box && (b = hak_box_named(section + 4)) == NULL)
        error = hak_refuse(-ENOENT, why, n, "there is no box %s", section + 4);
    else if (of_box)
        error = set_of_box(b, section, key, value, why, n);
    else
        error = set_fixed(section, key, value, why, n);
    if (error == 0)
        hak_modules_tell("set", "[%s] %s = %s", section, key, value);
    hak_change_end();
    return error;
}

/* ---- telling all --------------------------------------------------------- */

enum { TEXT_BYTES = 512 };

/* Where the keys go. */
struct tell {
    void (*each)(void *context, const struct hak_key *key);
    void *context;
};

static const char *const layer_names[HAK_LAYERS] = {
    [HAK_LAYER_FILE] = "file",
    [HAK_LAYER_PROFILE] = "profile",
    [HAK_LAYER_ENVIRONMENT] = "environment",
    [HAK_LAYER_CONTROL] = "control",
};

static void tell_key(const struct tell *to, const char *section,
                     const char *key, const char *value,
                     const struct hak_conf_entry *e, bool may_change,
                     const char *bounds)
{
    struct hak_key k = {
        .section = section,
        .key = key,
        .value = value,
        .layer = e != NULL ? layer_names[e->layer] : "built-in",
        .file = e != NULL ? e->origin.file : NULL,
        .line = e != NULL ? e->origin.line : 0,
        .settable = may_change,
        .bounds = bounds,
    };
    to->each(to->context, &k);
}

/* The word at this position of "a|b|c". */
static void nth_word(const char *words, int64_t at, char *out)
{
    for (; at > 0 && *words != 0; words++)
        at -= *words == '|';
    hak_text_copy(out, TEXT_BYTES, words, hak_text_until(words, '|'));
}

static void default_text(const struct hak_param *p, char *out)
{
    if (p->type == HAK_PARAM_TEXT || p->type == HAK_PARAM_CALL)
        hak_text_join(out, TEXT_BYTES, p->def_text != NULL ? p->def_text : "");
    else if (p->type == HAK_PARAM_ENUM)
        nth_word(p->choices, p->def, out);
    else if (p->type == HAK_PARAM_BOOL)
        hak_text_join(out, TEXT_BYTES, p->def != 0 ? "yes" : "no");
    else
        snprintf(out, TEXT_BYTES, "%" PRId64, p->def);
}

static void bounds_text(const struct hak_param *p, char *out)
{
    if (p->type == HAK_PARAM_TEXT || p->type == HAK_PARAM_CALL)
        hak_text_join(out, TEXT_BYTES, "text");
    else if (p->type == HAK_PARAM_ENUM)
        hak_text_join(out, TEXT_BYTES, p->choices);
    else if (p->type == HAK_PARAM_BOOL)
        hak_text_join(out, TEXT_BYTES, "yes|no");
    else
        snprintf(out, TEXT_BYTES, "%" PRId64 "..%" PRId64 "%s", p->min, p->max,
                 p->type == HAK_PARAM_MS     ? " ms"
                 : p->type == HAK_PARAM_SIZE ? " bytes"
                                             : "");
}

static void tell_param(const struct tell *to, const char *section,
                       const struct hak_param *p, bool may_change)
{
    char text[TEXT_BYTES], bounds[TEXT_BYTES];
    const struct hak_conf_entry *e = hak_conf_find(&hak_conf, section, p->name);
    default_text(p, text);
    bounds_text(p, bounds);
    tell_key(to, section, p->name, e != NULL ? e->value : text, e, may_change,
             bounds);
}

static void tell_fixed(const struct tell *to, const char *section)
{
    uint32_t n;
    const struct hak_param *keys = hak_conf_keys(section, &n);
    for (uint32_t i = 0; i < n; i++)
        tell_param(to, section, &keys[i],
                   find_settable(section, keys[i].name) != NULL);
}

/* The keys that the core reads of a [box NAME], as far as they were given.
 * lanes is told always, since a section without keys could not be told. */
static void tell_given(const struct tell *to, const char *section)
{
    uint32_t n;
    const struct hak_param *keys = hak_conf_keys(section, &n);
    char bounds[TEXT_BYTES];
    for (uint32_t i = 0; i < n; i++) {
        const struct hak_conf_entry *e =
            hak_conf_find(&hak_conf, section, keys[i].name);
        bounds_text(&keys[i], bounds);
        if (e == NULL && strcmp(keys[i].name, "lanes") == 0)
            tell_param(to, section, &keys[i], false);
        if (e != NULL)
            tell_key(to, section, keys[i].name, e->value, e, false, bounds);
    }
}

static bool is_core_key(const struct hak_conf_entry *e)
{
    uint32_t n;
    const struct hak_param *keys = hak_conf_keys(e->section, &n);
    return param_of(keys, n, e->key) != NULL;
}

static void tell_box(const struct tell *to, const struct hak_loaded *b)
{
    char section[TEXT_BYTES];
    const struct hak_box_entry *entry = b->entry;
    bool active = b->box.state_now == HAK_BOX_ACTIVE;
    hak_text_join(section, sizeof section, "box ", b->box.name);
    tell_given(to, section);
    for (uint32_t i = 0; i < entry->nparams; i++) {
        const struct hak_param *p = &entry->params[i];
        bool called = p->type == HAK_PARAM_CALL || p->type == HAK_PARAM_TEXT;
        if (called && hak_conf_find(&hak_conf, section, p->name) == NULL)
            continue; /* most are not given, and have no default */
        if (strcmp(p->name, "path") == 0)
            continue; /* told as the core's key */
        tell_param(to, section, p,
                   active && (p->flags & HAK_PARAM_MUTABLE) != 0);
    }
}

/* Sections that nothing changes while the process runs: calls and rules. */
static void tell_sections(const struct tell *to, const char *kind)
{
    size_t n = strlen(kind);
    for (uint32_t i = 0; i < hak_conf.nentries; i++) {
        const struct hak_conf_entry *e = &hak_conf.entry[i];
        if (strncmp(e->section, kind, n) == 0 && e->section[n] == ' ')
            tell_key(to, e->section, e->key, e->value, e, false, "text");
    }
}

/* The boxes of the INI that no route leads to, so they were not loaded. */
static void tell_unused(const struct tell *to)
{
    for (uint32_t i = 0; i < hak_conf.nboxes; i++) {
        char section[TEXT_BYTES];
        if (hak_conf.box[i].used || hak_box_named(hak_conf.box[i].name) != NULL)
            continue;
        hak_text_join(section, sizeof section, "box ", hak_conf.box[i].name);
        tell_given(to, section);
        for (uint32_t k = 0; k < hak_conf.nentries; k++) {
            const struct hak_conf_entry *e = &hak_conf.entry[k];
            if (strcmp(e->section, section) == 0 && !is_core_key(e))
                tell_key(to, section, e->key, e->value, e, false, "");
        }
    }
}

/* ---- routes ---- */

static const struct hak_conf_entry changed = {.origin = {"control", 0},
                                              .layer = HAK_LAYER_CONTROL};

/* The name of the box that serves where the INI names this one; the name itself
 * if it is no box; NULL: none serves. */
static const char *serving_name(const char *name)
{
    struct hak_loaded *b = hak_box_named(name);
    if (b == NULL)
        return name;
    b = hak_serving(b);
    return b != NULL ? b->box.name : NULL;
}

/* A key of a [route NAME]. Boxes that were swapped have another name. */
static void tell_route_key(const struct tell *to,
                           const struct hak_conf_entry *e)
{
    const char *now = e->value;
    bool same = true;
    if (strcmp(e->key, "box") == 0 || strcmp(e->key, "fallback") == 0) {
        now = serving_name(e->value);
        if (now == NULL)
            now = hak_conf.fallback == HAK_FALLBACK_LIBC ? "libc" : "none";
        same = strcmp(now, e->value) == 0;
    }
    tell_key(to, e->section, e->key, now, same ? e : &changed, false, "text");
}

static void tell_routes(const struct tell *to)
{
    for (uint32_t i = 0; i < hak_conf.nentries; i++)
        if (strncmp(hak_conf.entry[i].section, "route ", 6) == 0)
            tell_route_key(to, &hak_conf.entry[i]);
}

/* The name for the present route of an index in [policy]: that of its [route],
 * else of the box that serves. */
static const char *route_name(uint32_t index)
{
    const struct hak_chain *chain = hak_chain_of(index);
    char section[TEXT_BYTES];
    hak_text_join(section, sizeof section, "route ", chain->route);
    if (hak_conf_find(&hak_conf, section, "box") != NULL)
        return chain->route;
    if (chain->box[0] != NULL)
        return chain->box[0]->box.name;
    return chain->last == HAK_FALLBACK_LIBC ? "libc" : "none";
}

/* The rule of the INI that still holds for an index, or NULL. */
static const struct hak_conf_rule *rule_of(uint32_t index)
{
    int rule = hak_conf.index_rule[index];
    if (rule < 0)
        return NULL;
    const struct hak_conf_rule *r = &hak_conf.rule[rule];
    return strcmp(hak_conf.route[r->route].name, route_name(index)) == 0 ? r
                                                                         : NULL;
}

/* The range of size indexes first to last, as a key of [policy]. */
static void range_text(char *out, uint32_t first, uint32_t last)
{
    size_t from = first == 0 ? 0 : hak_index_bytes(first - 1) + 1;
    if (last == HAK_LANES)
        snprintf(out, TEXT_BYTES, "%zu-", from);
    else
        snprintf(out, TEXT_BYTES, "%zu-%zu", from, hak_index_bytes(last));
}

static void tell_policy(const struct tell *to)
{
    for (uint32_t first = 0, last; first <= HAK_LANES; first = last + 1) {
        const char *name = route_name(first);
        const struct hak_conf_rule *rule = rule_of(first);
        char range[TEXT_BYTES];
        last = first;
        while (last < HAK_LANES && rule_of(last + 1) == rule &&
               strcmp(route_name(last + 1), name) == 0)
            last++;
        if (rule != NULL && rule->claim)
            continue; /* the key `classes` of its route says it */
        if (rule == NULL && hak_conf.index_rule[first] < 0 &&
            hak_chain_of(first)->box[0] == NULL)
            continue; /* a size without a rule */
        range_text(range, first, last);
        bool whole = rule != NULL && rule->first_index == first &&
                     rule->last_index == last;
        const struct hak_conf_entry *e =
            rule != NULL ? hak_conf_find(&hak_conf, "policy", rule->text)
                         : NULL;
        tell_key(to, "policy", whole ? rule->text : range, name,
                 e != NULL ? e : &changed, true, "a route or a box");
    }
}

void hak_change_each_key(void (*each)(void *context, const struct hak_key *key),
                         void *context)
{
    const struct tell to = {each, context};
    hak_change_begin();
    tell_fixed(&to, "core");
    tell_fixed(&to, "stats");
    tell_fixed(&to, "control");
    for (uint32_t i = 0; i < hak_nboxes(); i++)
        if (hak_box_in_walk(i)->box.state_now == HAK_BOX_ACTIVE)
            tell_box(&to, hak_box_in_walk(i));
    tell_unused(&to);
    tell_sections(&to, "call");
    tell_routes(&to);
    tell_policy(&to);
    tell_fixed(&to, "learner");
    tell_sections(&to, "rule");
    hak_change_end();
}
