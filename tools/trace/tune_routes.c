/* SPDX-License-Identifier: MIT
 * tune_routes.c - which box may serve which sizes.
 *
 * Sizes are cut into ranges: where the base's lines of [policy] begin and end,
 * where a box's sizes do, at size classes, and at some sizes above. Each range
 * may go to any box that is made for it, and to routes of the base. Left as
 * they are: sizes that no line covers, sizes that an enabled route claims, and
 * those of boxes that are fixed.
 */
#include "tune.h"
#include "../hakctl.h"

#include <stdlib.h>

/* The first size indexes above 4 KiB, 16 KiB and 64 KiB. */
enum { ABOVE_4K = 81, ABOVE_16K = 97, ABOVE_64K = 113 };

bool tune_box_serves(const struct tune_box *box, uint32_t first, uint32_t last)
{
    const struct hak_box_entry *e = box->entry;
    if (e == NULL || box->fixed)
        return false;
    size_t least = first == HAK_INDEX_LARGE ? hak_index_bytes(first - 1) + 1
                                            : hak_index_bytes(first);
    for (uint32_t i = first; i <= last && i < HAK_LANES; i++)
        if (box->wasteful[i])
            return false;
    bool to_the_end = e->max_bytes == 0 || e->max_bytes >= PTRDIFF_MAX;
    if (least < e->min_bytes && (e->min_bytes > 1 || least != 0))
        return false;
    return to_the_end ||
           (last != HAK_INDEX_LARGE && hak_index_bytes(last) <= e->max_bytes);
}

/* The rule of [policy] for a size index; NULL: it has none that can change. */
static const struct hak_conf_rule *rule_of(const struct hak_conf *conf,
                                           uint32_t index)
{
    int16_t at = conf->index_rule[index];
    return at < 0 || conf->rule[at].claim ? NULL : &conf->rule[at];
}

/* The boxes of a route, as bits. */
static uint32_t boxes_of(const struct hak_conf *conf, uint32_t route)
{
    uint32_t boxes = 0;
    const struct hak_conf_route *r = &conf->route[route];
    for (uint32_t i = 0; i < r->nchain; i++)
        boxes |= UINT32_C(1) << r->chain[i];
    return boxes;
}

static bool has_fixed(const struct tune_boxes *boxes, uint32_t bits)
{
    for (size_t i = 0; i < boxes->n; i++)
        if ((bits >> i & 1) && boxes->at[i].fixed)
            return true;
    return false;
}

/* ---- ranges -------------------------------------------------------------- */

static bool begins_range(const struct hak_conf *conf,
                         const struct tune_boxes *boxes, uint32_t i)
{
    if (i == 0 || i == HAK_INDEX_LARGE || i == ABOVE_4K || i == ABOVE_16K ||
        i == ABOVE_64K || hak_class_of_index(i) != hak_class_of_index(i - 1) ||
        conf->index_rule[i] != conf->index_rule[i - 1])
        return true;
    for (size_t b = 0; b < boxes->n; b++)
        if (i > 1 && tune_box_serves(&boxes->at[b], i, i) !=
                         tune_box_serves(&boxes->at[b], i - 1, i - 1))
            return true;
    return false;
}

static uint32_t end_of_range(const struct hak_conf *conf,
                             const struct tune_boxes *boxes, uint32_t i)
{
    while (i < HAK_INDEX_LARGE && !begins_range(conf, boxes, i + 1))
        i++;
    return i;
}

/* ---- knobs --------------------------------------------------------------- */

static void add_value(struct tune_knob *k, const char *name, uint32_t boxes)
{
    if (k->n == TUNE_VALUES)
        return;
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->value[i], name) == 0)
            return;
    k->leads_to[k->n] = boxes;
    k->value[k->n] = strdup(name);
    if (k->value[k->n++] == NULL)
        ctl_die("no memory");
}

/* The routes of the base that may serve the range, but those of a single box.
 */
