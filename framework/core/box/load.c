/* SPDX-License-Identifier: MIT
 * load.c - loads a box of the configuration from its file, with its parameters.
 */
#include <core/box/load.h>

#include <base/meta.h>
#include <base/seal.h>
#include <core/box/find.h>
#include <core/box/open.h>
#include <core/memory/directory.h>
#include <core/state/core.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

/* With the key `type`, `path` is a parameter of the box instead of its file. If
 * it is a relative path, it is made relative to the INI's directory. */
static int place_library(const struct hak_conf *c,
                         const struct hak_conf_box *conf,
                         const struct hak_param *params, uint32_t n,
                         union hak_value *values)
{
    char path[PATH_MAX];
    if (conf->type == NULL || conf->path == NULL ||
        strchr(conf->path, '/') == NULL)
        return 0;
    hak_box_path(conf->path, conf->name, c->file, path, sizeof path);
    const char *kept = hak_meta_text(path);
    if (kept == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(params[i].name, "path") == 0)
            values[i].text = kept;
    return 0;
}

/* Memory for struct hak_loaded. It is not sealed for a box without init, which
 * may set box->state at any time. */
static struct hak_loaded *loaded_memory(const struct hak_box_entry *e)
{
    return e->ops.init != NULL ? hak_sealed_memory(sizeof(struct hak_loaded))
                               : hak_meta(sizeof(struct hak_loaded));
}

struct hak_loaded *hak_box_load_at(struct hak_conf *c,
                                   const struct hak_conf_box *conf,
                                   uint32_t index)
{
    char path[PATH_MAX], why[256];
    void *handle;
    struct hak_origin where = conf->path != NULL || conf->type != NULL
                                  ? conf->path_origin
                                  : conf->origin;
    hak_box_path(conf->type != NULL ? NULL : conf->path,
                 conf->type != NULL ? conf->type : conf->name, c->file, path,
                 sizeof path);
    const struct hak_box_entry *e =
        hak_box_file(path, &handle, why, sizeof why);
    if (e == NULL) {
        hak_conf_tell(c, HAK_DIAG_ERROR, where, "box %s: %s %s", conf->name,
                      path, why);
        return NULL;
    }
    struct hak_loaded *b = loaded_memory(e);
    union hak_value *values =
        hak_sealed_memory(sizeof *values * (e->nparams == 0 ? 1 : e->nparams));
    if (b == NULL || values == NULL ||
        (b->path = hak_meta_text(path)) == NULL) {
        hak_conf_tell(c, HAK_DIAG_ERROR, where, "box %s: no memory",
                      conf->name);
        return NULL;
    }
    b->values = values;
    if (hak_conf_params(c, conf, e->params, e->nparams, values) != 0 &&
        conf->type != NULL)
        return NULL; /* with wrong parameters it cannot be used at all */
    int error = place_library(c, conf, e->params, e->nparams, values);
    if (error == 0)
        error = hak_box_begin(b, conf, e, index);
    if (error > 0)
        hak_conf_tell(c, HAK_DIAG_ERROR, where,
                      "box %s: its init returned %d; it may return 0, or "
                      "-errno for what failed",
                      conf->name, error);
    else if (error != 0)
        hak_conf_tell(c, HAK_DIAG_ERROR, where,
                      b->said[0] != 0 ? "box %s: %s"
                                      : "box %s: init failed: %s",
                      conf->name, b->said[0] != 0 ? b->said : strerror(-error));
    if (error != 0)
        hak_box_abandon(b);
    return error == 0 ? b : NULL;
}

void hak_box_abandon(struct hak_loaded *b)
{
    if (!hak_seal_open())
        return; /* its tables are lost */
    hak_directory_forget(&b->box);
    hak_seal_close();
}

struct hak_loaded *hak_box_load(struct hak_conf *c,
                                const struct hak_conf_box *conf)
{
    struct hak_loaded *b = hak_box_load_at(c, conf, hak_nboxes());
    if (b != NULL)
        hak_box_enter(b);
    return b;
}
