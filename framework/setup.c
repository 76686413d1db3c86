/* SPDX-License-Identifier: MIT
 * setup.c - the configuration from an INI, its boxes from files.
 *
 * fused.c does the same where both were fixed when the library was built.
 */
#include "core.h"
#include "foreign.h"
#include "stack.h"
#include "text.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

/* For hakctl version. */
__attribute__((section(HAK_NOTE_SECTION), used,
               retain)) static const char note[] =
    "hakmem " HAK_VERSION ", boxes dlopened as the configuration says\n";

/* ---- which configuration ----------------------------------------------- */

/* DIR/../conf in the build tree, DIR/../share/hakmem/conf installed. */
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

/* ---- its boxes ---- */

static const char *polled(const struct hak_box *box, uint32_t n,
                          const char **text)
{
    const char *name;
    bool poll;
    for (uint32_t i = 0;
         (name = hak_conf_call(&hak_conf, box->name, i, text, &poll)) != NULL;
         i++)
        if (poll && n-- == 0)
            return name;
    return NULL;
}

const void *hak_setup_extension(const char *id)
{
    static const struct hak_foreign_host_1 table = {
        HAK_FFI_FUNCTIONS,
        .polled = polled,
        .sealed = hak_sealed_memory,
    };
    if (strcmp(id, HAK_STACK_1) == 0)
        return &hak_stack_table;
    return strcmp(id, HAK_FOREIGN_1) == 0 ? &table : NULL;
}

int hak_setup_boxes(void)
{
    struct hak_loaded *loaded[HAK_MAX_BOXES] = {NULL};
    for (uint32_t i = 0; i < hak_conf.nboxes; i++)
        if (hak_conf.box[i].used)
            loaded[i] = hak_box_load(&hak_conf, &hak_conf.box[i]);
    if (hak_boxes.n == 0)
        return -ENOENT;
    hak_policy_build(&hak_conf, loaded);
    if (hak_conf.sample >= 0)
        hak_sample_start(loaded[hak_conf.sample], hak_conf.sample_every);
    return 0;
}
