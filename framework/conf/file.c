/* SPDX-License-Identifier: MIT
 * file.c - reads the INI file and makes an entry of each KEY = VALUE line.
 *
 * inih splits the lines, but it silently accepts many mistakes:
 *   - inih 55 (Debian 12) takes the rest of a line over 199 bytes as a new
 *     line. inih 59 (Debian 13) drops everything after a line that fills its
 *     buffer without a newline.
 *   - Both cut long section names, take an indented line as more of the last
 *     value, accept ':' for '=', and pass on empty keys and values.
 *   - Both return the number of the first bad line only.
 * Therefore next_line() checks each line first and reports its mistakes. inih
 * then gets one clean line, with its newline, for each line of the file.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* strerrordesc_np: no allocation, ignores the locale */
#endif
#include <conf/private.h>

#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <unistd.h>
#include <string.h>
#include <errno.h>

struct lines {
    struct hak_conf *c;
    const char *next, *end; /* bytes not yet read */
    int line;               /* number of the current line */
    const char *section;    /* of the current line; NULL: none, or a bad one */
    bool in_bad_section;    /* skip its keys: one error was reported already */
};

static struct hak_origin this_line(const struct lines *l)
{
    return (struct hak_origin){l->c->file, l->line};
}

/* ---- sections ------------------------------------------------------------ */

struct kind {
    char word[16];
    bool named;
};
enum { NKINDS = 12 };
static const struct kind kinds[NKINDS] = {
    {"core", false},    {"stats", false},        {"policy", false},
    {"box", true},      {"route", true},         {"profile", true},
    {"learner", false}, {"rule", true},          {"call", true},
    {"control", false}, {"heap_profile", false}, {"record", false},
};

static void tell_unknown_section(const struct lines *l, const char *name,
                                 const char *word)
{
    const char *words[NKINDS];
    char mean[CONF_ITEM_BYTES] = "";
    for (size_t i = 0; i < NKINDS; i++)
        words[i] = kinds[i].word;
    const char *near = hak_conf_nearest(word, words, NKINDS);
    const char *rest = name + strlen(word);
    for (size_t i = 0; near == NULL && i < NKINDS; i++)
        if (words[i][0] == word[0] && conf_distance(words[i], word) <= 2)
            near = words[i]; /* few kinds: any distance of 2 is near enough */
    if (near != NULL)        /* repeat the NAME of [KIND NAME] in the hint */
        snprintf(mean, sizeof mean, "; did you mean [%s%s]?", near, rest);
    hak_conf_tell(l->c, HAK_DIAG_ERROR, this_line(l), "unknown section [%s]%s",
                  name, mean);
}

static bool is_name(const char *name)
{
    while (conf_is_word(*name) || *name == '_' || *name == '-')
        name++;
    return *name == 0;
}

/* Whether "KIND" or "KIND NAME" is a valid section. If not, report why. */
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
        hak_conf_tell(c, HAK_DIAG_ERROR, this_line(l),
                      "[%s] needs a name: [%s NAME]", word, word);
    else if (!kind->named && own_name != NULL)
        hak_conf_tell(c, HAK_DIAG_ERROR, this_line(l), "[%s] takes no name",
                      word);
    else if (own_name != NULL && !is_name(own_name))
        hak_conf_tell(c, HAK_DIAG_ERROR, this_line(l),
                      "\"%s\" is not a name: a-z A-Z 0-9 _ -", own_name);
    else if (own_name != NULL &&
             (strcmp(own_name, "libc") == 0 || strcmp(own_name, "none") == 0))
        hak_conf_tell(c, HAK_DIAG_ERROR, this_line(l),
                      "\"%s\" is taken: a fallback may say it", own_name);
    else
        return true;
    return false;
}

/* Copy the text between [ and ] to name. False: it is bad, and was reported. */
static bool section_name(const struct lines *l, const char *text, size_t n,
                         char name[HAK_CONF_NAME_BYTES + 1])
{
    const char *close = memchr(text, ']', n);
    size_t length = 0;
    if (close == text + n - 1)
        length = conf_join(text + 1, n - 2, name, HAK_CONF_NAME_BYTES + 1);
    if (close == NULL)
        hak_conf_tell(l->c, HAK_DIAG_ERROR, this_line(l),
                      "no \"]\" in \"%.*s\"", (int)n, text);
    else if (close != text + n - 1)
        hak_conf_tell(l->c, HAK_DIAG_ERROR, this_line(l),
                      "text after the \"]\" in \"%.*s\"", (int)n, text);
    else if (length > HAK_CONF_NAME_BYTES)
        hak_conf_tell(l->c, HAK_DIAG_ERROR, this_line(l),
                      "section name of %zu bytes; at most %d", length,
                      HAK_CONF_NAME_BYTES);
    else
        return true;
    return false;
}

/* Add a section to c->section and return its stored name. A name that is there
 * already is reported and returned. NULL: there is no room, which was
 * reported. */