static void add_routes_of_base(struct tune_knob *k, const struct hak_conf *conf,
                               const struct tune_boxes *boxes)
{
    for (uint32_t i = 0; i < conf->nroutes; i++) {
        const struct hak_conf_route *r = &conf->route[i];
        if (r->enabled && r->nchain > 1 &&
            !has_fixed(boxes, boxes_of(conf, i)) &&
            tune_box_serves(&boxes->at[r->chain[0]], k->first, k->last))
            add_value(k, r->name, boxes_of(conf, i));
    }
}

/* Is the name one of a route of the base? Then a line of [policy] with it would
 * not mean the box. */
static bool is_route(const struct hak_conf *conf, const char *name)
{
    char section[HAK_CONF_NAME_BYTES + 8];
    snprintf(section, sizeof section, "route %s", name);
    for (uint32_t i = 0; i < conf->nsections; i++)
        if (strcmp(conf->section[i].name, section) == 0)
            return true;
    return false;
}

/* A range that stays as it is. */
static void leave(struct tune_space *s, uint32_t boxes, bool used)
{
    s->always |= boxes;
    s->used |= used ? boxes : 0;
}

static void add_range(struct tune_space *s, const struct hak_conf *conf,
                      const struct tune_boxes *boxes, struct tune_knob k,
                      bool used)
{
    int16_t at = conf->index_rule[k.first];
    const struct hak_conf_rule *rule = rule_of(conf, k.first);
    uint32_t usual = at >= 0 ? boxes_of(conf, conf->rule[at].route) : 0;
    if (rule == NULL || s->n == TUNE_KNOBS || has_fixed(boxes, usual)) {
        leave(s, usual, used);
        return;
    }
    add_value(&k, conf->route[rule->route].name, usual);
    add_routes_of_base(&k, conf, boxes);
    for (size_t i = 0; i < boxes->n; i++)
        if (tune_box_serves(&boxes->at[i], k.first, k.last) &&
            !is_route(conf, boxes->at[i].name))
            add_value(&k, boxes->at[i].name, UINT32_C(1) << i);
    if (k.n > 1) {
        s->knob[s->n++] = k;
    } else {
        leave(s, usual, used);
        free(k.value[0]);
    }
}

/* ---- moves --------------------------------------------------------------- */

/* The position of a value, or 0 for the base's and for one that is not there.
 */
static size_t find_value(const struct tune_knob *k, const char *name)
{
    for (size_t i = 1; i < k->n; i++)
        if (strcmp(k->value[i], name) == 0)
            return i;
    return 0;
}

/* Each range that is used, to that route; and all ranges at once that can go
 * there. */
static void add_moves_to(struct tune_space *s, const struct tune_use *use,
                         const char *name)
{
    struct tune_move all = {.n = 0};
    size_t used = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct tune_knob *k = &s->knob[i];
        size_t value = k->route ? find_value(k, name) : 0;
        if (value == 0)
            continue;
        tune_add_part(&all, i, value);
        if (!tune_is_used(use, k->first, k->last))
            continue;
        tune_add_part(tune_add_move(s), i, value);
        used++;
    }
    if (used > 0 && all.n > 1)
        *tune_add_move(s) = all;
}

void tune_routes_add(struct tune_space *s, const struct hak_conf *conf,
                     const struct tune_boxes *boxes, const struct tune_use *use)
{
    for (uint32_t i = 0; i <= HAK_INDEX_LARGE; i++) {
        uint32_t last = end_of_range(conf, boxes, i);
        struct tune_knob k = {.route = true, .first = i, .last = last};
        add_range(s, conf, boxes, k, tune_is_used(use, i, last));
        i = last;
    }
    for (size_t i = 0; i < boxes->n; i++)
        if (!is_route(conf, boxes->at[i].name))
            add_moves_to(s, use, boxes->at[i].name);
    for (uint32_t i = 0; i < conf->nroutes; i++)
        if (is_route(conf, conf->route[i].name))
            add_moves_to(s, use, conf->route[i].name);
}
