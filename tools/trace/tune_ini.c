/* SPDX-License-Identifier: MIT
 * tune_ini.c - writes a choice as an INI: the text of the base, in which lines
 * are changed and added.
 *
 * Comments of the base stay. A line that is changed keeps the comment behind
 * it, and has above it what the change is good for.
 */
#include "tune.h"
#include "../hakctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the base ------------------------------------------------------------ */

static void split(struct tune_base_ini *base)
{
    char *at = base->text;
    while (*at != 0) {
        base->line =
            tune_room(base->line, base->nlines + 1, sizeof *base->line);
        base->line[base->nlines++] = at;
        at += strcspn(at, "\n");
        if (*at == '\n')
            *at++ = 0;
    }
}

int tune_base_read(struct tune_base_ini *base, const struct hak_conf *conf)
{
    struct stat s;
    *base = (struct tune_base_ini){.path = conf->file, .conf = conf};
    int fd = open(conf->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &s) != 0) {
        int error = -errno;
        if (fd >= 0)
            close(fd);
        return error;
    }
    base->text = tune_room(NULL, HAK_CONF_FILE_BYTES + 1, 1);
    ssize_t n = read(fd, base->text, HAK_CONF_FILE_BYTES);
    base->text[n > 0 ? n : 0] = 0;
    close(fd);
    split(base);
    return n < 0 ? -EIO : 0;
}

void tune_base_forget(struct tune_base_ini *base)
{
    free(base->text);
    free(base->line);
}

/* ---- lines that differ --------------------------------------------------- */

/* What becomes of the base: texts above each line, in its place, and below it;
 * below line 0 means the end of the file. */
struct draft {
    const struct tune_base_ini *base;
    char **above, **instead, **below;
    bool *gone;
};

/* Append to an allocated text. */
__attribute__((format(printf, 2, 3))) static void
append(char **text, const char *format, ...)
{
    char *more = NULL, *whole = NULL;
    va_list ap;
    va_start(ap, format);
    int n = vasprintf(&more, format, ap);
    va_end(ap);
    if (n < 0 || asprintf(&whole, "%s%s", *text != NULL ? *text : "", more) < 0)
        ctl_die("no memory");
    free(more);
    free(*text);
    *text = whole;
}

/* Append a comment, in lines of up to 79 columns. */
static void append_comment(char **text, const char *comment)
{
    enum { COLUMNS = 79 };
    size_t column = 0;
    while (comment != NULL && *comment != 0) {
        size_t n = strcspn(comment, " ");
        if (column != 0 && column + 1 + n > COLUMNS) {
            append(text, "\n");
            column = 0;
        }
        append(text, "%s%.*s", column == 0 ? "; " : " ", (int)n, comment);
        column += n + (column == 0 ? 2 : 1);
        comment += n + (comment[n] == ' ');
    }
    if (column != 0)
        append(text, "\n");
}

/* Where the comment behind a line begins, with the blanks before it; the end of
 * the line if there is none. */
static const char *comment_of(const char *line)
{
    const char *c = line;
    while (*c != 0 && !((*c == ';' || *c == '#') &&
                        (c == line || c[-1] == ' ' || c[-1] == '\t')))
        c++;
    if (*c == 0)
        return c;
    while (c > line && (c[-1] == ' ' || c[-1] == '\t'))
        c--;
    return c;
}

/* Put "key = value" in the place of a line; its comment stays where it is, if
 * there is room. */
static void replace(struct draft *d, size_t number, const char *key,
                    const char *value)
{
    const char *old = d->base->line[number - 1];
    const char *comment = comment_of(old);
    size_t blanks = strspn(comment, " \t");
    size_t column = (size_t)(comment - old) + blanks;
    size_t length = strlen(key) + 3 + strlen(value);
    append(&d->instead[number], "%s = %s", key, value);
    if (comment[blanks] != 0)
        append(&d->instead[number], "%*s%s",
               length < column ? (int)(column - length) : 1, "",
               comment + blanks);
}

static size_t section_line(const struct hak_conf *conf, const char *name)
{
    for (uint32_t i = 0; i < conf->nsections; i++)
        if (strcmp(conf->section[i].name, name) == 0)
            return (size_t)conf->section[i].line;
    return 0;
}

/* Add "key = value" to a section, which is made if it is not there. */
static void add(struct draft *d, const char *section, const char *comment,
                const char *key, const char *value)
{
    size_t number = section_line(d->base->conf, section);
    char **text = &d->below[number];
    char head[HAK_CONF_NAME_BYTES + 8];
    snprintf(head, sizeof head, "[%s]\n", section);
    if (number == 0 && (*text == NULL || strstr(*text, head) == NULL))
        append(text, "\n%s", head);
    append_comment(text, comment);
    if (key != NULL)
        append(text, "%s = %s\n", key, value);
}

static void set_key(struct draft *d, const struct tune_knob *k,
                    const char *value, const char *comment)
{
    const struct hak_conf_entry *e =
        hak_conf_find(d->base->conf, k->section, k->key);
    size_t number = e != NULL ? (size_t)e->origin.line : 0;
    if (number == 0 || number > d->base->nlines) {
        add(d, k->section, comment, k->key, value);
        return;
    }
    append_comment(&d->above[number], comment);
    replace(d, number, k->key, value);
}

