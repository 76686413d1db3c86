/* SPDX-License-Identifier: MIT
 * tune_choice.c - choices: what they differ in from the base, and their names.
 *
 * Two choices that make the same INI are equal byte by byte: changes without an
 * effect are taken back as soon as they are made.
 */
#include "tune.h"
#include "../hakctl.h"

#include <base/classes.h>

#include <stdlib.h>

/* ---- choices ------------------------------------------------------------- */

struct tune_choice tune_base(const struct tune_space *s)
{
    struct tune_choice c = {{0}};
    for (size_t i = 0; i < s->n; i++)
        c.at[i] = s->knob[i].usual;
    return c;
}

bool tune_same(const struct tune_space *s, const struct tune_choice *a,
               const struct tune_choice *b)
{
    return memcmp(a->at, b->at, s->n) == 0;
}

/* The boxes that some route leads to. */
static uint32_t boxes_in_use(const struct tune_space *s,
                             const struct tune_choice *c)
{
    uint32_t boxes = s->always;
    for (size_t i = 0; i < s->n; i++)
        if (s->knob[i].route)
            boxes |= s->knob[i].leads_to[c->at[i]];
    return boxes;
}

bool tune_is_idle(const struct tune_space *s, const struct tune_choice *c,
                  size_t knob)
{
    uint32_t of_box = s->knob[knob].of_box;
    return of_box != 0 && (boxes_in_use(s, c) & of_box) == 0;
}

static void take_idle_back(const struct tune_space *s, struct tune_choice *c)
{
    uint32_t boxes = boxes_in_use(s, c);
    for (size_t i = 0; i < s->n; i++)
        if (s->knob[i].of_box != 0 && (boxes & s->knob[i].of_box) == 0)
            c->at[i] = s->knob[i].usual;
}

struct tune_choice tune_moved(const struct tune_space *s,
                              const struct tune_choice *from,
                              const struct tune_move *move)
{
    struct tune_choice c = *from;
    for (size_t i = 0; i < move->n; i++)
        c.at[move->part[i].knob] = move->part[i].value;
    take_idle_back(s, &c);
    return c;
}

struct tune_choice tune_joined(const struct tune_space *s,
                               const struct tune_choice *b,
                               const struct tune_choice *a)
{
    struct tune_choice c = *b;
    for (size_t i = 0; i < s->n; i++)
        if (a->at[i] != s->knob[i].usual)
            c.at[i] = a->at[i];
    take_idle_back(s, &c);
    return c;
}

/* ---- moves --------------------------------------------------------------- */

struct tune_move *tune_add_move(struct tune_space *s)
{
    s->move = reallocarray(s->move, s->nmoves + 1, sizeof *s->move);
    if (s->move == NULL)
        ctl_die("no memory");
    s->move[s->nmoves].n = 0;
    return &s->move[s->nmoves++];
}

void tune_add_part(struct tune_move *move, size_t knob, size_t value)
{
    if (move->n == TUNE_PARTS)
        return;
    move->part[move->n].knob = (uint8_t)knob;
    move->part[move->n++].value = (uint8_t)value;
}

/* ---- lines --------------------------------------------------------------- */

static bool is_changed(const struct tune_space *s, const struct tune_choice *c,
                       size_t i)
{
    return c->at[i] != s->knob[i].usual;
}

/* Does knob i + 1 go on the line of knob i? */
static bool goes_on(const struct tune_space *s, const struct tune_choice *c,
                    size_t i)
{
    if (i + 1 == s->n || !is_changed(s, c, i + 1))
        return false;
    const struct tune_knob *a = &s->knob[i], *b = a + 1;
    return a->route && b->route && a->last + 1 == b->first &&
           strcmp(a->value[c->at[i]], b->value[c->at[i + 1]]) == 0;
}

size_t tune_lines(const struct tune_space *s, const struct tune_choice *c,
                  struct tune_line *lines)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!is_changed(s, c, i))
            continue;
        lines[n].first = i;
        while (goes_on(s, c, i))
            i++;
        lines[n++].last = i;
    }
    return n;
}

struct tune_choice tune_without(const struct tune_space *s,
                                const struct tune_choice *c,
                                const struct tune_line *line)
{
    struct tune_choice less = *c;
    for (size_t i = line->first; i <= line->last; i++)
        less.at[i] = s->knob[i].usual;
    take_idle_back(s, &less);
    return less;
}

/* ---- texts --------------------------------------------------------------- */

/* The least request of a size index, and the largest, as in [policy]. */
static void bytes_text(char *text, size_t room, size_t bytes)
{
    bool kib = bytes >= 1024 && bytes % 1024 == 0;
    snprintf(text, room, kib ? "%zuk" : "%zu", kib ? bytes / 1024 : bytes);
}

void tune_range_text(uint32_t first, uint32_t last, char *text, size_t bytes)
{
    uint32_t a = hak_class_of_index(first), b = hak_class_of_index(last);
    bool begins = first == 0 || hak_class_of_index(first - 1) != a;
    bool ends = last != HAK_INDEX_LARGE && hak_class_of_index(last + 1) != b;
    char low[24], high[24] = "";
    if (begins && ends && b < HAK_CLASSES) {
        snprintf(text, bytes, a == b ? "C%u" : "C%u-C%u", a, b);
        return;
    }
    snprintf(low, sizeof low, "%zu",
             first == 0 ? 0 : hak_index_bytes(first - 1) + 1);
    if (last != HAK_INDEX_LARGE)
        bytes_text(high, sizeof high, hak_index_bytes(last));
    snprintf(text, bytes, "%s-%s", low, high);
}

void tune_line_text(const struct tune_space *s, const struct tune_choice *c,
                    const struct tune_line *line, char *text, size_t bytes)
{
    const struct tune_knob *k = &s->knob[line->first];
    const char *value = k->value[c->at[line->first]];
    char range[64];
    if (k->route) {
        tune_range_text(k->first, s->knob[line->last].last, range,
                        sizeof range);
        snprintf(text, bytes, "%s = %s", range, value);
    } else {
        snprintf(text, bytes, "%s.%s = %s", k->section, k->key, value);
    }
}

char *tune_choice_text(const struct tune_space *s, const struct tune_choice *c)
{
    struct tune_line lines[TUNE_KNOBS];
    size_t n = tune_lines(s, c, lines), bytes;
    char *text = NULL, line[256];
    FILE *out = open_memstream(&text, &bytes);
    for (size_t i = 0; out != NULL && i < n; i++) {
        tune_line_text(s, c, &lines[i], line, sizeof line);
        fprintf(out, "%s%s", i != 0 ? ", " : "", line);
    }
    if (out != NULL && n == 0)
        fputs("the base", out);
    if (out == NULL || fclose(out) != 0)
        ctl_die("no memory");
    return text;
}

void tune_space_forget(struct tune_space *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->knob[i].section);
        free(s->knob[i].key);
        for (size_t v = 0; v < s->knob[i].n; v++)
            free(s->knob[i].value[v]);
    }
    free(s->move);
}
