/* SPDX-License-Identifier: MIT
 * read.c - reads a configuration: file, then profile, then environment.
 *
 * Each key is checked in the layer that gives it, even if a higher layer
 * replaces it: its name, its value, and the boxes and routes that it names. A
 * key replaces the same key of a lower layer. conf_resolve() uses the rest.
 */
#include <conf/private.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>

/* ---- vocabulary ---------------------------------------------------------- */

enum { PRIORITY_MAX = 9999 };

#define CORE_PARAM(key, c_type, param, default, least, most, words) \
    {.name = #key,                                                  \
     .type = (param),                                               \
     .def = (int64_t)(default),                                     \
     .min = (least),                                                \
     .max = (most),                                                 \
     .choices = (words)},
static const struct hak_param core_keys[] = {
    HAK_CORE_KEYS(CORE_PARAM){
        .name = "sample", .type = HAK_PARAM_TEXT, .def_text = "none"},
    {.name = "pressure_file", .type = HAK_PARAM_TEXT, .def_text = "none"},
};
static const struct hak_param stats_keys[] = {
    {.name = "at_exit", .type = HAK_PARAM_TEXT, .def_text = "none"},
    {.name = "at_start", .type = HAK_PARAM_TEXT, .def_text = "none"},
    {.name = "format", .type = HAK_PARAM_ENUM, .choices = "text|json"},
    {.name = "on_signal", .type = HAK_PARAM_TEXT, .def_text = "none"},
    {.name = "on_term", .type = HAK_PARAM_BOOL},
    {.name = "only_pid", .type = HAK_PARAM_INT, .min = 0, .max = INT32_MAX},
    {.name = "timeline", .type = HAK_PARAM_TEXT, .def_text = "none"},
    {.name = "every_ms",
     .type = HAK_PARAM_MS,
     .min = 10,
     .max = 3600000,
     .def = 1000},
};
static const struct hak_param heap_profile_keys[] = {
    {.name = "file", .type = HAK_PARAM_TEXT, .def_text = "none"},
    {.name = "every",
     .type = HAK_PARAM_SIZE,
     .min = 1,
     .max = 1LL << 40,
     .def = 512 << 10},
    {.name = "frames", .type = HAK_PARAM_INT, .min = 1, .max = 256, .def = 64},
    {.name = "most",
     .type = HAK_PARAM_SIZE,
     .min = 1 << 20,
     .max = 1LL << 40,
     .def = 256 << 20},
    {.name = "cost", .type = HAK_PARAM_INT, .min = 0, .max = 100, .def = 1},
    {.name = "at_exit", .type = HAK_PARAM_BOOL, .def = 1},
    {.name = "on_signal", .type = HAK_PARAM_TEXT, .def_text = "none"},
    {.name = "on_growth", .type = HAK_PARAM_SIZE, .min = 0, .max = 1LL << 50},
    {.name = "on_peak", .type = HAK_PARAM_INT, .min = 0, .max = 1000},
    {.name = "only_pid", .type = HAK_PARAM_INT, .min = 0, .max = INT32_MAX},
};
static const struct hak_param control_keys[] = {
    {.name = "socket", .type = HAK_PARAM_TEXT, .def_text = "none"},
};
static const struct hak_param record_keys[] = {
    {.name = "ring", .type = HAK_PARAM_TEXT, .def_text = "none"},
};
static const struct hak_param box_keys[] = {
    {.name = "path", .type = HAK_PARAM_TEXT},
    {.name = "type", .type = HAK_PARAM_TEXT},
    {.name = "priority",
     .type = HAK_PARAM_INT,
     .min = -PRIORITY_MAX,
     .max = PRIORITY_MAX},
    {.name = "lanes", .type = HAK_PARAM_BOOL, .def = 1},
};
static const struct hak_param route_keys[] = {
    {.name = "box", .type = HAK_PARAM_TEXT, .def_text = ""},
    {.name = "fallback", .type = HAK_PARAM_TEXT, .def_text = ""},
    {.name = "enabled", .type = HAK_PARAM_BOOL, .def = 1},
    {.name = "classes", .type = HAK_PARAM_TEXT, .def_text = "0"},
};
static const struct hak_param learner_keys[] = {
    {.name = "mode",
     .type = HAK_PARAM_ENUM,
     .choices = "off|observe|apply"}, /* enum hak_learn_mode */
    {.name = "every",
     .type = HAK_PARAM_INT,
     .min = 16,
     .max = 1000000,
     .def = 256},
    {.name = "settle", .type = HAK_PARAM_INT, .min = 1, .max = 100, .def = 3},
    {.name = "margin", .type = HAK_PARAM_INT, .min = 0, .max = 50, .def = 5},
    {.name = "log", .type = HAK_PARAM_TEXT, .def_text = "none"},
};
static const struct hak_param rule_keys[] = {
    {.name = "classes", .type = HAK_PARAM_TEXT},
    {.name = "when", .type = HAK_PARAM_TEXT},
    {.name = "route", .type = HAK_PARAM_TEXT},
};

