/* SPDX-License-Identifier: MIT
 * setup.c - the configuration from an INI, its boxes from files.
 *
 * fused.c does the same where both were fixed when the library was built.
 */
#include "core.h"
#include "foreign.h"
#include "stack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

/* For hakctl version. */
__attribute__((section(HAK_NOTE_SECTION), used)) static const char note[] =
    "hakmem " HAK_VERSION ", boxes dlopened as the configuration says\n";

/* ---- which configuration ----------------------------------------------- */

/*
 * conf/default.ini beside the library: build/../conf in the build tree,
 * PREFIX/share/hakmem/conf installed. hak_boxes_dir() is build/boxes or
 * PREFIX/lib/hakmem.
 */
const char *hak_default_conf(void)
{
    static char path[PATH_MAX];
    static const char *const places[] = {
        "%s/../../conf/default.ini", "%s/../../share/hakmem/conf/default.ini"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char given[PATH_MAX];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(given, sizeof given, places[i], hak_boxes_dir());
#pragma GCC diagnostic pop
        if (realpath(given, path) != NULL)
            return path;
    }
    return NULL;
}

/* With raised rights: only what root alone can write. Else -1: any file. */
static int open_secure(const char *path)
{
    struct stat s;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_uid == 0 &&
        (s.st_mode & (S_IWGRP | S_IWOTH)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

int hak_setup_conf(char *const *envp, hak_diag_fn *diag)
{
    bool secure = hak_os_secure();
    const char *path = secure ? NULL : hak_conf_variable(envp, "HAKMEM_CONF");
    int fd = -1;
    if (path == NULL)
        path = hak_default_conf();
    if (path != NULL && secure && (fd = open_secure(path)) < 0)
        path = NULL;
    if (path == NULL) {
        diag(NULL, HAK_DIAG_ERROR, NULL, 0,
             secure ? "no configuration that root alone can write"
                    : "no configuration: HAKMEM_CONF=FILE names one");
        return -ENOENT;
    }
    return hak_conf_read(&hak_conf, path, fd, secure ? NULL : envp, NULL, diag,
                         NULL);
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
    static struct hak_foreign_host_1 table;
    if (strcmp(id, HAK_STACK_1) == 0)
        return &hak_stack_table;
    if (strcmp(id, HAK_FOREIGN_1) != 0)
        return NULL;
    table = hak_ffi_table;
    table.polled = polled;
    return &table;
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
