/* SPDX-License-Identifier: MIT
 * tune_space.c - what can be changed in an INI: boxes, their keys, and a key of
 * [core].
 *
 * Keys that are about safety, observation or behaviour are no matter of tuning:
 * of [core] only purge_delay_ms is, of a box its parameters, but `lanes` and
 * those in `left_alone`.
 */
#include "tune.h"
#include "../hakctl.h"

#include <core/box/find.h>
#include <core/box/open.h>

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>

static char *copy_of(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        ctl_die("no memory");
    return copy;
}

/* ---- values -------------------------------------------------------------- */

/* Parameters that are never changed. */
static const struct {
    const char *box, *key;
} left_alone[] = {
    {"smallmid", "reuse"}, /* off only to measure */
    {"tiny", "magazine"},  /* needs lanes = off */
    {"tiny", "magazine_classes"},
};

static bool is_left_alone(const char *box, const char *key)
{
    for (size_t i = 0; i < sizeof left_alone / sizeof left_alone[0]; i++)
        if (strcmp(left_alone[i].box, box) == 0 &&
            strcmp(left_alone[i].key, key) == 0)
            return true;
    return false;
}

/* A value of a scale. */
struct step {
    int64_t value;
    bool first; /* tried in the first race; the others are steps from there */
};

/* The steps from a value above 0, in 64ths of it. */
static const struct {
    int64_t sixty_fourths;
    bool first;
} steps[] = {{0, true},   {1, false},   {4, true},    {8, false},
             {16, true},  {32, false},  {64, false},  {128, false},
             {256, true}, {512, false}, {1024, true}, {4096, false}};

/* The values of a key whose value is 0, which mostly stands for "none" or "as
 * needed". */
static const int64_t sizes[] = {0, 65536, 1 << 20, 1 << 22, 1 << 24, 1 << 28};
static const int64_t counts[] = {0, 1, 2, 4, 8, 16};
static const int64_t times[] = {0, 10, 100, 1000, 10000};

static size_t add_step(struct step *at, size_t n, const struct hak_param *p,
                       int64_t value, bool first)
{
    value = value < p->min ? p->min : value > p->max ? p->max : value;
    if (n != 0 && at[n - 1].value >= value)
        return n;
    at[n] = (struct step){value, first};
    return n + 1;
}

static size_t steps_from_zero(struct step *at, const struct hak_param *p)
{
    bool size = p->type == HAK_PARAM_SIZE, time = p->type == HAK_PARAM_MS;
    const int64_t *from = size ? sizes : time ? times : counts;
    size_t n = 0, count = size   ? sizeof sizes / sizeof sizes[0]
                          : time ? sizeof times / sizeof times[0]
                                 : sizeof counts / sizeof counts[0];
    for (size_t i = 0; i < count; i++)
        n = add_step(at, n, p, from[i], true);
    return n;
}

/* Multiply without overflow. */
static int64_t share_of(int64_t value, int64_t sixty_fourths)
{
    __int128 whole = (__int128)value * sixty_fourths / 64;
    return whole > INT64_MAX ? INT64_MAX : (int64_t)whole;
}

static size_t steps_around(struct step *at, const struct hak_param *p,
                           int64_t usual)
{
    size_t n = 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        n = add_step(at, n, p, share_of(usual, steps[i].sixty_fourths),
                     steps[i].first);
    return n;
}

/* All values of a BOOL or an ENUM. */
static size_t all_choices(struct step *at, const struct hak_param *p)
{
    size_t n = 1;
    for (const char *c = p->choices; c != NULL && *c != 0; c++)
        n += *c == '|';
    n = p->type == HAK_PARAM_BOOL ? 2 : n < TUNE_VALUES ? n : TUNE_VALUES;
    for (size_t i = 0; i < n; i++)
        at[i] = (struct step){(int64_t)i, true};
    return n;
}

static bool is_number(const struct hak_param *p)
{
    return p->type == HAK_PARAM_INT || p->type == HAK_PARAM_SIZE ||
           p->type == HAK_PARAM_MS;
}

static size_t find_steps(struct step *at, const struct hak_param *p,
                         int64_t usual)
{
    if (p->type == HAK_PARAM_BOOL || p->type == HAK_PARAM_ENUM)
        return all_choices(at, p);
    if (!is_number(p))
        return 0;
    return usual == 0 ? steps_from_zero(at, p) : steps_around(at, p, usual);
}

/* ---- keys ---------------------------------------------------------------- */

/* What the base has for a key that is no text. */
static int64_t usual_value(const struct hak_conf *conf, const char *section,
                           const struct hak_param *p)
{
    union hak_value value;
    char why[256];
    const struct hak_conf_entry *e = hak_conf_find(conf, section, p->name);
    if (e == NULL || hak_conf_param(p, e->value, &value, why, sizeof why) != 0)
        return p->def;
    return value.i;
}