/* ---- [policy] ------------------------------------------------------------ */

/* The size indexes of which a choice changes the route. */
struct changed {
    bool index[HAK_LANES + 1];
};

static void add_range(char **text, uint32_t first, uint32_t last)
{
    char range[64];
    tune_range_text(first, last, range, sizeof range);
    append(text, "%s%s", *text != NULL ? "," : "", range);
}

/* What of a line of [policy] is left, as its key; NULL: nothing. Allocated. */
static char *what_is_left(const struct hak_conf *conf,
                          const struct changed *changed, int line)
{
    char *text = NULL;
    bool left[HAK_LANES + 2] = {false};
    for (uint32_t r = 0; r < conf->nrules; r++) {
        const struct hak_conf_rule *rule = &conf->rule[r];
        for (uint32_t i = rule->first_index; i <= rule->last_index; i++)
            left[i] |=
                !rule->claim && rule->origin.line == line && !changed->index[i];
    }
    for (uint32_t i = 0; i <= HAK_LANES; i++) {
        uint32_t first = i;
        if (!left[i])
            continue;
        while (left[i + 1])
            i++;
        add_range(&text, first, i);
    }
    return text;
}

/* Take what has changed out of the lines of the base. */
static void narrow(struct draft *d, const struct changed *changed)
{
    const struct hak_conf *conf = d->base->conf;
    for (uint32_t i = 0; i <= HAK_LANES; i++) {
        if (!changed->index[i])
            continue;
        const struct hak_conf_rule *rule = &conf->rule[conf->index_rule[i]];
        size_t number = (size_t)rule->origin.line;
        if (d->gone[number] || d->instead[number] != NULL)
            continue;
        char *key = what_is_left(conf, changed, rule->origin.line);
        if (key != NULL)
            replace(d, number, key, conf->route[rule->route].name);
        d->gone[number] = key == NULL;
        free(key);
    }
}

/* A box that the base has no section for needs one. */
static void declare_box(struct draft *d, const char *name)
{
    const struct hak_conf *conf = d->base->conf;
    char section[HAK_CONF_NAME_BYTES + 8];
    for (uint32_t i = 0; i < conf->nroutes; i++)
        if (strcmp(conf->route[i].name, name) == 0)
            return;
    snprintf(section, sizeof section, "box %s", name);
    if (section_line(conf, section) == 0)
        add(d, section, NULL, NULL, NULL);
}

/* Put a new line below the one that had its first sizes. */
static void set_route(struct draft *d, const struct tune_space *s,
                      const struct tune_line *line, const char *name,
                      const char *comment)
{
    char range[64];
    const struct hak_conf *conf = d->base->conf;
    uint32_t first = s->knob[line->first].first;
    const struct hak_conf_rule *rule = &conf->rule[conf->index_rule[first]];
    char **text = &d->below[rule->origin.line];
    tune_range_text(first, s->knob[line->last].last, range, sizeof range);
    append_comment(text, comment);
    append(text, "%s = %s\n", range, name);
    declare_box(d, name);
}

/* ---- the text ------------------------------------------------------------ */

static void draft_line(struct draft *d, const struct tune_space *s,
                       const struct tune_choice *c,
                       const struct tune_line *line, const char *comment,
                       struct changed *changed)
{
    const struct tune_knob *k = &s->knob[line->first];
    const char *value = k->value[c->at[line->first]];
    if (!k->route) {
        set_key(d, k, value, comment);
        return;
    }
    for (size_t i = line->first; i <= line->last; i++)
        for (uint32_t x = s->knob[i].first; x <= s->knob[i].last; x++)
            changed->index[x] = true;
    set_route(d, s, line, value, comment);
}

/* Paths that are relative to the folder of the base are made absolute. */
static void settle_paths(struct draft *d)
{
    const struct hak_conf *conf = d->base->conf;
    for (uint32_t i = 0; i < conf->nentries; i++) {
        const struct hak_conf_entry *e = &conf->entry[i];
        char *whole = NULL, *value = NULL, *folder;
        if (strncmp(e->section, "box ", 4) != 0 ||
            strcmp(e->key, "path") != 0 || e->value[0] == '/' ||
            strchr(e->value, '/') == NULL || e->origin.line == 0)
            continue;
        whole = ctl_absolute(d->base->path);
        folder = strrchr(whole, '/');
        *folder = 0;
        append(&value, "%s/%s", whole, e->value);
        if (access(value, F_OK) == 0)
            replace(d, (size_t)e->origin.line, e->key, value);
        free(value);
        free(whole);
    }
}

static bool is_comment(const char *line)
{
    return line[0] == ';' || line[0] == '#';
}

/* Leave section i out, with the comments above it. What is above the next
 * section belongs to that. */
