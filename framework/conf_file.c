/* SPDX-License-Identifier: MIT
 * conf_file.c - the file's bytes to lines to entries.
 *
 * Nothing of a line is cut, joined to another line or passed over silently.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* strerrordesc_np: no allocation, no locale */
#endif
#include "conf_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

struct lines {
    struct hak_conf *c;
    int line;            /* the number of this one */
    const char *section; /* of it, or NULL: none, or a bad one */
    bool in_bad_section; /* its keys are not judged: one error is enough */
};

static struct hak_origin here(const struct lines *l)
{
    return (struct hak_origin){l->c->file, l->line};
}

/* ---- sections ------------------------------------------------------------ */

struct kind {
    char word[8];
    bool named;
};
enum { NKINDS = 9 };
static const struct kind kinds[NKINDS] = {
    {"core", false},    {"stats", false}, {"policy", false},
    {"box", true},      {"route", true},  {"profile", true},
    {"learner", false}, {"rule", true},   {"call", true},
};

static void tell_unknown_section(const struct lines *l, const char *name,
                                 const char *word)
{
    const char *words[NKINDS];
    char mean[CONF_ITEM_BYTES];
    for (size_t i = 0; i < NKINDS; i++)
        words[i] = kinds[i].word;
    conf_did_you_mean(mean, sizeof mean, word, words, NKINDS);
    hak_conf_tell(l->c, HAK_DIAG_ERROR, here(l), "unknown section [%s]%s", name,
                  mean);
}

static bool is_name(const char *name)
{
    while (conf_is_word(*name) || *name == '_' || *name == '-')
        name++;
    return *name == 0;
}

/* Is "KIND" or "KIND NAME" a section? If not, tells why. */
static bool check_section(const struct lines *l, const char *name)
{
    char word[HAK_CONF_NAME_BYTES + 1];
    const char *own_name = strchr(name, ' ');
    const struct kind *kind = NULL;
    hak_text_copy(word, sizeof word, name, hak_text_until(name, ' '));
    own_name = own_name != NULL ? own_name + 1 : NULL;
    for (size_t i = 0; i < NKINDS && kind == NULL; i++)
        kind = strcmp(word, kinds[i].word) == 0 ? &kinds[i] : NULL;

    struct hak_conf *c = l->c;
    if (kind == NULL)
        tell_unknown_section(l, name, word);
    else if (kind->named && own_name == NULL)
        hak_conf_tell(c, HAK_DIAG_ERROR, here(l),
                      "[%s] needs a name: [%s NAME]", word, word);
    else if (!kind->named && own_name != NULL)
        hak_conf_tell(c, HAK_DIAG_ERROR, here(l), "[%s] takes no name", word);
    else if (own_name != NULL && !is_name(own_name))
        hak_conf_tell(c, HAK_DIAG_ERROR, here(l),
                      "\"%s\" is not a name: a-z A-Z 0-9 _ -", own_name);
    else if (own_name != NULL &&
             (strcmp(own_name, "libc") == 0 || strcmp(own_name, "none") == 0))
        hak_conf_tell(c, HAK_DIAG_ERROR, here(l),
                      "\"%s\" is taken: a fallback may say it", own_name);
    else
        return true;
    return false;
}

/* Text between [ and ] to name; false: told. */
static bool section_name(const struct lines *l, const char *text, size_t n,
                         char name[HAK_CONF_NAME_BYTES + 1])
{
    const char *close = memchr(text, ']', n);
    size_t length = 0;
    if (close == text + n - 1)
        length = conf_join(text + 1, n - 2, name, HAK_CONF_NAME_BYTES + 1);
    if (close == NULL)
        hak_conf_tell(l->c, HAK_DIAG_ERROR, here(l), "no \"]\" in \"%.*s\"",
                      (int)n, text);
    else if (close != text + n - 1)
        hak_conf_tell(l->c, HAK_DIAG_ERROR, here(l),
                      "text after the \"]\" in \"%.*s\"", (int)n, text);
    else if (length > HAK_CONF_NAME_BYTES)
        hak_conf_tell(l->c, HAK_DIAG_ERROR, here(l),
                      "section name of %zu bytes; at most %d", length,
                      HAK_CONF_NAME_BYTES);
    else
        return true;
    return false;
}

/* The section's place in c->section, new or (told) given before; or NULL. */
static const char *enter_section(struct lines *l, const char *name)
{
    struct hak_conf *c = l->c;
    for (uint32_t i = 0; i < c->nsections; i++) {
        if (strcmp(c->section[i].name, name) == 0) {
            hak_conf_tell(c, HAK_DIAG_ERROR, here(l),
                          "[%s] given twice; first in line %d", name,
                          c->section[i].line);
            return c->section[i].name;
        }
    }
    if (c->nsections == HAK_CONF_SECTIONS) {
        conf_tell_limit(c, here(l), CONF_LIMIT_SECTIONS);
        return NULL;
    }
    const char *kept = conf_intern(c, name, strlen(name));
    if (kept != NULL)
        c->section[c->nsections++] = (struct hak_conf_section){kept, l->line};
    return kept;
}

static void open_section(struct lines *l, const char *text, size_t n)
{
    char name[HAK_CONF_NAME_BYTES + 1];
    l->section = NULL;
    if (section_name(l, text, n, name) && check_section(l, name))
        l->section = enter_section(l, name);
    l->in_bad_section = l->section == NULL;
}

