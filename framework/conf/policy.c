/* SPDX-License-Identifier: MIT
 * policy.c - makes rules of the [policy] lines and of the routes' claims, and
 * assigns a rule to each size index.
 *
 * Two lines of one layer must not cover the same index; that is an error. Of
 * several layers, the highest one whose lines cover an index has it. Each
 * layer's claims are applied after its lines. A claim takes its indexes from
 * all lines and from the claims that come after it in the order of claims
 * (rank_of).
 */
#include <conf/gates.h>
#include <conf/private.h>

#include <string.h>

/* ---- rules --------------------------------------------------------------- */

void conf_check_rule(struct hak_conf *c, const struct hak_conf_entry *e)
{
    const char *list = e->key;
    char item[CONF_ITEM_BYTES], why[CONF_TOLD_BYTES];
    uint32_t first = 0, last = 0;
    while (conf_next_item(&list, item)) {
        if (*item == 0)
            hak_conf_tell(c, HAK_DIAG_ERROR, e->origin,
                          "nothing at a comma of \"%s\" in [policy]", e->key);
        else if (hak_conf_range(item, &first, &last, why, sizeof why) != 0)
            hak_conf_tell(c, HAK_DIAG_ERROR, e->origin, "in [policy]: %s", why);
    }
    if (conf_find_box(c, e->value) < 0 && conf_find_route(c, e->value) < 0)
        conf_tell_no_name(c, e, "box or route", true, false);
}

int conf_route_for(struct hak_conf *c, const struct hak_conf_entry *e)
{
    int route = conf_find_route(c, e->value);
    int box = conf_find_box(c, e->value);
    if (route >= 0 || box < 0)
        return route;
    if (c->nroutes == HAK_CONF_ROUTES) {
        conf_tell_limit(c, e->origin, CONF_LIMIT_ROUTES);
        return -1;
    }
    c->route[c->nroutes] = (struct hak_conf_route){.name = c->box[box].name,
                                                   .chain = {(uint8_t)box},
                                                   .nchain = 1,
                                                   .last = c->fallback,
                                                   .enabled = true,
                                                   .origin = e->origin};
    return (int)c->nroutes++;
}

/* For each size index the position in c->rule of the rule that covers it, or
 * -1. */
struct cover {
    int16_t rule[HAK_LANES + 1];
};

static void clear_cover(struct cover *cover)
{
    for (uint32_t i = 0; i <= HAK_INDEX_LARGE; i++)
        cover->rule[i] = -1;
}

static void tell_overlap(struct hak_conf *c, const struct hak_conf_rule *rule,
                         const struct hak_conf_rule *old, uint32_t first,
                         uint32_t last)
{
    char place[CONF_ITEM_BYTES], sizes[CONF_ITEM_BYTES] = "", digits[24];
    if (old->origin.line > 0)
        hak_text_join(place, sizeof place, "line ",
                      hak_text_number(digits, (unsigned long)old->origin.line));
    else
        hak_text_join(place, sizeof place, old->origin.file);
    conf_append_sizes(sizes, sizeof sizes, first, last);
    hak_conf_tell(c, HAK_DIAG_ERROR, rule->origin,
                  "\"%s\" and \"%s\" of %s both cover %s", rule->text,
                  old->text, place, sizes);
}

static void add_rule(struct hak_conf *c, struct cover *cover,
                     const struct hak_conf_rule *rule)
{
    if (c->nrules == HAK_CONF_RULES) {
        conf_tell_limit(c, rule->origin, CONF_LIMIT_RULES);
        return;
    }
    for (uint32_t i = rule->first_index; i <= rule->last_index; i++) {
        int16_t old = cover->rule[i];
        uint32_t first = i;
        while (i < rule->last_index && cover->rule[i + 1] == old)
            i++;
        if (old >= 0)
            tell_overlap(c, rule, &c->rule[old], first, i);
    }
    for (uint32_t i = rule->first_index; i <= rule->last_index; i++)
        cover->rule[i] = (int16_t)c->nrules;
    c->rule[c->nrules++] = *rule;
}

