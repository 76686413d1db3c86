/* SPDX-License-Identifier: MIT
 * start.c - the start of the core in a process.
 *
 * Everything starts in the library's constructor, where dlopen is legal.
 * What allocates before is served by the boot arena. Nothing is ever torn
 * down: other libraries' destructors may still free.
 */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

struct hak_conf hak_conf;

/* ---- which configuration ----------------------------------------------- */

static const char *environment(char *const *envp, const char *name)
{
    size_t n = strlen(name);
    for (; envp != NULL && *envp != NULL; envp++)
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
            return *envp + n + 1;
    return NULL;
}

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

/* ---- findings ---- */

enum { TELL_MOST = 3 };
static uint32_t told;

/*
 * The first few errors; how many more there are comes at the end. Warnings of
 * the file are for hakctl lint; those of the environment have no other place
 * to be seen.
 */
static void tell(void *context, enum hak_diag_level level, const char *file,
                 int line, const char *text)
{
    (void)context;
    if (level == HAK_DIAG_WARNING ? line != 0 : told++ >= TELL_MOST)
        return;
    if (file == NULL)
        hak_say("%s", text);
    else if (line == 0)
        hak_say("%s: %s", file, text);
    else
        hak_say("%s:%d: %s", file, line, text);
}

static void on_libc_alone(const char *path)
{
    if (told > TELL_MOST)
        hak_say("%u more errors; hakctl lint %s shows them", told - TELL_MOST,
                path);
    if (hak_conf.strict)
        hak_die("strict = yes: giving up");
    hak_say("running on libc alone");
    hak_core.mode = HAK_MODE_LIBC;
}

/* ---- start ---- */

static int load_boxes(void)
{
    struct hak_loaded *loaded[HAK_MAX_BOXES] = {NULL};
    for (uint32_t i = 0; i < hak_conf.nboxes; i++)
        if (hak_conf.box[i].used)
            loaded[i] = hak_box_load(&hak_conf, &hak_conf.box[i]);
    if (hak_boxes.n == 0)
        return -ENOENT;
    hak_policy_build(&hak_conf, loaded);
    return 0;
}

static int set_up(const char *path, int fd, char *const *envp)
{
    int error = hak_conf_read(&hak_conf, path, fd, envp, NULL, tell, NULL);
    if (error != 0)
        return error;
    error = hak_space_start(hak_conf.purge_delay_ms);
    if (error == 0)
        error = hak_thread_start();
    if (error != 0) {
        tell(NULL, HAK_DIAG_ERROR, NULL, 0, "no address space to start with");
        return error;
    }
    error = load_boxes();
    if (error == 0 && told != 0 && hak_conf.strict)
        error = -EINVAL;
    return error;
}

static void open_for_business(void)
{
    hak_learner_start(&hak_conf);
    hak_core.free_route = hak_conf.free_route;
    hak_core.verify = hak_conf.verify;
    if (!hak_conf.verify && hak_conf.free_route == HAK_FREE_DIRECTORY)
        hak_directory.limit = hak_directory.limit_real;
    __atomic_store_n(&hak_core.mode, HAK_MODE_BOXES, __ATOMIC_RELEASE);
    hak_fork_start();
    hak_report_start();
}

void hak_start(char *const *envp)
{
    hak_libc_start();
    bool secure = hak_os_secure();
    const char *path = secure ? NULL : environment(envp, "HAKMEM_CONF");
    int fd = -1;
    if (path == NULL)
        path = hak_default_conf();
    if (path != NULL && secure && (fd = open_secure(path)) < 0)
        path = NULL;
    if (path == NULL) {
        tell(NULL, HAK_DIAG_ERROR, NULL, 0,
             secure ? "no configuration that root alone can write"
                    : "no configuration: HAKMEM_CONF=FILE names one");
        on_libc_alone("FILE");
        return;
    }
    if (set_up(path, fd, secure ? NULL : envp) != 0)
        on_libc_alone(path);
    else
        open_for_business();
}