static const struct hak_param call_keys[] = {
    {.name = "box", .type = HAK_PARAM_TEXT, .def_text = ""},
    {.name = "call", .type = HAK_PARAM_CALL, .def_text = ""},
    {.name = "poll", .type = HAK_PARAM_BOOL},
};

#define VOCABULARY(keys) \
    ((struct conf_vocabulary){(keys), sizeof(keys) / sizeof *(keys)})

const char *conf_name(const char *section, const char *kind)
{
    size_t n = strlen(kind);
    bool same = strncmp(section, kind, n) == 0 && section[n] == ' ';
    return same ? section + n + 1 : NULL;
}

struct conf_vocabulary conf_vocabulary(const char *section)
{
    if (strcmp(section, "core") == 0)
        return VOCABULARY(core_keys);
    if (strcmp(section, "stats") == 0)
        return VOCABULARY(stats_keys);
    if (strcmp(section, "heap_profile") == 0)
        return VOCABULARY(heap_profile_keys);
    if (strcmp(section, "control") == 0)
        return VOCABULARY(control_keys);
    if (strcmp(section, "record") == 0)
        return VOCABULARY(record_keys);
    if (strcmp(section, "learner") == 0)
        return VOCABULARY(learner_keys);
    if (conf_name(section, "rule") != NULL)
        return VOCABULARY(rule_keys);
    if (conf_name(section, "box") != NULL)
        return VOCABULARY(box_keys);
    if (conf_name(section, "route") != NULL)
        return VOCABULARY(route_keys);
    if (conf_name(section, "call") != NULL)
        return VOCABULARY(call_keys);
    return (struct conf_vocabulary){NULL, 0};
}

const struct hak_param *conf_key(struct conf_vocabulary v, const char *key)
{
    for (size_t i = 0; i < v.n; i++)
        if (strcmp(v.keys[i].name, key) == 0)
            return v.keys + i;
    return NULL;
}

/* ---- findings ------------------------------------------------------------ */