static void drop_section(struct draft *d, uint32_t i)
{
    const struct hak_conf *conf = d->base->conf;
    size_t first = (size_t)conf->section[i].line, last = d->base->nlines;
    if (i + 1 < conf->nsections) {
        last = (size_t)conf->section[i + 1].line - 1;
        while (last > first && is_comment(d->base->line[last - 1]))
            last--;
    }
    while (first > 1 && is_comment(d->base->line[first - 2]))
        first--;
    for (size_t line = first; line <= last; line++)
        d->gone[line] = true;
}

/* Profiles would change what was tuned. */
static void drop_profiles(struct draft *d)
{
    const struct hak_conf *conf = d->base->conf;
    for (uint32_t i = 0; i < conf->nsections; i++)
        if (strncmp(conf->section[i].name, "profile ", 8) == 0)
            drop_section(d, i);
}

/* The boxes of the base that its lines of [policy] lead to, as bits; without
 * those of sizes that have changed. */
static uint32_t boxes_reached(const struct hak_conf *conf,
                              const struct changed *changed)
{
    uint32_t boxes = 0;
    for (uint32_t i = 0; i <= HAK_LANES; i++) {
        int16_t at = conf->index_rule[i];
        if (at < 0 || (changed != NULL && changed->index[i]))
            continue;
        const struct hak_conf_route *r = &conf->route[conf->rule[at].route];
        for (uint32_t k = 0; k < r->nchain; k++)
            boxes |= UINT32_C(1) << r->chain[k];
    }
    return boxes;
}

/* Does a key of the base name the box, as `fallback` may? */
static bool is_named(const struct hak_conf *conf, const char *box)
{
    for (uint32_t i = 0; i < conf->nentries; i++)
        if (strcmp(conf->entry[i].section, "policy") != 0 &&
            strcmp(conf->entry[i].value, box) == 0)
            return true;
    return false;
}

/* Does a changed line of [policy] name the box? */
static bool is_chosen(const struct tune_space *s, const struct tune_choice *c,
                      const char *box)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->knob[i].route && strcmp(s->knob[i].value[c->at[i]], box) == 0)
            return true;
    return false;
}

/* Leave out boxes of the base that nothing leads to any more. */
static void drop_boxes(struct draft *d, const struct tune_space *s,
                       const struct tune_choice *c,
                       const struct changed *changed)
{
    const struct hak_conf *conf = d->base->conf;
    uint32_t lost = boxes_reached(conf, NULL) & ~boxes_reached(conf, changed);
    for (uint32_t i = 0; i < conf->nboxes; i++) {
        const char *name = conf->box[i].name;
        if (!(lost >> i & 1) || is_named(conf, name) || is_chosen(s, c, name))
            continue;
        for (uint32_t k = 0; k < conf->nsections; k++)
            if (strncmp(conf->section[k].name, "box ", 4) == 0 &&
                strcmp(conf->section[k].name + 4, name) == 0)
                drop_section(d, k);
    }
}

static char *put_together(const struct draft *d, const char *head)
{
    char *text = NULL;
    size_t bytes, n = d->base->nlines;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        ctl_die("no memory");
    fputs(head != NULL ? head : "", out);
    for (size_t i = 1; i <= n; i++) {
        const char *line =
            d->instead[i] != NULL ? d->instead[i] : d->base->line[i - 1];
        if (!d->gone[i])
            fprintf(out, "%s%s\n", d->above[i] != NULL ? d->above[i] : "",
                    line);
        fputs(d->below[i] != NULL ? d->below[i] : "", out);
    }
    fputs(d->below[0] != NULL ? d->below[0] : "", out);
    if (fclose(out) != 0)
        ctl_die("no memory");
    return text;
}

static void draft_forget(struct draft *d)
{
    for (size_t i = 0; i <= d->base->nlines; i++) {
        free(d->above[i]);
        free(d->instead[i]);
        free(d->below[i]);
    }
    free(d->above);
    free(d->instead);
    free(d->below);
    free(d->gone);
}

static void draft_begin(struct draft *d, const struct tune_base_ini *base)
{
    size_t n = base->nlines + 1;
    *d = (struct draft){
        base, calloc(n, sizeof *d->above), calloc(n, sizeof *d->instead),
        calloc(n, sizeof *d->below), calloc(n, sizeof *d->gone)};
    if (d->above == NULL || d->instead == NULL || d->below == NULL ||
        d->gone == NULL)
        ctl_die("no memory");
}

char *tune_ini_text(const struct tune_base_ini *base,
                    const struct tune_space *s, const struct tune_choice *c,
                    const char *head, char *const *comment)
{
    struct draft d;
    struct changed changed = {{false}};
    struct tune_line lines[TUNE_KNOBS];
    size_t n = tune_lines(s, c, lines);
    draft_begin(&d, base);
    for (size_t i = 0; i < n; i++)
        draft_line(&d, s, c, &lines[i], comment != NULL ? comment[i] : NULL,
                   &changed);
    narrow(&d, &changed);
    settle_paths(&d);
    drop_profiles(&d);
    drop_boxes(&d, s, c, &changed);
    char *text = put_together(&d, head);
    draft_forget(&d);
    return text;
}
