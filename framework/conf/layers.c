/* SPDX-License-Identifier: MIT
 * layers.c - applies the layers above the file: profile and environment.
 */
#include <conf/gates.h>
#include <conf/private.h>

#include <limits.h>
#include <string.h>

/* Sections whose keys a higher layer may set even if the file lacks them. */
enum { NFIXED = 7 };
static const char *const fixed[NFIXED] = {
    "core", "stats", "learner", "control", "heap_profile", "record", "policy"};

/* The i-th section whose keys a higher layer may set, or NULL if section i is a
 * profile. i is below NFIXED + c->nsections. A fixed section that is also in
 * the file comes twice. */
static const char *section_at(const struct hak_conf *c, uint32_t i)
{
    const char *name = i < NFIXED ? fixed[i] : c->section[i - NFIXED].name;
    return conf_name(name, "profile") == NULL ? name : NULL;
}

/* The section called name that a higher layer may set keys of, or NULL. */
static const char *section_of_name(const struct hak_conf *c, const char *name)
{
    for (uint32_t i = 0; i < NFIXED + c->nsections; i++) {
        const char *section = section_at(c, i);
        if (section != NULL && strcmp(section, name) == 0)
            return section;
    }
    return NULL;
}

/* ---- profile ------------------------------------------------------------- */

static const char *find_section(struct hak_conf *c,
                                const struct hak_conf_entry *e,
                                const char *name)
{
    const char *names[NFIXED + HAK_CONF_SECTIONS];
    char mean[CONF_ITEM_BYTES];
    uint32_t n = NFIXED + c->nsections;
    const char *section = section_of_name(c, name);
    if (section != NULL)
        return section;
    for (uint32_t i = 0; i < n; i++)
        names[i] = section_at(c, i);
    conf_did_you_mean(mean, sizeof mean, name, names, n);
    if (conf_find_box(c, name) >= 0)
        hak_text_join(mean, sizeof mean, "; the key of a box begins \"box ",
                      name, ".\"");
    hak_conf_tell(c, HAK_DIAG_ERROR, e->origin,
                  "\"%s\" in [%s]: there is no [%s]%s", e->key, e->section,
                  name, mean);
    return NULL;
}

/* Turn a profile's line, such as "box ultra.lanes = off", into the entry that
 * it sets, and check it. False: the line is bad, and was reported. */
static bool profile_key(struct hak_conf *c, const struct hak_conf_entry *e,
                        struct hak_conf_entry *out)
{
    char name[CONF_ITEM_BYTES] = "";
    const char *dot = strchr(e->key, '.');
    const char *key = dot != NULL ? conf_skip_blanks(dot + 1) : "";
    if (dot != NULL)
        conf_join(e->key, (size_t)(dot - e->key), name, sizeof name);
    if (*name == 0 || *key == 0) {
        hak_conf_tell(c, HAK_DIAG_ERROR, e->origin,
                      "\"%s\" in [%s] is not SECTION.KEY, like core.verify",
                      e->key, e->section);
        return false;
    }
    const char *section = find_section(c, e, name);
    if (section == NULL)
        return false;
    *out = (struct hak_conf_entry){section, key, e->value, e->origin,
                                   HAK_LAYER_PROFILE};
    conf_check(c, out);
    return true;
}

const char *hak_conf_variable(char *const *envp, const char *name)
{
    size_t n = strlen(name);
    for (; envp != NULL && *envp != NULL; envp++)
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
            return *envp + n + 1;
    return NULL;
}

static void tell_no_profile(struct hak_conf *c, struct hak_origin where,
                            const char *name)
{
    char known[CONF_TOLD_BYTES / 2] = "";
    for (uint32_t i = 0; i < c->nsections; i++) {
        const char *own = conf_name(c->section[i].name, "profile");
        if (own != NULL)
            hak_text_join(known, sizeof known, known, *known ? ", " : "", own);
    }
    hak_conf_tell(c, HAK_DIAG_ERROR, where, "no [profile %s] in %s; %s%s", name,
                  c->file, *known ? "known: " : "it has no profile", known);
}

static const char *choose_profile(struct hak_conf *c, char *const *envp,
                                  const char *name)
{
    struct hak_origin where = {c->file, 0};
    if (name == NULL) {
        name = hak_conf_variable(envp, "HAKMEM_PROFILE");
        where.file = "environment HAKMEM_PROFILE";
    }
    if (name == NULL || *name == 0)
        return NULL;
    for (uint32_t i = 0; i < c->nsections; i++) {
        const char *own = conf_name(c->section[i].name, "profile");
        if (own != NULL && strcmp(own, name) == 0)
            return own;
    }
    tell_no_profile(c, where, name);
    return NULL;
}

