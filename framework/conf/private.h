/* SPDX-License-Identifier: MIT
 * private.h - what the files of conf share; see conf.h for the rest.
 *
 *     read.c      the order of things, vocabulary, findings, entries
 *     file.c      file -> lines -> entries of the lowest layer
 *     layers.c    profile and environment -> entries above them
 *     resolve.c   entries -> core settings, boxes, routes
 *     policy.c    [policy] entries -> rules, index by index
 *     learner.c   [learner] and [rule NAME] entries -> rules of the learner
 *     text.c      one text -> one value; knows no struct hak_conf
 *
 * A text is judged once, where it was given (the check functions, which
 * tell); resolving takes what won and passes silently over what is bad.
 */
#ifndef HAKMEM_CONF_PRIVATE_H
#define HAKMEM_CONF_PRIVATE_H

#include <conf/conf.h>
#include <base/text.h>

#include <errno.h>
#include <string.h>

enum {
    CONF_ITEM_BYTES = HAK_CONF_LINE_BYTES + 1,
    CONF_TOLD_BYTES = 512, /* longest text of a finding, with the NUL */
    CONF_CANDIDATES = 64,  /* names looked at for a "did you mean" */
};

/* ---- read.c ------------------------------------------------------------ */

/* The keys that a kind of section takes. */
struct conf_vocabulary {
    const struct hak_param *keys;
    uint32_t n;
};

/* Keys of a section by its name; n == 0: policy, profiles, unknown ones. */
struct conf_vocabulary conf_vocabulary(const char *section);
const struct hak_param *conf_key(struct conf_vocabulary v, const char *key);

/* A copy of text[n] in c->text, or NULL when that is full (told once). */
const char *conf_intern(struct hak_conf *c, const char *text, size_t n);

/* Enter a key; one given before loses to it, or is an error in its layer. */
void conf_give(struct hak_conf *c, const struct hak_conf_entry *e);

enum conf_limit {
    CONF_LIMIT_SECTIONS,
    CONF_LIMIT_ENTRIES,
    CONF_LIMIT_BOXES,
    CONF_LIMIT_ROUTES,
    CONF_LIMIT_RULES,
    CONF_LIMIT_LEARN_RULES,
    CONF_LIMIT_TEXT,
};

/* "too many ..." told at where, once for each limit. */
void conf_tell_limit(struct hak_conf *c, struct hak_origin where,
                     enum conf_limit limit) __attribute__((cold));

/* Judge a key of any layer, no profile's own. */
void conf_check(struct hak_conf *c, const struct hak_conf_entry *e);

/* "box NAME": the name of a declared box or route stands in its section. */
static inline const char *conf_section_of(const char *kind, const char *name)
{
    return name - strlen(kind) - 1;
}

/* The name in a section "KIND NAME", or NULL when it is of another kind. */
const char *conf_name(const char *section, const char *kind);

/* "unknown key" with the nearest of two vocabularies. */
void conf_tell_key(struct hak_conf *c, const struct hak_conf_entry *e,
                   struct conf_vocabulary a, struct conf_vocabulary b)
    __attribute__((cold));

/* Parse e's value by param, telling when it is bad. 0 or -EINVAL. */
int conf_check_value(struct hak_conf *c, const struct hak_conf_entry *e,
                     const struct hak_param *param, union hak_value *out);

/* ---- file.c --------------------------------------------------------- */

/* Read the file into c->text and enter its keys. 0 or -errno, told. */
int conf_read_file(struct hak_conf *c, const char *path, int fd);

/* ---- layer.c -------------------------------------------------------- */

/* Check the keys of all profiles and enter those of the chosen one: name, or
 * if that is NULL, what HAKMEM_PROFILE says. */
void conf_apply_profiles(struct hak_conf *c, char *const *envp,
                         const char *name);

/* Check and enter the keys that HAKMEM_ variables give. */
void conf_apply_environment(struct hak_conf *c, char *const *envp);

/* ---- resolve.c ------------------------------------------------------ */

/* List boxes and routes by name, so that keys can be checked. */
void conf_declare(struct hak_conf *c);
void conf_check_route(struct hak_conf *c, const struct hak_conf_entry *e);
void conf_check_sample(struct hak_conf *c, const struct hak_conf_entry *e);
/* Fill all that the entries decide but the rules. */
void conf_resolve(struct hak_conf *c);

/* Position in c->box or c->route, or -1. */
int conf_find_box(const struct hak_conf *c, const char *name);
int conf_find_route(const struct hak_conf *c, const char *name);

/* "there is no NOUN" of the name that is e's value; boxes and, where asked
 * for, routes, libc and none may have been meant. */
void conf_tell_no_name(struct hak_conf *c, const struct hak_conf_entry *e,
                       const char *noun, bool routes, bool last)
    __attribute__((cold));

/* ---- policy.c ------------------------------------------------------- */

void conf_check_rule(struct hak_conf *c, const struct hak_conf_entry *e);
/* Rules, index_rule, and warnings of what no rule covers or reaches. */
void conf_resolve_policy(struct hak_conf *c);

/* The route named by e's value, or a new one of the box so named; -1: told,
 * here or when e was checked. */
int conf_route_for(struct hak_conf *c, const struct hak_conf_entry *e);

/* ---- learner.c ------------------------------------------------------ */

void conf_check_learn_rule(struct hak_conf *c, const struct hak_conf_entry *e);
/* Fill c->learn_rule. After the routes, since rules may name boxes. */
void conf_resolve_learn_rules(struct hak_conf *c);

/* ---- text.c ---- */

/* ASCII only: the locale of the program must not change what a file says. */
static inline bool conf_is_blank(char ch)
{
    return ch == ' ' || (ch >= '\t' && ch <= '\r');
}

static inline char conf_lower(char ch)
{
    return ch >= 'A' && ch <= 'Z' ? (char)(ch | 0x20) : ch;
}

static inline bool conf_is_word(char ch)
{
    char low = conf_lower(ch);
    return (low >= 'a' && low <= 'z') || (ch >= '0' && ch <= '9');
}

/* text[n] without the blanks at both ends. */
const char *conf_strip(const char *text, size_t *n);

/* text[n] without blanks at both ends, one for each run of blanks inside.
 * Returns the length that it has, which may be more than what fitted. */
size_t conf_join(const char *text, size_t n, char *out, size_t bytes);

/* The next item of a comma list, stripped; false at its end. An item longer
 * than any line is cut. *list starts as the list and is moved. */
bool conf_next_item(const char **list, char item[CONF_ITEM_BYTES]);

/* The first character that is no blank. */
const char *conf_skip_blanks(const char *text);

/* "257-1024", "262145-": the sizes of a run of indexes, added to text. */
void conf_append_sizes(char *text, size_t bytes, uint32_t first, uint32_t last);

/* `; did you mean "x"?` for word in text, or "". */
void conf_did_you_mean(char *text, size_t bytes, const char *word,
                       const char *const *candidates, size_t n)
    __attribute__((cold));

/* Edit distance of two words; UINT_MAX when one is over 63 bytes. */
unsigned conf_distance(const char *a, const char *b);
bool conf_is_near(const char *word, unsigned distance);

#endif