static void add_rules(struct hak_conf *c, struct cover *cover,
                      const struct hak_conf_entry *e)
{
    int route = conf_route_for(c, e);
    const char *list = e->key;
    char item[CONF_ITEM_BYTES];
    struct hak_conf_rule rule = {.text = e->key, .origin = e->origin};
    rule.route = (uint32_t)route;
    while (route >= 0 && conf_next_item(&list, item))
        if (hak_conf_range(item, &rule.first_index, &rule.last_index, NULL,
                           0) == 0)
            add_rule(c, cover, &rule);
}

/* ---- claims -------------------------------------------------------------- */

/* The place of a route in the order of claims (gates.h). Of several routes that
 * claim a class, the one with the lowest place gets it. */
static uint32_t rank_of(const struct hak_conf *c, uint32_t route)
{
    static const char *const first[] = {HAK_ROUTES_FIRST};
    enum { NFIRST = sizeof first / sizeof first[0] };
    for (uint32_t i = 0; i < NFIRST; i++)
        if (strcmp(c->route[route].name, first[i]) == 0)
            return i;
    bool last = strcmp(c->route[route].name, HAK_ROUTE_LAST) == 0;
    return NFIRST + (last ? HAK_CONF_ROUTES : route);
}

/* The entry of a route's key; NULL: the built-in value holds. */
static const struct hak_conf_entry *route_entry(const struct hak_conf *c,
                                                uint32_t route, const char *key)
{
    const char *section = conf_section_of("route", c->route[route].name);
    return hak_conf_find(c, section, key);
}

static bool is_better(const struct hak_conf *c, uint32_t route, int16_t old)
{
    return old < 0 || !c->rule[old].claim ||
           rank_of(c, route) < rank_of(c, c->rule[old].route);
}

/* Give a route its classes, except those that a better claim has. */
static void add_claim(struct hak_conf *c, struct cover *all,
                      const struct hak_conf_entry *classes, uint32_t route)
{
    struct hak_conf_rule rule = {.route = route,
                                 .text = classes->value,
                                 .claim = true,
                                 .origin = classes->origin};
    if (c->nrules == HAK_CONF_RULES) {
        conf_tell_limit(c, rule.origin, CONF_LIMIT_RULES);
        return;
    }
    rule.first_index = HAK_INDEX_LARGE;
    for (uint32_t i = 0; i <= HAK_INDEX_SMALL_MAX; i++) {
        if (!(c->route[route].classes >> hak_class_of_index(i) & 1))
            continue;
        if (is_better(c, route, all->rule[i]))
            all->rule[i] = (int16_t)c->nrules;
        if (rule.first_index > i)
            rule.first_index = i;
        rule.last_index = i;
    }
    c->rule[c->nrules++] = rule;
}

static void add_claims(struct hak_conf *c, struct cover *all, unsigned layer)
{
    for (uint32_t r = 0; r < c->nroutes; r++) {
        if (!c->route[r].enabled || c->route[r].classes == 0)
            continue;
        const struct hak_conf_entry *classes = route_entry(c, r, "classes");
        const struct hak_conf_entry *enabled = route_entry(c, r, "enabled");
        unsigned own = classes->layer;
        if (enabled != NULL && enabled->layer > own)
            own = enabled->layer;
        if (own == layer)
            add_claim(c, all, classes, r);
    }
}

/* ---- lines and claims ---------------------------------------------------- */

static void assign_rules(struct hak_conf *c)
{
    struct cover cover, all;
    clear_cover(&all);
    for (unsigned layer = HAK_LAYER_FILE; layer < HAK_LAYERS; layer++) {
        clear_cover(&cover);
        for (uint32_t i = 0; i < c->nentries; i++)
            if (c->entry[i].layer == layer &&
                strcmp(c->entry[i].section, "policy") == 0)
                add_rules(c, &cover, &c->entry[i]);
        for (uint32_t i = 0; i <= HAK_INDEX_LARGE; i++)
            if (cover.rule[i] >= 0)
                all.rule[i] = cover.rule[i];
        add_claims(c, &all, layer);
    }
    memcpy(c->index_rule, all.rule, sizeof c->index_rule);
}

/* ---- which boxes are used ------------------------------------------------ */

