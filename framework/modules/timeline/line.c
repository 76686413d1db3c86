/* SPDX-License-Identifier: MIT
 * line.c - a point as a line of JSON, and back; sums of points.
 *
 * One table names the members of a point, and says how two points become one.
 */
#include "timeline.h"

#include <base/text.h>
#include <base/utf8.h>
#include <kit/base.h>

#include <string.h>

/* How a number of two points becomes that of both. */
enum rule {
    RULE_LATE, /* that of the later, if it has one */
    RULE_SUM,
    RULE_MOST,
};

/* The object that a member is in. */
enum group { GROUP_POINT, GROUP_WINDOW, GROUP_MOST };
static const char *const group_names[] = {"", "window", "most"};

struct member {
    const char *name;
    enum rule rule;
    enum group group;
};

#define MEMBER(name, rule, group) [TIMELINE_##name] = {#name, rule, group}
#define MOST(name) [TIMELINE_most_##name] = {#name, RULE_MOST, GROUP_MOST}
static const struct member members[TIMELINE_NUMBERS] = {
    MEMBER(t, RULE_LATE, GROUP_POINT),
    MEMBER(span_ms, RULE_SUM, GROUP_POINT),
    MEMBER(rss, RULE_LATE, GROUP_POINT),
    MEMBER(file, RULE_LATE, GROUP_POINT),
    MEMBER(minflt, RULE_SUM, GROUP_POINT),
    MEMBER(majflt, RULE_SUM, GROUP_POINT),
    MEMBER(libc_allocs, RULE_SUM, GROUP_POINT),
    MEMBER(meta, RULE_LATE, GROUP_POINT),
    MEMBER(used, RULE_LATE, GROUP_WINDOW),
    MEMBER(free, RULE_LATE, GROUP_WINDOW),
    MEMBER(dirty, RULE_LATE, GROUP_WINDOW),
    MEMBER(delay_ms, RULE_LATE, GROUP_WINDOW),
    MEMBER(resident, RULE_LATE, GROUP_WINDOW),
    MEMBER(purged, RULE_SUM, GROUP_POINT),
    MEMBER(purges, RULE_SUM, GROUP_POINT),
    MEMBER(maps, RULE_SUM, GROUP_POINT),
    MEMBER(unmaps, RULE_SUM, GROUP_POINT),
    MOST(rss),
    MOST(live),
    MOST(mapped),
};
static const struct member box_members[TIMELINE_BOX_NUMBERS] = {
    MEMBER(live, RULE_LATE, GROUP_POINT),
    MEMBER(live_count, RULE_LATE, GROUP_POINT),
    MEMBER(mapped, RULE_LATE, GROUP_POINT),
    MEMBER(cached, RULE_LATE, GROUP_POINT),
    MEMBER(allocs, RULE_SUM, GROUP_POINT),
    MEMBER(frees, RULE_SUM, GROUP_POINT),
};

void timeline_clear(struct timeline_point *p)
{
    for (uint32_t i = 0; i < TIMELINE_NUMBERS; i++)
        p->of[i] = TIMELINE_UNKNOWN;
    memset(p->box, 0, p->nboxes * sizeof p->box[0]);
    memset(p->row, 0, p->nrows * sizeof p->row[0]);
    p->nboxes = p->nrows = 0;
}

/* ---- writing ------------------------------------------------------------- */

void timeline_add(struct timeline_text *t, const char *text)
{
    size_t n = strlen(text);
    t->full |= n > t->room - t->used;
    if (t->full)
        return;
    memcpy(t->bytes + t->used, text, n);
    t->used += n;
}

void timeline_add_number(struct timeline_text *t, uint64_t number)
{
    char digits[24];
    timeline_add(t, hak_text_number(digits, number));
}

void timeline_add_quoted(struct timeline_text *t, const char *text)
{
    char character[8];
    timeline_add(t, "\"");
    while (*text != 0) {
        text += hak_json_character(character, text);
        timeline_add(t, character);
    }
    timeline_add(t, "\"");
}

/* Add ,"NAME": or, in front of the first member of an object, "NAME":. */
static void add_key(struct timeline_text *t, bool first, const char *name)
{
    timeline_add(t, first ? "\"" : ",\"");
    timeline_add(t, name);
    timeline_add(t, "\":");
}

