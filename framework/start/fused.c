/* SPDX-License-Identifier: MIT
 * fused.c - sets up a fused library, in place of setup.c.
 *
 * The configuration is the constant hak_fused. The environment can change only
 * the reports, which do not affect what runs.
 */
#include <start/start.h>

#include <base/log.h>
#include <base/os.h>
#include <base/why.h>
#include <core/box/load.h>
#include <core/box/modules.h>
#include <core/state/core.h>
#include <core/state/fused.h>
#include <core/malloc/slow.h>
#include <start/change.h>
#include <base/text.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

HAK_SEALED struct hak_fused_boxes hak_fused_boxes;

/* ---- the environment ----------------------------------------------------- */

/* The value of a variable "NAME=VALUE"; NULL if it has another name. */
static const char *value_of(const char *variable, const char *name)
{
    size_t n = strlen(name);
    bool same = strncmp(variable, name, n) == 0 && variable[n] == '=';
    return same ? variable + n + 1 : NULL;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Set the report's format from HAKMEM_STATS_FORMAT. For INI files the folder
 * conf/ has the same words. */
static void take_format(const char *value, hak_diag_fn *diag)
{
    static const struct hak_param format = {
        .name = "format", .type = HAK_PARAM_ENUM, .choices = "text|json"};
    union hak_value chosen;
    char why[256];
    if (hak_conf_param(&format, value, &chosen, why, sizeof why) == 0)
        hak_conf.stats_json = chosen.i == 1;
    else
        diag(NULL, HAK_DIAG_WARNING, "environment HAKMEM_STATS_FORMAT", 0, why);
}

/* Add a variable to the list of those that a fused library ignores. */
static void not_read(char *list, size_t bytes, const char *variable)
{
    size_t used = strlen(list);
    snprintf(list + used, bytes - used, "%s%.*s", used != 0 ? ", " : "",
             (int)hak_text_until(variable, '='), variable);
}

static void read_environment(char *const *envp, hak_diag_fn *diag)
{
    char list[512] = "";
    for (; envp != NULL && *envp != NULL; envp++) {
        const char *value;
        if (!starts_with(*envp, "HAKMEM_") ||
            starts_with(*envp, "HAKMEM_BENCH_"))
            continue;
        if ((value = value_of(*envp, "HAKMEM_STATS_AT_EXIT")) != NULL)
            hak_conf.stats_at_exit = value;
        else if ((value = value_of(*envp, "HAKMEM_STATS_AT_START")) != NULL)
            hak_conf.stats_at_start = value;
        else if ((value = value_of(*envp, "HAKMEM_STATS_ONLY_PID")) != NULL)
            hak_conf.stats_pid = (uint32_t)strtoul(value, NULL, 10);
        else if ((value = value_of(*envp, "HAKMEM_STATS_FORMAT")) != NULL)
            take_format(value, diag);
        else
            not_read(list, sizeof list, *envp);
    }
    if (list[0] != 0)
        hak_say("this library is fused from %s; %s %s not read", hak_fused.file,
                list, strchr(list, ',') ? "are" : "is");
}

/* ---- setting up ---- */

#define TAKE_KEY(key, ...) hak_conf.key = hak_fused.key;

int hak_setup_conf(char *const *envp, hak_diag_fn *diag)
{
    hak_conf.file = hak_fused.file;
    hak_conf.profile = hak_fused.profile;
    HAK_CORE_KEYS(TAKE_KEY)
    hak_conf.pressure_file = hak_fused.pressure_file;
    hak_conf.stats_at_exit = hak_fused.stats_at_exit;
    hak_conf.stats_at_start = hak_fused.stats_at_start;
    hak_conf.stats_json = hak_fused.stats_json;
    hak_conf.control_socket = "none";
    hak_conf.record_ring = "none";
    hak_conf.stats_on_signal = hak_fused.stats_on_signal;
    hak_conf.stats_on_term = hak_fused.stats_on_term;
    hak_conf.timeline = hak_fused.timeline;
    hak_conf.stats_every_ms = hak_fused.stats_every_ms;
    if (!hak_os_secure())
        read_environment(envp, diag);
    return 0;
}

/* Only modules that are linked in have extensions here. hakctl fuse refuses
 * boxes that need others. */
const void *hak_setup_extension(const char *id)
{
    return hak_modules_extension(id);
}

int hak_setup_modules(void)
{
    char why[256];
    int error = 0;
    hak_modules.linked = hak_fused.modules;
    for (uint32_t i = 0; error == 0 && hak_fused.modules[i] != NULL; i++) {
        error = hak_module_open(hak_fused.modules[i]->name, why, sizeof why);
        if (error != 0)
            hak_say("%s: %s", hak_fused.file, why);
    }
    return error;
}

/* ---- changes of the running process: there are few --------------------------
 */

/* These functions return -ENOTSUP. */
static int refuse_change(char *why, size_t n)
{
    return hak_refuse(-ENOTSUP, why, n,
                      "a fused library has fixed boxes, routes and keys");
}

static int no_route(const char *range, const char *route, char *why, size_t n)
{
    (void)range, (void)route;
    return refuse_change(why, n);
}

static int no_box(const char *box, char *why, size_t n)
{
    (void)box;
    return refuse_change(why, n);
}

static int no_load(const struct hak_load *what, char *why, size_t n)
{
    (void)what;
    return refuse_change(why, n);
}

static int no_set(const char *section, const char *key, const char *value,
                  char *why, size_t n)
{
    (void)section, (void)key, (void)value;
    return refuse_change(why, n);
}

static int no_module(const char *name, char *why, size_t n)
{
    (void)name;
    return refuse_change(why, n);
}

static void no_keys(void (*each)(void *context, const struct hak_key *key),
                    void *context)
{
    (void)each, (void)context; /* hakctl version shows the keys of a library */
}

const struct hak_changes hak_changes = {
    .route = no_route,
    .drain = no_box,
    .load = no_load,
    .swap = no_route,
    .back = no_box,
    .set = no_set,
    .trim = hak_trim_all,
    .module = no_module,
    .each_key = no_keys,
};

void hak_change_lock(enum hak_fork_phase phase)
{
    (void)phase; /* nothing changes */
}

bool hak_change_is_loading(void)
{
    return false;
}

/* A box whose init fails cannot be left out, since the routes are constants. */
int hak_setup_boxes(void)
{
    for (uint32_t i = 0; i < hak_fused.nboxes; i++) {
        const struct hak_fused_box *f = &hak_fused.box[i];
        struct hak_loaded *b = &hak_fused_boxes.loaded[i];
        b->values = f->values;
        b->path = "fused";
        int error = f->nvalues == f->entry->nparams
                        ? hak_box_begin(b, &f->conf, f->entry, i)
                        : -EINVAL; /* fused from another build of the box */
        if (error != 0) {
            hak_say("%s: box %s: init failed: %s", hak_fused.file, f->conf.name,
                    b->said[0] != 0 ? b->said : strerror(-error));
            return error;
        }
        hak_box_enter(b);
    }
    return 0;
}
