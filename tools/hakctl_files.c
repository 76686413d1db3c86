/* SPDX-License-Identifier: MIT
 * hakctl_files.c - files that hakctl writes whole or not at all.
 */
#include "hakctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *ctl_name_before(const char *file)
{
    char *name = NULL;
    struct stat s;
    bool other = stat(file, &s) == 0 && !S_ISREG(s.st_mode);
    if (asprintf(&name, "%s%s", file, other ? "" : ".tmp") < 0)
        ctl_die("no memory");
    return name;
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
    char *before = ctl_name_before(file);
    FILE *out = fopen(before, "we");
    int error = out != NULL ? 0 : -errno;
    if (out != NULL) {
        fclose(out);
        unlink(before);
    }
    free(before);
    return error;
}