static void add_numbers(struct timeline_text *t, const uint64_t *of)
{
    enum group in = GROUP_POINT;
    bool first = true;
    for (uint32_t i = 0; i < TIMELINE_NUMBERS; i++) {
        const struct member *m = &members[i];
        if (of[i] == TIMELINE_UNKNOWN)
            continue;
        if (in != m->group && in != GROUP_POINT)
            timeline_add(t, "}");
        if (in != m->group && m->group != GROUP_POINT) {
            add_key(t, false, group_names[m->group]);
            timeline_add(t, "{");
            first = true;
        }
        in = m->group;
        add_key(t, first, m->name);
        timeline_add_number(t, of[i]);
        first = false;
    }
    if (in != GROUP_POINT)
        timeline_add(t, "}");
}

static void add_rows(struct timeline_text *t, const struct timeline_point *p,
                     const struct timeline_box *b)
{
    add_key(t, false, "classes");
    timeline_add(t, "[");
    for (uint32_t i = 0; i < b->nrows; i++) {
        const uint64_t *row = p->row[b->first_row + i];
        for (uint32_t k = 0; k < TIMELINE_ROW_NUMBERS; k++) {
            timeline_add(t, k != 0 ? "," : i != 0 ? ",[" : "[");
            timeline_add_number(t, row[k]);
        }
        timeline_add(t, "]");
    }
    timeline_add(t, "]");
}

static void add_boxes(struct timeline_text *t, const struct timeline_point *p,
                      bool rows)
{
    timeline_add(t, ",\"boxes\":[");
    for (uint32_t i = 0; i < p->nboxes; i++) {
        const struct timeline_box *b = &p->box[i];
        timeline_add(t, i == 0 ? "{" : ",{");
        for (uint32_t k = 0; k < TIMELINE_BOX_NUMBERS; k++) {
            add_key(t, k == 0, box_members[k].name);
            timeline_add_number(t, b->of[k]);
        }
        if (rows && b->nrows != 0)
            add_rows(t, p, b);
        timeline_add(t, "}");
    }
    timeline_add(t, "]");
}

void timeline_add_point(struct timeline_text *t, const struct timeline_point *p)
{
    size_t before = t->used;
    bool full = t->full;
    for (int rows = 1; rows >= 0; rows--) {
        timeline_add(t, "{");
        add_numbers(t, p->of);
        add_boxes(t, p, rows != 0);
        timeline_add(t, "}\n");
        if (!t->full || full)
            return;
        t->used = before;
        t->full = rows == 0;
    }
}

/* ---- reading ------------------------------------------------------------- */

/* What is being read. `bad` is set at the first thing that is not as written by
 * timeline_add_point, and nothing is read after it. */
struct reading {
    const char *at;
    bool bad;
    struct timeline_point *p;
};

static bool take(struct reading *r, char ch)
{
    if (r->bad || *r->at != ch)
        return false;
    r->at++;
    return true;
}

static void expect(struct reading *r, char ch)
{
    if (!take(r, ch))
        r->bad = true;
}

static uint64_t read_number(struct reading *r)
{
    uint64_t number = 0;
    if (*r->at < '0' || *r->at > '9')
        r->bad = true;
    while (!r->bad && *r->at >= '0' && *r->at <= '9')
        number = number * 10 + (uint64_t)(*r->at++ - '0');
    return number;
}

/* Read "NAME": into name. */
static void read_key(struct reading *r, char name[16])
{
    expect(r, '"');
    size_t n = r->bad ? 0 : hak_text_until(r->at, '"');
    if (n >= 16) {
        r->bad = true;
        return;
    }
    hak_text_copy(name, 16, r->at, n);
    r->at += n;
    expect(r, '"');
    expect(r, ':');
}

static void read_rows(struct reading *r, struct timeline_box *b)
{
    b->first_row = r->p->nrows;
    expect(r, '[');
    while (!r->bad && *r->at != ']' && r->p->nrows < TIMELINE_ROWS) {
        uint64_t *row = r->p->row[r->p->nrows++];
        for (uint32_t k = 0; k < TIMELINE_ROW_NUMBERS; k++) {
            expect(r, k == 0 ? '[' : ',');
            row[k] = read_number(r);
        }
        expect(r, ']');
        b->nrows++;
        if (!take(r, ','))
            break;
    }
    expect(r, ']');
}

static void set_number(struct reading *r, const struct member *of, uint32_t n,
                       enum group group, const char *name, uint64_t *out)
{
    for (uint32_t i = 0; i < n; i++)
        if (of[i].group == group && strcmp(of[i].name, name) == 0) {
            out[i] = read_number(r);
            return;
        }
    r->bad = true;
}

