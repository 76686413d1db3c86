/* SPDX-License-Identifier: MIT
 * setup.c - reads the configuration from an INI and loads boxes from files.
 *
 * fused.c takes its place in a fused library, where both are built in.
 */
#include <start/start.h>

#include <base/log.h>
#include <base/os.h>
#include <base/text.h>
#include <base/trust.h>
#include <base/why.h>
#include <core/box/find.h>
#include <core/box/load.h>
#include <core/box/modules.h>
#include <core/route/policy.h>
#include <core/route/sample.h>
#include <core/state/fused.h>
#include <hakmem/foreign.h>
#include <hakmem/version.h>
#include <start/change.h>

#include <errno.h>
#include <unistd.h>
#include <string.h>

/* The text that `hakctl version` finds in the library file. */
__attribute__((section(HAK_NOTE_SECTION), used,
               retain)) static const char note[] =
    "hakmem " HAK_VERSION ", boxes dlopened as the configuration says\n";

/* ---- modules ---------------------------------------------------------- */

/* Open a module that a key of the configuration needs. A failure is reported as
 * an error of that key. */
static int open_module(const char *name, const char *section, const char *key)
{
    char why[256];
    int error = hak_module_open(name, why, sizeof why);
    if (error != 0)
        hak_conf_tell(&hak_conf, HAK_DIAG_ERROR,
                      hak_conf_origin(&hak_conf, section, key), "[%s] %s: %s",
                      section, key, why);
    return error;
}

int hak_setup_modules(void)
{
    int error = 0;
    if (hak_conf.learner.mode != HAK_LEARN_OFF)
        error = open_module("learner", "learner", "mode");
    if (error == 0 && hak_conf.background)
        error = open_module("background", "core", "background");
    if (error == 0 && hak_conf.on_pressure != HAK_PRESSURE_NONE)
        error = open_module("pressure", "core", "on_pressure");
    /* A program with raised rights takes no orders. */
    if (error == 0 && strcmp(hak_conf.control_socket, "none") != 0 &&
        !hak_os_secure())
        error = open_module("control", "control", "socket");
    if (error == 0 && strcmp(hak_conf.heap_profile.file, "none") != 0)
        error = open_module("heap_profile", "heap_profile", "file");
    if (error == 0 && strcmp(hak_conf.record_ring, "none") != 0 &&
        !hak_os_secure())
        error = open_module("record", "record", "ring");
    if (error == 0 && strcmp(hak_conf.timeline, "none") != 0 &&
        !hak_os_secure())
        error = open_module("timeline", "stats", "timeline");
    if (error == 0 && (hak_conf.stats_on_signal != 0 || hak_conf.stats_on_term))
        error = open_module("signals", "stats",
                            hak_conf.stats_on_signal != 0 ? "on_signal"
                                                          : "on_term");
    return error;
}

/* Open the module NAME for an extension "hak.NAME/1" that a box asks for. */
static void open_named(const char *id)
{
    char name[16], why[256];
    size_t n = hak_text_until(id + 4, '/');
    bool may_open = hak_core.mode == HAK_MODE_BOOT || hak_change_is_loading();
    if (!may_open || strncmp(id, "hak.", 4) != 0 || n >= sizeof name ||
        hak_text_until(id + 4, '.') < n)
        return;
    hak_text_copy(name, sizeof name, id + 4, n);
    int error = hak_module_open(name, why, sizeof why);
    if (error != 0 && error != -ENOENT)
        hak_say("%s", why);
}

const void *hak_setup_extension(const char *id)
{
    const void *table = hak_modules_extension(id);
    if (table != NULL)
        return table;
    open_named(id);
    return hak_modules_extension(id);
}

/* Parse a call for conf/, by the module that will make the call. */
static int parse_call(const char **text, struct hak_call *out, char *why,
                      size_t why_bytes)
{
    const struct hak_foreign_host_1 *table = hak_setup_extension(HAK_FOREIGN_1);
    if (table == NULL)
        return hak_refuse(-ENOENT, why, why_bytes,
                          "calls need modules/foreign.so, which cannot be "
                          "opened; is hakmem installed whole?");
    return table->parse(text, out, why, why_bytes);
}

/* ---- which configuration ----------------------------------------------- */

/* The INI is in DIR/../conf in the build tree, and in DIR/../share/hakmem/conf
 * after installation. DIR is the library's folder. */
const char *hak_default_conf(void)
{
    static const char *const places[] = {
        "../conf/default.ini", "../share/hakmem/conf/default.ini", NULL};
    static const char *found;
    if (found == NULL)
        found = hak_beside(places);
    return found;
}

int hak_setup_conf(char *const *envp, hak_diag_fn *diag)
{
    char why[256];
    bool secure = hak_os_secure();
    hak_conf_parse_call = parse_call;
    const char *path = secure ? NULL : hak_conf_variable(envp, "HAKMEM_CONF");
    int fd = -1;
    if (path == NULL)
        path = hak_default_conf();
    if (path == NULL) {
        diag(NULL, HAK_DIAG_ERROR, NULL, 0,
             "no configuration: HAKMEM_CONF=FILE names one");
        return -ENOENT;
    }
    if (secure && (fd = hak_trust_open(path, false, why, sizeof why)) < 0) {
        diag(NULL, HAK_DIAG_ERROR, path, 0, why);
        return fd;
    }
    int error = hak_conf_read(&hak_conf, path, fd, secure ? NULL : envp, NULL,
                              diag, NULL);
    if (fd >= 0)
        close(fd);
    return error;
}

/* ---- boxes ---- */

int hak_setup_boxes(void)
{
    struct hak_loaded *loaded[HAK_MAX_BOXES] = {NULL};
    for (uint32_t i = 0; i < hak_conf.nboxes; i++)
        if (hak_conf.box[i].used)
            loaded[i] = hak_box_load(&hak_conf, &hak_conf.box[i]);
    if (hak_nboxes() == 0)
        return -ENOENT;
    hak_policy_build(&hak_conf, loaded);
    if (hak_conf.sample >= 0 && loaded[hak_conf.sample] != NULL)
        hak_sample_start(loaded[hak_conf.sample], hak_conf.sample_every);
    return 0;
}
