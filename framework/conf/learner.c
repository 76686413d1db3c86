/* SPDX-License-Identifier: MIT
 * learner.c - checks and resolves the rules of the learner, [rule NAME].
 */
#include <conf/private.h>

#include <stdio.h>
#include <string.h>
#include <errno.h>

/* The names of the figures, in the order of enum hak_learn_figure. */
static const char *const figures[HAK_LEARN_FIGURES] = {
    "share", "retire", "utilisation", "free_hit"};

enum { PERCENT_BPS = 100, ALL_BPS = 10000 };

/* ---- conditions -------------------------------------------------------- */

static void skip_blanks(const char **at)
{
    while (conf_is_blank(**at))
        ++*at;
}

static int parse_figure(const char **at, struct hak_conf_condition *out,
                        char *why, size_t bytes)
{
    char word[CONF_ITEM_BYTES], mean[CONF_ITEM_BYTES];
    size_t n = 0;
    while (conf_is_word((*at)[n]) || (*at)[n] == '_')
        n++;
    snprintf(word, sizeof word, "%.*s", (int)n, *at);
    *at += n;
    skip_blanks(at);
    for (int i = 0; i < HAK_LEARN_FIGURES; i++) {
        out->figure = (uint8_t)i;
        if (strcmp(word, figures[i]) == 0)
            return 0;
    }
    conf_did_you_mean(mean, sizeof mean, word, figures, HAK_LEARN_FIGURES);
    snprintf(why, bytes, "unknown figure \"%s\"%s", word,
             *mean != 0 ? mean
                        : "; there are share, retire, utilisation, free_hit");
    return -EINVAL;
}

static int parse_compare(const char **at, struct hak_conf_condition *out,
                         char *why, size_t bytes)
{
    static const struct {
        const char *text;
        enum hak_learn_compare compare;
    } all[] = {{"<=", HAK_LEARN_AT_MOST},
               {">=", HAK_LEARN_AT_LEAST},
               {"<", HAK_LEARN_BELOW},
               {">", HAK_LEARN_ABOVE}};
    size_t n = strspn(*at, "<>=!~");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strlen(all[i].text) != n || strncmp(*at, all[i].text, n) != 0)
            continue;
        out->compare = (uint8_t)all[i].compare;
        *at += n;
        skip_blanks(at);
        return 0;
    }
    snprintf(why, bytes, "%s\"%.*s\"; a comparison is <, <=, > or >=",
             n == 0 ? "no comparison at " : "",
             n == 0 ? (int)strlen(*at) : (int)n, *at);
    return -EINVAL;
}

static int parse_limit(const char *at, struct hak_conf_condition *out,
                       char *why, size_t bytes)
{
    uint32_t value = 0;
    size_t n = strspn(at, "0123456789");
    const char *unit = at + n;
    for (size_t i = 0; i < n && value <= ALL_BPS; i++)
        value = value * 10 + (uint32_t)(at[i] - '0');
    skip_blanks(&unit);
    bool percent = strcmp(unit, "%") == 0;
    uint32_t one = percent ? PERCENT_BPS : 1, most = ALL_BPS / one;
    out->bps = (uint16_t)(value * one);
    if (n == 0 || (!percent && strcmp(unit, "bps") != 0))
        snprintf(why, bytes, "\"%s\" is no limit; 30%% and 3000bps are", at);
    else if (value > most)
        snprintf(why, bytes, "%s is out of bounds: 0 to %u%s", at, most, unit);
    else
        return 0;
    return -EINVAL;
}

static int parse_condition(const char *text, struct hak_conf_condition *out,
                           char *why, size_t bytes)
{
    snprintf(why, bytes, "nothing at a comma");
    if (*text == 0)
        return -EINVAL;
    int rc = parse_figure(&text, out, why, bytes);
    if (rc == 0)
        rc = parse_compare(&text, out, why, bytes);
    if (rc == 0)
        rc = parse_limit(text, out, why, bytes);
    return rc;
}