void hak_conf_tell(struct hak_conf *c, enum hak_diag_level level,
                   struct hak_origin where, const char *format, ...)
{
    char text[CONF_TOLD_BYTES];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    for (char *at = text; *at != 0; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?'; /* no control characters of a file on the terminal */
    *(level == HAK_DIAG_ERROR ? &c->nerrors : &c->nwarnings) += 1;
    if (c->diag != NULL)
        c->diag(c->diag_context, level, where.file, where.line, text);
}

void conf_tell_limit(struct hak_conf *c, struct hak_origin where,
                     enum conf_limit limit)
{
    static const struct {
        char noun[28];
        unsigned most;
    } limits[] = {
        [CONF_LIMIT_SECTIONS] = {"sections", HAK_CONF_SECTIONS},
        [CONF_LIMIT_ENTRIES] = {"keys", HAK_CONF_ENTRIES},
        [CONF_LIMIT_BOXES] = {"boxes", HAK_MAX_BOXES},
        [CONF_LIMIT_ROUTES] = {"routes", HAK_CONF_ROUTES},
        [CONF_LIMIT_RULES] = {"policy ranges", HAK_CONF_RULES},
        [CONF_LIMIT_LEARN_RULES] = {"learner rules", HAK_CONF_LEARN_RULES},
        [CONF_LIMIT_TEXT] = {"bytes of names and values", sizeof c->text},
    };
    if (c->told_limits >> limit & 1)
        return;
    c->told_limits |= 1u << limit;
    hak_conf_tell(c, HAK_DIAG_ERROR, where, "too many %s; at most %u%s",
                  limits[limit].noun, limits[limit].most,
                  limit == CONF_LIMIT_BOXES
                      ? ", for which each thread has room; leave out those "
                        "that no route leads to"
                      : "");
}

void conf_tell_key(struct hak_conf *c, const struct hak_conf_entry *e,
                   struct conf_vocabulary a, struct conf_vocabulary b)
{
    const char *names[CONF_CANDIDATES] = {NULL};
    char mean[CONF_ITEM_BYTES];
    uint32_t n = 0;
    for (uint32_t i = 0; i < a.n + b.n && n < CONF_CANDIDATES; i++)
        names[n++] = i < a.n ? a.keys[i].name : b.keys[i - a.n].name;
    conf_did_you_mean(mean, sizeof mean, e->key, names, n);
    hak_conf_tell(c, HAK_DIAG_ERROR, e->origin, "unknown key \"%s\" in [%s]%s",
                  e->key, e->section, mean);
}

/* ---- entries ------------------------------------------------------------- */

const char *conf_intern(struct hak_conf *c, const char *text, size_t n)
{
    if (n >= sizeof c->text - c->text_used) {
        conf_tell_limit(c, (struct hak_origin){c->file, 0}, CONF_LIMIT_TEXT);
        return NULL;
    }
    char *kept = c->text + c->text_used;
    memcpy(kept, text, n);
    kept[n] = 0;
    c->text_used += n + 1;
    return kept;
}

/* strcmp with a test of the first character before it. Each lookup compares
 * with all entries, and most of these differ in the first character. */
static bool is_same(const char *a, const char *b)
{
    return a[0] == b[0] && strcmp(a, b) == 0;
}

const struct hak_conf_entry *hak_conf_find(const struct hak_conf *c,
                                           const char *section, const char *key)
{
    for (uint32_t i = 0; i < c->nentries; i++)
        if (is_same(c->entry[i].key, key) &&
            is_same(c->entry[i].section, section))
            return &c->entry[i];
    return NULL;
}

struct hak_origin hak_conf_origin(const struct hak_conf *c, const char *section,
                                  const char *key)
{
    const struct hak_conf_entry *e = hak_conf_find(c, section, key);
    return e != NULL ? e->origin : (struct hak_origin){"built-in", 0};
}

void conf_give(struct hak_conf *c, const struct hak_conf_entry *e)
{
    if (e->section == NULL || e->key == NULL || e->value == NULL)
        return; /* no room for its text, which was reported */
    const struct hak_conf_entry *old = hak_conf_find(c, e->section, e->key);
    if (old == NULL && c->nentries == HAK_CONF_ENTRIES)
        conf_tell_limit(c, e->origin, CONF_LIMIT_ENTRIES);
    else if (old == NULL)
        c->entry[c->nentries++] = *e;
    else if (old->layer != e->layer)
        c->entry[old - c->entry] = *e;
    else if (e->layer != HAK_LAYER_ENVIRONMENT) /* whose first one wins */
        hak_conf_tell(c, HAK_DIAG_ERROR, e->origin,
                      "\"%s\" given twice in [%s]; first in line %d", e->key,
                      e->section, old->origin.line);
}

/* ---- checks -------------------------------------------------------------- */

int conf_check_value(struct hak_conf *c, const struct hak_conf_entry *e,
                     const struct hak_param *param, union hak_value *out)
{
    char why[CONF_TOLD_BYTES];
    int rc = hak_conf_param(param, e->value, out, why, sizeof why);
    if (rc != 0)
        hak_conf_tell(c, HAK_DIAG_ERROR, e->origin, "\"%s\" in [%s]: %s",
                      e->key, e->section, why);
    return rc;
}

/* A relative path would lead elsewhere once the program changes its working
 * directory. */
static void check_socket(struct hak_conf *c, const struct hak_conf_entry *e)
{
    if (strcmp(e->value, "none") != 0 && strcmp(e->value, "auto") != 0 &&
        e->value[0] != '/')
        hak_conf_tell(c, HAK_DIAG_ERROR, e->origin,
                      "\"socket\" in [control]: \"%s\" is none of none, auto "
                      "and an absolute path, as in /run/app/%%p.sock",
                      e->value);
}

static void check_absolute(struct hak_conf *c, const struct hak_conf_entry *e)
{
    if (strcmp(e->value, "none") != 0 && e->value[0] != '/')
        hak_conf_tell(c, HAK_DIAG_ERROR, e->origin,
                      "\"%s\" in [%s]: \"%s\" is neither none nor an absolute "
                      "path",
                      e->key, e->section, e->value);
}

void conf_check(struct hak_conf *c, const struct hak_conf_entry *e)
{
    struct conf_vocabulary v = conf_vocabulary(e->section);
    const struct hak_param *param = conf_key(v, e->key);
    union hak_value value;
    if (strcmp(e->section, "policy") == 0)
        conf_check_rule(c, e);
    else if (param == NULL && conf_name(e->section, "box") != NULL)
        return; /* a parameter of the box: hak_conf_params() checks it */
    else if (param == NULL)
        conf_tell_key(c, e, v, (struct conf_vocabulary){NULL, 0});
    else if (conf_name(e->section, "route") != NULL)
        conf_check_route(c, e);
    else if (strcmp(e->key, "sample") == 0)
        conf_check_sample(c, e);
    else if (strcmp(e->key, "pressure_file") == 0 ||
             strcmp(e->section, "record") == 0)
        check_absolute(c, e);
    else if (strcmp(e->section, "control") == 0)
        check_socket(c, e);
    else if (strcmp(e->key, "on_signal") == 0)
        conf_check_signal(c, e);
    else if (conf_name(e->section, "rule") != NULL)
        conf_check_learn_rule(c, e);
    else
        conf_check_value(c, e, param, &value);
}

int hak_conf_params(struct hak_conf *c, const struct hak_conf_box *box,
                    const struct hak_param *params, uint32_t n,
                    union hak_value *values)
{
    struct conf_vocabulary own = {params, n};
    uint32_t before = c->nerrors;
    for (uint32_t i = 0; i < n; i++) {
        if (params[i].type == HAK_PARAM_TEXT ||
            params[i].type == HAK_PARAM_CALL)
            values[i].text = params[i].def_text;
        else
            values[i].i = params[i].def;
    }
    for (uint32_t i = 0; i < c->nentries; i++) {
        const struct hak_conf_entry *e = &c->entry[i];
        const char *name = conf_name(e->section, "box");
        if (name == NULL || strcmp(name, box->name) != 0)
            continue;
        struct conf_vocabulary core = conf_vocabulary(e->section);
        const struct hak_param *param = conf_key(own, e->key);
        bool its_path = box->type != NULL && strcmp(e->key, "path") == 0;
        if (conf_key(core, e->key) != NULL && !its_path)
            continue;
        if (param != NULL)
            conf_check_value(c, e, param, &values[param - params]);
        else
            conf_tell_key(c, e, own, core);
    }
    return c->nerrors == before ? 0 : -EINVAL;
}

/* ---- reading ------------------------------------------------------------- */

int hak_conf_read(struct hak_conf *c, const char *path, int fd,
                  char *const *envp, const char *profile, hak_diag_fn *diag,
                  void *diag_context)
{
    memset(c, 0, offsetof(struct hak_conf, section));
    c->sample = -1;
    c->diag = diag;
    c->diag_context = diag_context;
    int rc = conf_read_file(c, path, fd);
    if (rc != 0)
        return rc;
    conf_declare(c);
    for (uint32_t i = 0; i < c->nentries; i++)
        if (conf_name(c->entry[i].section, "profile") == NULL)
            conf_check(c, &c->entry[i]);
    conf_apply_profiles(c, envp, profile);
    conf_apply_environment(c, envp);
    conf_resolve(c);
    conf_resolve_policy(c);
    return c->nerrors == 0 ? 0 : -EINVAL;
}