/* Set `used` for each box. A box that only disabled routes name is not used. */
static void resolve_used(struct hak_conf *c)
{
    bool named[HAK_MAX_BOXES] = {false}, in_chain[HAK_MAX_BOXES] = {false};
    for (uint32_t i = 0; i < c->nsections; i++) {
        bool route = conf_name(c->section[i].name, "route") != NULL;
        const struct hak_conf_entry *e =
            route ? hak_conf_find(c, c->section[i].name, "box") : NULL;
        int box = e != NULL ? conf_find_box(c, e->value) : -1;
        if (box >= 0)
            named[box] = true;
    }
    for (uint32_t i = 0; i < c->nroutes; i++)
        for (uint32_t k = 0; k < c->route[i].nchain; k++)
            in_chain[c->route[i].chain[k]] = true;
    for (uint32_t i = 0; i < c->nboxes; i++)
        c->box[i].used = in_chain[i] || !named[i] || c->sample == (int)i;
}

/* ---- warnings ------------------------------------------------------------ */

/* The line number of [policy]; 0: the file has none. */
static int policy_line(const struct hak_conf *c)
{
    for (uint32_t i = 0; i < c->nsections; i++)
        if (strcmp(c->section[i].name, "policy") == 0)
            return c->section[i].line;
    return 0;
}

static void warn_uncovered(struct hak_conf *c)
{
    char sizes[CONF_TOLD_BYTES / 2] = "";
    for (uint32_t i = 0; i <= HAK_INDEX_LARGE; i++) {
        uint32_t first = i;
        if (c->index_rule[i] >= 0)
            continue;
        while (i < HAK_INDEX_LARGE && c->index_rule[i + 1] < 0)
            i++;
        hak_text_join(sizes, sizeof sizes, sizes, *sizes ? ", " : "");
        conf_append_sizes(sizes, sizeof sizes, first, i);
        if (strlen(sizes) > sizeof sizes - 64) {
            hak_text_join(sizes, sizeof sizes, sizes, " and more");
            break;
        }
    }
    if (*sizes != 0)
        hak_conf_tell(c, HAK_DIAG_WARNING,
                      (struct hak_origin){c->file, policy_line(c)},
                      "no rule covers %s: %s", sizes,
                      c->fallback == HAK_FALLBACK_LIBC
                          ? "libc serves these sizes"
                          : "these sizes fail, as fallback = none");
}

static void warn_unreached(struct hak_conf *c)
{
    bool reached[HAK_MAX_BOXES] = {false};
    for (uint32_t i = 0; i <= HAK_INDEX_LARGE; i++) {
        if (c->index_rule[i] < 0)
            continue;
        const struct hak_conf_rule *rule = &c->rule[c->index_rule[i]];
        const struct hak_conf_route *route = &c->route[rule->route];
        for (uint32_t k = 0; k < route->nchain; k++)
            reached[route->chain[k]] = true;
    }
    for (uint32_t i = 0; i < c->learner.nrules; i++) {
        const struct hak_conf_route *route = &c->route[c->learn_rule[i].route];
        for (uint32_t k = 0; k < route->nchain; k++)
            reached[route->chain[k]] = true;
    }
    for (uint32_t i = 0; i < c->nboxes; i++)
        if (!reached[i] && c->box[i].used && c->sample != (int)i)
            hak_conf_tell(c, HAK_DIAG_WARNING, c->box[i].origin,
                          "no rule of [policy] reaches box \"%s\"",
                          c->box[i].name);
}

void conf_resolve_policy(struct hak_conf *c)
{
    assign_rules(c);
    conf_resolve_learn_rules(c);
    resolve_used(c);
    if (c->nerrors > 0)
        return; /* the warnings below would only repeat the errors */
    if (c->nrules == 0 && policy_line(c) == 0) {
        hak_conf_tell(
            c, HAK_DIAG_ERROR, (struct hak_origin){c->file, 0},
            "no [policy]: no size would come to any box; add the lines "
            "\"[policy]\" and \"0- = NAME\", where [box NAME] is a box");
        return;
    }
    warn_uncovered(c);
    warn_unreached(c);
}