/* Parse all conditions of e into rule. Bad ones are left out, and are reported
 * if `told` is true. */
static void parse_when(struct hak_conf *c, const struct hak_conf_entry *e,
                       struct hak_conf_learn_rule *rule, bool told)
{
    const char *list = e->value;
    char item[CONF_ITEM_BYTES], why[CONF_TOLD_BYTES];
    while (conf_next_item(&list, item)) {
        struct hak_conf_condition when = {0};
        int rc = parse_condition(item, &when, why, sizeof why);
        if (rc == 0 && rule->nwhen == HAK_CONF_CONDITIONS) {
            snprintf(why, sizeof why, "too many conditions; at most %d",
                     HAK_CONF_CONDITIONS);
            rc = -EINVAL;
            list = NULL;
        }
        if (rc == 0)
            rule->when[rule->nwhen++] = when;
        else if (told)
            hak_conf_tell(c, HAK_DIAG_ERROR, e->origin, "\"%s\" in [%s]: %s",
                          e->key, e->section, why);
    }
}

/* ---- checks ------------------------------------------------------------ */

void conf_check_learn_rule(struct hak_conf *c, const struct hak_conf_entry *e)
{
    struct hak_conf_learn_rule rule = {.nwhen = 0};
    char why[CONF_TOLD_BYTES];
    if (strcmp(e->key, "classes") == 0) {
        if (hak_conf_classes(e->value, &rule.classes, why, sizeof why) != 0)
            hak_conf_tell(c, HAK_DIAG_ERROR, e->origin,
                          "\"classes\" in [%s]: %s", e->section, why);
    } else if (strcmp(e->key, "when") == 0) {
        parse_when(c, e, &rule, true);
    } else if (conf_find_box(c, e->value) < 0 &&
               conf_find_route(c, e->value) < 0) {
        conf_tell_no_name(c, e, "box or route", true, false);
    }
}

/* ---- resolving --------------------------------------------------------- */

/* The entry of a key that a rule must have. NULL: the key is missing, which was
 * reported. */
static const struct hak_conf_entry *
required_key(struct hak_conf *c, const struct hak_conf_section *s,
             const char *key)
{
    const struct hak_conf_entry *e = hak_conf_find(c, s->name, key);
    if (e == NULL)
        hak_conf_tell(c, HAK_DIAG_ERROR, (struct hak_origin){c->file, s->line},
                      "[%s] has no \"%s =\"", s->name, key);
    return e;
}

static void add_learn_rule(struct hak_conf *c, const struct hak_conf_section *s)
{
    struct hak_conf_learner *l = &c->learner;
    struct hak_conf_learn_rule rule = {.name = conf_name(s->name, "rule"),
                                       .origin = {c->file, s->line}};
    const struct hak_conf_entry *classes = required_key(c, s, "classes");
    const struct hak_conf_entry *target = required_key(c, s, "route");
    const struct hak_conf_entry *when = hak_conf_find(c, s->name, "when");
    int route = target != NULL ? conf_route_for(c, target) : -1;
    if (classes != NULL)
        hak_conf_classes(classes->value, &rule.classes, NULL, 0);
    if (when != NULL)
        parse_when(c, when, &rule, false);
    rule.route = (uint32_t)route;
    if (l->nrules == HAK_CONF_LEARN_RULES)
        conf_tell_limit(c, rule.origin, CONF_LIMIT_LEARN_RULES);
    else if (route >= 0)
        c->learn_rule[l->nrules++] = rule;
}

void conf_resolve_learn_rules(struct hak_conf *c)
{
    for (uint32_t i = 0; i < c->nsections; i++)
        if (conf_name(c->section[i].name, "rule") != NULL)
            add_learn_rule(c, &c->section[i]);
    if (c->learner.mode == HAK_LEARN_APPLY && c->learner.nrules == 0 &&
        c->nerrors == 0)
        hak_conf_tell(c, HAK_DIAG_WARNING,
                      hak_conf_origin(c, "learner", "mode"),
                      "mode = apply without a [rule NAME]: no route changes");
}