void conf_apply_profiles(struct hak_conf *c, char *const *envp,
                         const char *name)
{
    uint32_t n = c->nentries; /* conf_give() appends to this list meanwhile */
    c->profile = choose_profile(c, envp, name);
    for (uint32_t i = 0; i < n; i++) {
        const struct hak_conf_entry *e = &c->entry[i];
        const char *own = conf_name(e->section, "profile");
        struct hak_conf_entry inner;
        if (own != NULL && profile_key(c, e, &inner) && c->profile != NULL &&
            strcmp(own, c->profile) == 0)
            conf_give(c, &inner);
    }
}

/* ---- environment --------------------------------------------------------- */

static const char env_prefix[] = "HAKMEM_";
static const char env_origin[] = "environment ";

static char env_char(char ch)
{
    if (!conf_is_word(ch))
        return '_';
    return ch >= 'a' && ch <= 'z' ? (char)(ch - 'a' + 'A') : ch;
}

/* If text begins with words as the environment spells them, return what follows
 * in text; else NULL. */
static const char *env_skip(const char *text, const char *words)
{
    for (; *words != 0; words++, text++)
        if (*text != env_char(*words))
            return NULL;
    return text;
}

/* The section that text begins with as the environment spells it; the longest
 * one wins. Sets *rest to the text behind the section and its '_'. NULL: there
 * is no such section. */
static const char *env_section(const struct hak_conf *c, const char *text,
                               const char **rest)
{
    const char *best = NULL;
    for (uint32_t i = 0; i < NFIXED + c->nsections; i++) {
        const char *section = section_at(c, i);
        const char *end = section != NULL ? env_skip(text, section) : NULL;
        if (end == NULL || end[0] != '_' || end[1] == 0)
            continue;
        if (best == NULL || strlen(section) > strlen(best)) {
            best = section;
            *rest = end + 1;
        }
    }
    return best;
}

/* The key of section that rest spells, or NULL. Keys of [policy] and parameters
 * of boxes are in no vocabulary, so their names are derived from rest. */
static const char *env_key(struct hak_conf *c, const char *section,
                           const char *rest)
{
    struct conf_vocabulary v = conf_vocabulary(section);
    bool policy = strcmp(section, "policy") == 0;
    char key[CONF_ITEM_BYTES];
    size_t n = strlen(rest);
    for (uint32_t i = 0; i < v.n; i++) {
        const char *end = env_skip(rest, v.keys[i].name);
        if (end != NULL && *end == 0)
            return v.keys[i].name;
    }
    if (n >= sizeof key || (!policy && conf_name(section, "box") == NULL))
        return NULL;
    for (size_t i = 0; i <= n; i++) {
        key[i] = policy ? rest[i] : conf_lower(rest[i]);
        if (policy && rest[i] == '_')
            key[i] = '-';
    }
    return conf_intern(c, key, n);
}

/* ---- gates --------------------------------------------------------------- */

/* A row of HAK_GATES (gates.h): the key that a gate sets. */
struct gate {
    char variable[24]; /* without the HAKMEM_ */
    char section[16], key[20];
    char when_on[8]; /* value for a gate that is on; "": the gate's value */
};

#define GATE(variable, section, key, value) {variable, section, key, value},
static const struct gate gates[] = {HAK_GATES(GATE)};
enum { NGATES = sizeof gates / sizeof gates[0] };

static bool is_on(const char *value)
{
    static const struct hak_param boolean = {.type = HAK_PARAM_BOOL};
    union hak_value v = {0};
    return hak_conf_param(&boolean, value, &v, NULL, 0) == 0 && v.i != 0;
}

static void set_from_environment(struct hak_conf *c, const char *section,
                                 const char *key, const char *value,
                                 struct hak_origin where)
{
    struct hak_conf_entry e = {section, key, value, where,
                               HAK_LAYER_ENVIRONMENT};
    conf_check(c, &e);
    conf_give(c, &e);
}

