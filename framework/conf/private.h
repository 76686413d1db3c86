/* SPDX-License-Identifier: MIT
 * private.h - functions that the files of conf/ share; conf.h has the public
 * ones.
 *
 *     read.c      runs the steps below; vocabulary, findings, entries
 *     file.c      file -> lines -> entries of the lowest layer
 *     layers.c    profile and environment -> entries above them
 *     resolve.c   entries -> core settings, boxes, routes
 *     policy.c    [policy] entries -> rules, index by index
 *     learner.c   [learner] and [rule NAME] entries -> rules of the learner
 *     text.c      one text -> one value; does not use struct hak_conf
 *
 * The conf_check functions check each text once, in the layer that gave it, and
 * report what is bad. The resolve functions use the values that won, and skip
 * bad ones silently, since these were reported already.
 */
#ifndef HAKMEM_CONF_PRIVATE_H
#define HAKMEM_CONF_PRIVATE_H

#include <conf/conf.h>
#include <base/text.h>

#include <errno.h>
#include <string.h>

enum {
    CONF_ITEM_BYTES = HAK_CONF_LINE_BYTES + 1,
    CONF_TOLD_BYTES = 512, /* longest text of a finding, NUL included */
    CONF_CANDIDATES = 64,  /* most names that a "did you mean" compares */
};

/* ---- read.c ------------------------------------------------------------ */

/* The keys that one kind of section may have. */
struct conf_vocabulary {
    const struct hak_param *keys;
    uint32_t n;
};

/* The keys of the section with this name. n is 0 for [policy], for profiles and
 * for unknown sections. */
struct conf_vocabulary conf_vocabulary(const char *section);
const struct hak_param *conf_key(struct conf_vocabulary v, const char *key);

/* Copy text[n] to c->text and return the copy. NULL: c->text is full, which is
 * reported once. */
const char *conf_intern(struct hak_conf *c, const char *text, size_t n);

/* Add an entry. It replaces the entry of a lower layer for the same key; a
 * second one in the same layer is an error. */
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

/* Report "too many ..." at `where`, once for each limit. */
void conf_tell_limit(struct hak_conf *c, struct hak_origin where,
                     enum conf_limit limit) __attribute__((cold));

/* Check the name and value of an entry. For a line of a profile, pass the entry
 * that the line sets. */
void conf_check(struct hak_conf *c, const struct hak_conf_entry *e);

/* The section "KIND NAME" of a declared box or route. `name` must be the
 * pointer that conf_name() returned, because it points into that section's
 * name. */
static inline const char *conf_section_of(const char *kind, const char *name)
{
    return name - strlen(kind) - 1;
}

/* The NAME in section "KIND NAME", or NULL if the section has another kind. */
const char *conf_name(const char *section, const char *kind);

/* Report an unknown key, with the nearest name of both vocabularies. */
void conf_tell_key(struct hak_conf *c, const struct hak_conf_entry *e,
                   struct conf_vocabulary a, struct conf_vocabulary b)
    __attribute__((cold));

/* Parse the value of e as param says, and report it if it is bad. Returns 0 or
 * -EINVAL. */
int conf_check_value(struct hak_conf *c, const struct hak_conf_entry *e,
                     const struct hak_param *param, union hak_value *out);

/* ---- file.c --------------------------------------------------------- */

/* Read the file into c->text and add its keys as entries. Returns 0, or -errno
 * if the file could not be read, which is reported. */
int conf_read_file(struct hak_conf *c, const char *path, int fd);

/* ---- layers.c ------------------------------------------------------- */

/* Check the lines of all profiles, and add entries for those of the chosen one.
 * `name` chooses it, or HAKMEM_PROFILE if name is NULL. */
void conf_apply_profiles(struct hak_conf *c, char *const *envp,
                         const char *name);

/* Check the keys that HAKMEM_ variables give, and add them as entries. */
void conf_apply_environment(struct hak_conf *c, char *const *envp);

/* ---- resolve.c ------------------------------------------------------ */

/* Fill c->box and c->route with the names alone, so that keys which name boxes
 * or routes can be checked. */
void conf_declare(struct hak_conf *c);
void conf_check_route(struct hak_conf *c, const struct hak_conf_entry *e);
void conf_check_signal(struct hak_conf *c, const struct hak_conf_entry *e);
void conf_check_sample(struct hak_conf *c, const struct hak_conf_entry *e);
/* Resolve all entries except the rules of [policy] and of the learner. */
void conf_resolve(struct hak_conf *c);

/* The position of the name in c->box or c->route, or -1. */
int conf_find_box(const struct hak_conf *c, const char *name);
int conf_find_route(const struct hak_conf *c, const char *name);

/* Report that there is no NOUN with the name that e has as its value. The
 * nearest box is suggested, or with `routes` the nearest route, or with `last`
 * libc or none. */
void conf_tell_no_name(struct hak_conf *c, const struct hak_conf_entry *e,
                       const char *noun, bool routes, bool last)
    __attribute__((cold));

/* ---- policy.c ------------------------------------------------------- */

void conf_check_rule(struct hak_conf *c, const struct hak_conf_entry *e);
/* Fill c->rule and c->index_rule. Warn of sizes that no rule covers, and of
 * boxes that no rule reaches. */
void conf_resolve_policy(struct hak_conf *c);

/* The position of the route that e's value names. If it names a box, a route of
 * this one box is added. -1: no such name or no room, which was reported. */
int conf_route_for(struct hak_conf *c, const struct hak_conf_entry *e);

/* ---- learner.c ------------------------------------------------------ */

void conf_check_learn_rule(struct hak_conf *c, const struct hak_conf_entry *e);
/* Fill c->learn_rule. Call it after [policy] is resolved: a rule that names a
 * box may add a route. */
void conf_resolve_learn_rules(struct hak_conf *c);

/* ---- text.c --------------------------------------------------------- */

/* These know ASCII only: the program's locale must not change the meaning of a
 * file. */
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

/* Cut the blanks at both ends off text[*n]. Returns the new start; *n becomes
 * the new length. */
const char *conf_strip(const char *text, size_t *n);

/* Copy text[n] to out[bytes], cut to fit, without blanks at both ends and with
 * one blank for each run of blanks inside. Returns the length that the whole
 * result has, even if it was cut. */
size_t conf_join(const char *text, size_t n, char *out, size_t bytes);

/* Copy the next item of a comma list, stripped, to item; it is cut if it is
 * longer than a line may be. Each call moves *list behind the item. False:
 * there are no more items. */
bool conf_next_item(const char **list, char item[CONF_ITEM_BYTES]);

/* The start of text behind its leading blanks. */
const char *conf_skip_blanks(const char *text);

/* Append the sizes of the indexes first to last, as "257-1024" or "262145-". */
void conf_append_sizes(char *text, size_t bytes, uint32_t first, uint32_t last);

/* Write `; did you mean "x"?` to text, x being the candidate nearest to word,
 * or write "" if none is near. */
void conf_did_you_mean(char *text, size_t bytes, const char *word,
                       const char *const *candidates, size_t n)
    __attribute__((cold));

/* Edit distance of two words; UINT_MAX if one has more than 63 bytes. */
unsigned conf_distance(const char *a, const char *b);
/* Whether a word at this distance is worth suggesting for `word`. */
bool conf_is_near(const char *word, unsigned distance);

#endif
