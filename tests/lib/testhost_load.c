/* SPDX-License-Identifier: MIT
 * testhost_load.c - the loader: entry, parameters, init.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <conf/conf.h>
#include <core/box/abi.h>
#include <core/box/check.h>

#include "testhost_private.h"

static char error_text[512];

int th_refuse(int code, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(error_text, sizeof error_text, format, ap);
    va_end(ap);
    return code;
}

/* Texts and calls are the box's to understand. */
static int parse_value(const struct hak_param *param, const char *text,
                       union hak_value *out)
{
    char why[256];
    if (param->type == HAK_PARAM_TEXT || param->type == HAK_PARAM_CALL)
        out->text = text;
    else if (hak_conf_param(param, text, out, why, sizeof why) != 0)
        return th_refuse(-EINVAL, "%s: %s", param->name, why);
    return 0;
}

/* Finds the parameter that "name=value" names; *value is its text. */
static const struct hak_param *find_param(const struct hak_box_entry *entry,
                                          const char *text, const char **value)
{
    size_t n = strcspn(text, "=");
    for (uint32_t i = 0; text[n] && i < entry->nparams; i++) {
        const char *name = entry->params[i].name;
        if (strlen(name) == n && strncmp(name, text, n) == 0) {
            *value = text + n + 1;
            return &entry->params[i];
        }
    }
    th_refuse(-EINVAL, "no parameter \"%.*s\"", (int)n, text);
    return NULL;
}

static int fill_params(struct instance *b, const char *const *texts)
{
    const struct hak_param *table = b->entry.params;
    if (b->entry.nparams > MAX_PARAMS)
        return th_refuse(-EINVAL, "%u parameters", b->entry.nparams);
    for (uint32_t i = 0; i < b->entry.nparams; i++) {
        if (table[i].type == HAK_PARAM_TEXT || table[i].type == HAK_PARAM_CALL)
            b->params[i].text = table[i].def_text;
        else
            b->params[i].i = table[i].def;
    }
    for (; texts && *texts; texts++) {
        const char *value = NULL;
        const struct hak_param *p = find_param(&b->entry, *texts, &value);
        if (!p)
            return -EINVAL;
        int error = parse_value(p, value, &b->params[p - table]);
        if (error)
            return error;
    }
    b->box.params = b->entry.nparams ? b->params : NULL;
    return 0;
}

int th_read_entry(const struct hak_box_entry *theirs, struct hak_box_entry *out)
{
    int error = hak_entry_read(theirs, out, error_text, sizeof error_text);
    return error ? -ENOEXEC : 0;
}

int th_open_entry(const struct hak_box_entry *entry, const char *name,
                  const char *const *params, unsigned flags,
                  struct hak_box **out)
{
    const struct hak_host *host = th_host();
    if (th.nboxes == HAK_MAX_BOXES)
        return th_refuse(-ENOSPC, "more than %u boxes", HAK_MAX_BOXES);
    struct instance *b = &th.boxes[th.nboxes];
    memset(b, 0, sizeof *b);
    int error = th_read_entry(entry, &b->entry);
    if (error)
        return error;
    th_note_calls(b, &b->entry.ops);
    b->box =
        (struct hak_box){.host = host,
                         .ops = &b->ops,
                         .name = name,
                         .index = th.nboxes,
                         .state_now = HAK_BOX_LOADED,
                         .lanes = b->ops.refill && !(flags & TH_NO_LANES) &&
                                  b->entry.abi_minor >= HAK_ABI_LANES_MINOR};
    error = fill_params(b, params);
    if (error)
        return error;
    th.nboxes++;
    error = b->ops.init ? b->ops.init(&b->box) : 0;
    if (error > 0)
        th_die(&b->box, "init returned %d: neither 0 nor -errno", error);
    if (error) /* the place stays taken: the box may have kept memory */
        return th_refuse(error, "init of %s failed: %d", name, error);
    error = th_far_start(b);
    if (error)
        return error;
    b->box.state_now = HAK_BOX_ACTIVE;
    *out = &b->box;
    return 0;
}

const struct hak_box_entry *th_entry_of(const char *path)
{
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct hak_box_entry *entry = so ? dlsym(so, HAK_BOX_SYMBOL) : NULL;
    if (!so)
        th_refuse(-ENOENT, "%s", dlerror());
    else if (!entry)
        th_refuse(-ENOENT,
                  "%s does not export %s: is it a box? Put HAK_BOX_EXPORT "
                  "before its entry, so that -fvisibility cannot hide it",
                  path, HAK_BOX_SYMBOL);
    return entry;
}

int th_check_params(const struct hak_box_entry *entry,
                    const char *const *params)
{
    struct instance b = {.entry = {.nparams = 0}};
    int error = th_read_entry(entry, &b.entry);
    return error ? error : fill_params(&b, params);
}

int th_try_open(const char *path, const char *name, const char *const *params,
                unsigned flags, struct hak_box **out)
{
    const struct hak_box_entry *entry = th_entry_of(path);
    return entry ? th_open_entry(entry, name, params, flags, out) : -ENOENT;
}

struct hak_box *th_open(const char *path, const char *name,
                        const char *const *params, unsigned flags)
{
    struct hak_box *box = NULL;
    if (th_try_open(path, name, params, flags, &box))
        th_die(NULL, "cannot open %s: %s", path, error_text);
    return box;
}

const char *th_error(void)
{
    return error_text;
}

const struct hak_box_entry *th_entry(const struct hak_box *box)
{
    return &th.boxes[box->index].entry;
}

struct hak_box_stats th_stats(struct hak_box *box)
{
    return hak_abi_stats(box);
}

int th_set_param(struct hak_box *box, const char *assignment)
{
    struct instance *b = &th.boxes[box->index];
    const char *value = NULL;
    const struct hak_param *p = find_param(&b->entry, assignment, &value);
    union hak_value parsed;
    if (!p)
        return -EINVAL;
    if (!(p->flags & HAK_PARAM_MUTABLE) || !box->ops->set_param)
        return th_refuse(-EPERM, "%s is not mutable", p->name);
    int error = parse_value(p, value, &parsed);
    if (error)
        return error;
    uint32_t i = (uint32_t)(p - b->entry.params);
    union hak_value old = b->params[i];
    b->params[i] = parsed;
    error = box->ops->set_param(box, i);
    if (error)
        b->params[i] = old;
    return error;
}

static void go_to(struct hak_box *box, enum hak_box_state state)
{
    box->state_now = state;
    if (box->ops->state_changed)
        box->ops->state_changed(box);
}

void th_drain(struct hak_box *box)
{
    go_to(box, HAK_BOX_DRAINING);
}

void th_retire(struct hak_box *box)
{
    if (th_live(box, true) || box->state_now != HAK_BOX_DRAINING)
        th_die(box, "test: closed while %zu slots are out or not draining",
               th_live(box, true));
    go_to(box, HAK_BOX_CLOSED);
}