static void add_key(struct tune_space *s, const struct hak_conf *conf,
                    const char *section, const struct hak_param *p,
                    uint32_t of_box)
{
    struct step at[TUNE_VALUES];
    char text[32];
    int64_t usual = usual_value(conf, section, p);
    size_t n = find_steps(at, p, usual);
    if (n < 2 || s->n == TUNE_KNOBS)
        return;
    struct tune_knob *k = &s->knob[s->n];
    *k = (struct tune_knob){.section = copy_of(section),
                            .key = copy_of(p->name),
                            .n = (uint8_t)n,
                            .scale = is_number(p),
                            .of_box = of_box};
    for (size_t i = 0; i < n; i++) {
        ctl_value_text(text, p, at[i].value);
        k->value[i] = copy_of(text);
        if (at[i].value == usual)
            k->usual = (uint8_t)i;
        else if (at[i].first)
            tune_add_part(tune_add_move(s), s->n, i);
    }
    s->n++;
}

static void add_keys_of_core(struct tune_space *s, const struct hak_conf *conf)
{
    uint32_t n = 0;
    const struct hak_param *keys = hak_conf_keys("core", &n);
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(keys[i].name, "purge_delay_ms") == 0)
            add_key(s, conf, "core", &keys[i], 0);
}

static void add_keys_of_box(struct tune_space *s, const struct hak_conf *conf,
                            const struct tune_box *box, uint32_t bit)
{
    char section[HAK_CONF_NAME_BYTES + 8];
    snprintf(section, sizeof section, "box %s", box->name);
    for (uint32_t i = 0; i < box->entry->nparams; i++)
        if (!is_left_alone(box->entry->id, box->entry->params[i].name))
            add_key(s, conf, section, &box->entry->params[i], bit);
}

/* ---- boxes --------------------------------------------------------------- */

/* Boxes whose use is a decision about safety, or which need a library. */
static bool is_special(const struct hak_box_entry *e)
{
    return strcmp(e->id, "hardened") == 0 || strcmp(e->id, "guard") == 0 ||
           strcmp(e->id, "foreign") == 0;
}

static const struct hak_box_entry *open_box(const char *path)
{
    char why[256];
    void *handle;
    return hak_box_file(path, &handle, why, sizeof why);
}

static void add_boxes_of_base(struct tune_boxes *boxes,
                              const struct hak_conf *conf)
{
    char path[PATH_MAX], type[HAK_CONF_NAME_BYTES + 4];
    for (uint32_t i = 0; i < conf->nboxes; i++) {
        const struct hak_conf_box *b = &conf->box[i];
        struct tune_box *box = &boxes->at[boxes->n++];
        snprintf(box->name, sizeof box->name, "%s", b->name);
        snprintf(type, sizeof type, "%s", b->type != NULL ? b->type : "");
        hak_box_path(b->type != NULL ? NULL : b->path,
                     b->type != NULL ? type : b->name, conf->file, path,
                     sizeof path);
        box->entry = open_box(path);
        bool special = box->entry == NULL || is_special(box->entry);
        /* Another library is no matter of safety. */
        box->fixed = special && (b->type == NULL || !b->used);
        box->keys = !special;
    }
}

static int is_box_name(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 3 && n - 3 <= HAK_CONF_NAME_BYTES - 4 &&
           strcmp(d->d_name + n - 3, ".so") == 0;
}

static bool has_box(const struct tune_boxes *boxes, const char *name)
{
    for (size_t i = 0; i < boxes->n; i++)
        if (strcmp(boxes->at[i].name, name) == 0)
            return true;
    return false;
}

/* The box of a file NAME.so beside the library, if the base has none of that
 * name. */
static void add_box_beside(struct tune_boxes *boxes, char *file)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", hak_boxes_dir(), file);
    file[strlen(file) - 3] = 0;
    if (boxes->n == HAK_MAX_BOXES || has_box(boxes, file))
        return;
    const struct hak_box_entry *e = open_box(path);
    if (e == NULL || is_special(e))
        return;
    struct tune_box *box = &boxes->at[boxes->n++];
    *box = (struct tune_box){.entry = e, .keys = true};
    snprintf(box->name, sizeof box->name, "%s", file);
}

static void find_boxes(struct tune_boxes *boxes, const struct hak_conf *conf)
{
    struct dirent **files;
    add_boxes_of_base(boxes, conf);
    int n = scandir(hak_boxes_dir(), &files, is_box_name, alphasort);
    for (int i = 0; i < n; i++) {
        add_box_beside(boxes, files[i]->d_name);
        free(files[i]);
    }
    if (n >= 0)
        free(files);
    tune_boxes_ask(boxes, conf);
}

/* ---- all of it ----------------------------------------------------------- */

/* Do the traces ask for sizes that are routed to the box, or may be? */
static bool has_use(const struct tune_space *s, size_t box,
                    const struct tune_use *use)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct tune_knob *k = &s->knob[i];
        if (!k->route || !tune_is_used(use, k->first, k->last))
            continue;
        for (size_t v = 0; v < k->n; v++)
            if (k->leads_to[v] >> box & 1)
                return true;
    }
    return s->used >> box & 1;
}

void tune_space_make(struct tune_space *s, const struct hak_conf *conf,
                     const struct tune_use *use)
{
    struct tune_boxes boxes = {.n = 0};
    find_boxes(&boxes, conf);
    add_keys_of_core(s, conf);
    tune_routes_add(s, conf, &boxes, use);
    for (size_t i = 0; i < boxes.n; i++)
        if (boxes.at[i].keys && has_use(s, i, use))
            add_keys_of_box(s, conf, &boxes.at[i], UINT32_C(1) << i);
}