/* Set what gate `word` sets, from its value. False: there is no such gate. */
static bool apply_gate(struct hak_conf *c, const char *word, const char *value,
                       struct hak_origin where)
{
    const char *told = NULL;
    bool found = false;
    for (uint32_t g = 0; g < NGATES; g++) {
        if (strcmp(word, gates[g].variable) != 0)
            continue;
        const char *section = section_of_name(c, gates[g].section);
        if (section == NULL && !found)
            told = gates[g].section;
        else if (section != NULL && *gates[g].when_on == 0)
            set_from_environment(c, section, gates[g].key, value, where);
        else if (section != NULL && is_on(value))
            set_from_environment(c, section, gates[g].key, gates[g].when_on,
                                 where);
        found = true;
    }
    if (told != NULL)
        hak_conf_tell(c, HAK_DIAG_NOTE, where, "nothing to set: %s has no [%s]",
                      c->file, told);
    return found;
}

/* ---- variables ----------------------------------------------------------- */

/* The name found so far that is nearest to word. */
struct nearest {
    const char *word;
    unsigned distance;
    char name[CONF_ITEM_BYTES];
};

/* Take the variable for section and key as the best if it is nearer. */
static void keep_if_nearer(struct nearest *best, const char *section,
                           const char *key)
{
    char name[CONF_ITEM_BYTES];
    hak_text_join(name, sizeof name, section, *section ? " " : "", key);
    for (char *at = name; *at != 0; at++)
        *at = env_char(*at);
    unsigned distance = conf_distance(best->word, name);
    if (conf_is_near(best->word, distance) && distance < best->distance) {
        best->distance = distance;
        memcpy(best->name, name, sizeof name);
    }
}

static void tell_variable(struct hak_conf *c, struct hak_origin where,
                          const char *word)
{
    struct nearest best = {word, UINT_MAX, ""};
    keep_if_nearer(&best, "", "conf");
    keep_if_nearer(&best, "", "profile");
    for (uint32_t g = 0; g < NGATES; g++)
        keep_if_nearer(&best, "", gates[g].variable);
    for (uint32_t i = 0; i < NFIXED + c->nsections; i++) {
        const char *section = section_at(c, i);
        if (section == NULL)
            continue;
        struct conf_vocabulary v = conf_vocabulary(section);
        for (uint32_t k = 0; k < v.n; k++)
            keep_if_nearer(&best, section, v.keys[k].name);
    }
    bool found = *best.name != 0;
    hak_conf_tell(c, HAK_DIAG_WARNING, where, "unknown variable%s%s%s%s",
                  found ? "; did you mean \"" : "", found ? env_prefix : "",
                  best.name, found ? "\"?" : "");
}

/* Apply one NAME=VALUE of the environment whose name begins with HAKMEM_. */
static void apply_variable(struct hak_conf *c, const char *text)
{
    char spelt[sizeof env_origin + CONF_ITEM_BYTES];
    const char *equal = strchr(text, '=');
    if (equal == NULL)
        return;
    hak_text_join(spelt, sizeof spelt, env_origin);
    hak_text_add(spelt, sizeof spelt, text, (size_t)(equal - text));
    const char *origin = conf_intern(c, spelt, strlen(spelt));
    const char *value = conf_intern(c, equal + 1, strlen(equal + 1));
    if (origin == NULL || value == NULL)
        return; /* no room, which was reported */
    const char *word = origin + strlen(env_origin) + strlen(env_prefix);
    const char *rest = "";
    const char *section = env_section(c, word, &rest);
    const char *key = section != NULL ? env_key(c, section, rest) : NULL;
    struct hak_origin where = {origin, 0};
    if (apply_gate(c, word, value, where))
        return;
    if (key == NULL)
        tell_variable(c, where, word);
    else if (*value == 0)
        hak_conf_tell(c, HAK_DIAG_ERROR, where,
                      "empty value for \"%s\" in [%s]", key, section);
    else
        set_from_environment(c, section, key, value, where);
}

/* Whether the variable sets no key: it names the file or the profile, or is for
 * the benches. */
static bool sets_no_key(const char *text)
{
    return strncmp(text, "HAKMEM_CONF=", 12) == 0 ||
           strncmp(text, "HAKMEM_PROFILE=", 15) == 0 ||
           strncmp(text, "HAKMEM_BENCH_", 13) == 0;
}

void conf_apply_environment(struct hak_conf *c, char *const *envp)
{
    for (; envp != NULL && *envp != NULL; envp++)
        if (strncmp(*envp, env_prefix, strlen(env_prefix)) == 0 &&
            !sets_no_key(*envp))
            apply_variable(c, *envp);
}