/* ---- lines --------------------------------------------------------------- */

/* text[n] without the comment and the blanks at both ends. */
static const char *strip_line(const char *text, size_t *n)
{
    bool blank = true;
    for (size_t i = 0; i < *n; i++) {
        if (blank && (text[i] == ';' || text[i] == '#'))
            *n = i;
        else
            blank = conf_is_blank(text[i]);
    }
    return conf_strip(text, n);
}

/* A text of the file, where it was read to, with an end. */
static const char *ended(struct hak_conf *c, const char *text, size_t n)
{
    c->text[(size_t)(text - c->text) + n] = 0;
    return text;
}

static void take_key(struct lines *l, const char *key, size_t key_n,
                     const char *value, size_t value_n)
{
    struct hak_conf *c = l->c;
    key = conf_strip(key, &key_n);
    value = conf_strip(value, &value_n);
    if (l->in_bad_section)
        return;
    if (key_n == 0)
        hak_conf_tell(c, HAK_DIAG_ERROR, here(l), "no key before the \"=\"");
    else if (l->section == NULL)
        hak_conf_tell(c, HAK_DIAG_ERROR, here(l),
                      "\"%.*s\" stands before any [section]", (int)key_n, key);
    else if (value_n == 0)
        hak_conf_tell(c, HAK_DIAG_ERROR, here(l),
                      "empty value for \"%.*s\" in [%s]", (int)key_n, key,
                      l->section);
    else
        conf_give(c, &(struct hak_conf_entry){.section = l->section,
                                              .key = ended(c, key, key_n),
                                              .value = ended(c, value, value_n),
                                              .origin = here(l),
                                              .layer = HAK_LAYER_FILE});
}

/* A line without its comment. */
static void take_line(struct lines *l, const char *text, size_t n)
{
    size_t key = 0;
    while (key < n && text[key] != '=' && text[key] != ':')
        key++;
    if (n > HAK_CONF_LINE_BYTES)
        hak_conf_tell(l->c, HAK_DIAG_ERROR, here(l),
                      "line of %zu bytes, comment not counted; at most %d", n,
                      HAK_CONF_LINE_BYTES);
    else if (n > 0 && *text == '[')
        open_section(l, text, n);
    else if (key < n && text[key] == ':')
        hak_conf_tell(l->c, HAK_DIAG_ERROR, here(l),
                      "\":\" in \"%.*s\"; keys and values are parted by \"=\"",
                      (int)n, text);
    else if (n > 0 && key == n)
        hak_conf_tell(l->c, HAK_DIAG_ERROR, here(l), "no \"=\" in \"%.*s\"",
                      (int)n, text);
    else if (n > 0)
        take_key(l, text, key, text + key + 1, n - key - 1);
}

/* text[n], in c->text, has a byte behind it. */
static void parse(struct hak_conf *c, const char *text, size_t n)
{
    static const char bom[] = "\xef\xbb\xbf";
    const char *end = text + n, *nul = memchr(text, 0, n);
    struct lines l = {.c = c};
    if (n >= sizeof bom - 1 && memcmp(text, bom, sizeof bom - 1) == 0)
        text += sizeof bom - 1;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        n = (size_t)((newline != NULL ? newline : end) - text);
        l.line++;
        if (nul != NULL && nul < text + n) {
            hak_conf_tell(c, HAK_DIAG_ERROR, here(&l),
                          "NUL byte, so no text file; the rest was not read");
            return;
        }
        size_t stripped_n = n;
        const char *stripped = strip_line(text, &stripped_n);
        take_line(&l, stripped, stripped_n);
        text += n + 1;
    }
}

/* ---- the file ------------------------------------------------------------ */

/* Bytes read into text, one more than a file may have if there are; -errno. */
static ssize_t read_bytes(int fd, char *text)
{
    size_t n = 0;
    while (n <= HAK_CONF_FILE_BYTES) {
        ssize_t got = read(fd, text + n, HAK_CONF_FILE_BYTES + 1 - n);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    return n > HAK_CONF_FILE_BYTES ? -EFBIG : (ssize_t)n;
}

static int tell_unread(struct hak_conf *c, const char *what, int error)
{
    struct hak_origin file = {c->file, 0};
    const char *text = strerrordesc_np(error);
    if (error == EISDIR)
        hak_conf_tell(c, HAK_DIAG_ERROR, file, "is a directory, not a file");
    else if (error == EFBIG)
        hak_conf_tell(c, HAK_DIAG_ERROR, file, "is larger than %d bytes",
                      HAK_CONF_FILE_BYTES);
    else
        hak_conf_tell(c, HAK_DIAG_ERROR, file, "cannot %s: %s", what,
                      text != NULL ? text : "unknown error");
    return -error;
}

int conf_read_file(struct hak_conf *c, const char *path, int fd)
{
    c->file = conf_intern(c, path, strlen(path));
    if (c->file == NULL || c->text_used + HAK_CONF_FILE_BYTES >= sizeof c->text)
        return tell_unread(c, "open", ENAMETOOLONG);
    int own = fd < 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 && own < 0)
        return tell_unread(c, "open", errno);
    char *text = c->text + c->text_used;
    ssize_t n = read_bytes(fd < 0 ? own : fd, text);
    if (own >= 0)
        close(own);
    if (n < 0)
        return tell_unread(c, "read", (int)-n);
    c->text_used += (size_t)n + 1;
    parse(c, text, (size_t)n);
    return 0;
}
