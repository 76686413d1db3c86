/* SPDX-License-Identifier: MIT
 * hakctl_files.c - names of files, and files that are written whole or not at
 * all.
 */
#include "hakctl.h"

#include <base/text.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names --------------------------------------------------------------- */

char *ctl_absolute(const char *path)
{
    char cwd[PATH_MAX] = "", *whole = NULL;
    bool relative = path[0] != '/';
    if (relative && getcwd(cwd, sizeof cwd) == NULL)
        ctl_die("cannot tell the working directory: %s", strerror(errno));
    if (asprintf(&whole, "%s%s%s", cwd, relative ? "/" : "", path) < 0)
        ctl_die("no memory");
    return whole;
}

char *ctl_with_pid(const char *path, pid_t pid)
{
    char digits[24];
    size_t bytes = strlen(path) + sizeof digits;
    char *whole = malloc(bytes);
    if (whole == NULL)
        ctl_die("no memory");
    hak_text_replace(whole, bytes, path, "%p",
                     hak_text_number(digits, (unsigned long)pid));
    return whole;
}

/* ---- writing ------------------------------------------------------------- */

/* FILE.tmp, or FILE if that is a device or a pipe. The caller frees it. */
static char *name_before(const char *file)
{
    char *name = NULL;
    struct stat s;
    bool other = stat(file, &s) == 0 && !S_ISREG(s.st_mode);
    if (asprintf(&name, "%s%s", file, other ? "" : ".tmp") < 0)
        ctl_die("no memory");
    return name;
}

int ctl_write_whole(const char *file,
                    bool (*write)(FILE *out, const void *context),
                    const void *context)
{
    char *before = name_before(file);
    bool apart = strcmp(before, file) != 0;
    FILE *out = fopen(before, "we");
    bool good = out != NULL && write(out, context);
    good = good && fflush(out) == 0 && !ferror(out);
    if (out != NULL)
        good = fclose(out) == 0 && good;
    good = good && (!apart || rename(before, file) == 0);
    int error = good ? 0 : -errno;
    if (!good && out != NULL && apart)
        unlink(before);
    free(before);
    return error;
}

/* To open a pipe would end it for its reader. */
int ctl_can_write(const char *file)
{
    struct stat s;
    bool there = stat(file, &s) == 0;
    if (there && S_ISDIR(s.st_mode))
        return -EISDIR;
    if (there && !S_ISREG(s.st_mode))
        return access(file, W_OK) == 0 ? 0 : -errno;
    char *before = name_before(file);
    FILE *out = fopen(before, "we");
    int error = out != NULL ? 0 : -errno;
    if (out != NULL) {
        fclose(out);
        unlink(before);
    }
    free(before);
    return error;
}