static void read_box(struct reading *r)
{
    char name[16];
    struct timeline_box *b = &r->p->box[r->p->nboxes++];
    expect(r, '{');
    do {
        read_key(r, name);
        if (!r->bad && strcmp(name, "classes") == 0)
            read_rows(r, b);
        else if (!r->bad)
            set_number(r, box_members, TIMELINE_BOX_NUMBERS, GROUP_POINT, name,
                       b->of);
    } while (take(r, ','));
    expect(r, '}');
}

static void read_boxes(struct reading *r)
{
    expect(r, '[');
    if (take(r, ']'))
        return;
    do {
        if (r->p->nboxes == TIMELINE_NAMES)
            r->bad = true;
        else
            read_box(r);
    } while (take(r, ','));
    expect(r, ']');
}

static void read_group(struct reading *r, enum group group)
{
    char name[16];
    expect(r, '{');
    do {
        read_key(r, name);
        if (!r->bad)
            set_number(r, members, TIMELINE_NUMBERS, group, name, r->p->of);
    } while (take(r, ','));
    expect(r, '}');
}

bool timeline_read_point(const char *line, struct timeline_point *p)
{
    struct reading r = {.at = line, .p = p};
    char name[16];
    timeline_clear(p);
    expect(&r, '{');
    do {
        read_key(&r, name);
        if (r.bad)
            break;
        if (strcmp(name, "boxes") == 0)
            read_boxes(&r);
        else if (strcmp(name, group_names[GROUP_WINDOW]) == 0)
            read_group(&r, GROUP_WINDOW);
        else if (strcmp(name, group_names[GROUP_MOST]) == 0)
            read_group(&r, GROUP_MOST);
        else
            set_number(&r, members, TIMELINE_NUMBERS, GROUP_POINT, name, p->of);
    } while (take(&r, ','));
    expect(&r, '}');
    return !r.bad && p->of[TIMELINE_t] != TIMELINE_UNKNOWN &&
           p->of[TIMELINE_span_ms] != TIMELINE_UNKNOWN;
}

/* ---- merging ------------------------------------------------------------- */

static void merge_number(uint64_t *early, uint64_t late, enum rule rule)
{
    if (late == TIMELINE_UNKNOWN)
        return;
    if (*early == TIMELINE_UNKNOWN || rule == RULE_LATE)
        *early = late;
    else if (rule == RULE_SUM)
        *early += late;
    else
        *early = hak_max(*early, late);
}

/* Let *p have the highest values that it knows of: its own, unless it was
 * merged before. */
static void set_most(struct timeline_point *p)
{
    uint64_t live = 0;
    if (p->of[TIMELINE_most_rss] != TIMELINE_UNKNOWN)
        return;
    for (uint32_t i = 0; i < p->nboxes; i++)
        live += p->box[i].of[TIMELINE_live];
    p->of[TIMELINE_most_rss] = p->of[TIMELINE_rss];
    p->of[TIMELINE_most_live] = live;
    p->of[TIMELINE_most_mapped] = p->of[TIMELINE_used] + p->of[TIMELINE_free];
}

/* The classes are those of the later point if it has any. Boxes have them all
 * or none of them has. */
static void take_rows(struct timeline_point *early,
                      const struct timeline_point *late)
{
    if (late->nrows == 0)
        return;
    early->nrows = late->nrows;
    memcpy(early->row, late->row, late->nrows * sizeof late->row[0]);
    for (uint32_t i = 0; i < late->nboxes; i++) {
        early->box[i].first_row = late->box[i].first_row;
        early->box[i].nrows = late->box[i].nrows;
    }
}

void timeline_merge_points(struct timeline_point *early,
                           struct timeline_point *late)
{
    set_most(early);
    set_most(late);
    for (uint32_t i = 0; i < TIMELINE_NUMBERS; i++)
        merge_number(&early->of[i], late->of[i], members[i].rule);
    for (uint32_t i = 0; i < late->nboxes; i++)
        for (uint32_t k = 0; k < TIMELINE_BOX_NUMBERS; k++)
            merge_number(&early->box[i].of[k], late->box[i].of[k],
                         box_members[k].rule);
    early->nboxes = (uint32_t)hak_max(early->nboxes, late->nboxes);
    take_rows(early, late);
}