static const char *enter_section(struct lines *l, const char *name)
{
    struct hak_conf *c = l->c;
    for (uint32_t i = 0; i < c->nsections; i++) {
        if (strcmp(c->section[i].name, name) == 0) {
            hak_conf_tell(c, HAK_DIAG_ERROR, this_line(l),
                          "[%s] given twice; first in line %d", name,
                          c->section[i].line);
            return c->section[i].name;
        }
    }
    if (c->nsections == HAK_CONF_SECTIONS) {
        conf_tell_limit(c, this_line(l), CONF_LIMIT_SECTIONS);
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

/* Cut the comment and the blanks at both ends off text[*n]. Returns the new
 * start; *n becomes the new length. */
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

/* Whether inih gets this line. Section lines are opened here and kept from it;
 * bad lines are reported. */
static bool check_line(struct lines *l, const char *text, size_t n)
{
    size_t key = 0;
    while (key < n && text[key] != '=' && text[key] != ':')
        key++;
    if (n > HAK_CONF_LINE_BYTES)
        hak_conf_tell(l->c, HAK_DIAG_ERROR, this_line(l),
                      "line of %zu bytes, comment not counted; at most %d", n,
                      HAK_CONF_LINE_BYTES);
    else if (n > 0 && *text == '[')
        open_section(l, text, n);
    else if (key < n && text[key] == ':')
        hak_conf_tell(l->c, HAK_DIAG_ERROR, this_line(l),
                      "\":\" in \"%.*s\"; keys and values are parted by \"=\"",
                      (int)n, text);
    else if (n > 0 && key == n)
        hak_conf_tell(l->c, HAK_DIAG_ERROR, this_line(l),
                      "no \"=\" in \"%.*s\"", (int)n, text);
    else
        return true;
    return false;
}

/* The reader for inih: give it the next line of the file, stripped, or an empty
 * line where inih must not see the line. */
static char *next_line(char *out, int bytes, void *stream)
{
    struct lines *l = stream;
    if (l->next >= l->end)
        return NULL;
    size_t n = (size_t)(l->end - l->next);
    const char *text = l->next, *newline = memchr(text, '\n', n);
    n = newline != NULL ? (size_t)(newline - text) : n;
    l->next = newline != NULL ? newline + 1 : l->end;
    l->line++;
    if (memchr(text, 0, n) != NULL) {
        hak_conf_tell(l->c, HAK_DIAG_ERROR, this_line(l),
                      "NUL byte, so no text file; the rest was not read");
        l->next = l->end;
        n = 0;
    }
    text = strip_line(text, &n);
    if (!check_line(l, text, n) || n + 1 >= (size_t)bytes)
        n = 0;
    memcpy(out, text, n);
    memcpy(out + n, "\n", 2);
    return out;
}

/* The handler for inih, called for each KEY = VALUE. Always returns 1
 * (success), because hak_conf_tell() counts the errors. */
static int take_key(void *user, const char *section, const char *key,
                    const char *value)
{
    (void)section; /* always empty: inih does not see section lines */
    struct lines *l = user;
    struct hak_conf *c = l->c;
    if (l->in_bad_section)
        return 1;
    if (*key == 0)
        hak_conf_tell(c, HAK_DIAG_ERROR, this_line(l),
                      "no key before the \"=\"");
    else if (l->section == NULL)
        hak_conf_tell(c, HAK_DIAG_ERROR, this_line(l),
                      "\"%s\" stands before any [section]", key);
    else if (*value == 0)
        hak_conf_tell(c, HAK_DIAG_ERROR, this_line(l),
                      "empty value for \"%s\" in [%s]", key, l->section);
    else
        conf_give(c, &(struct hak_conf_entry){
                         .section = l->section,
                         .key = conf_intern(c, key, strlen(key)),
                         .value = conf_intern(c, value, strlen(value)),
                         .origin = this_line(l),
                         .layer = HAK_LAYER_FILE});
    return 1;
}

static void parse_lines(struct hak_conf *c, const char *text, size_t n)
{
    static const char bom[] = "\xef\xbb\xbf";
    bool has_bom = n >= sizeof bom - 1 && memcmp(text, bom, 3) == 0;
    struct lines l = {
        .c = c, .next = text + (has_bom ? sizeof bom - 1 : 0), .end = text + n};
    uint32_t before = c->nerrors;
    int rc = ini_parse_stream(next_line, &l, take_key, &l);
    if (rc != 0 && l.c->nerrors == before)
        hak_conf_tell(c, HAK_DIAG_ERROR,
                      (struct hak_origin){c->file, rc > 0 ? rc : 0},
                      "not understood (inih: %d)", rc);
}

/* ---- the file ------------------------------------------------------------ */

/* Read the file into text, which has room for one byte more than a file may
 * have. Returns the number of bytes, or -errno; -EFBIG: the file is larger. */
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
    c->text_used += (size_t)n;
    parse_lines(c, text, (size_t)n);
    return 0;
}
