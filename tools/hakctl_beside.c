/* SPDX-License-Identifier: MIT
 * hakctl_beside.c - commands that need libraries which hakctl itself does not
 * link: starts the program beside hakctl that has them.
 *
 * Such a program is hakctl with the command's own files. There the functions of
 * this file, which are weak, give way to those.
 */
#include "hakctl.h"
#include "hakctl_profile.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static int run_beside(const char *name, int argc, char **argv)
{
    char dir[PATH_MAX], path[PATH_MAX + 32];
    if (!ctl_own_dir(dir, sizeof dir))
        return CTL_BAD;
    char **words = calloc((size_t)argc + 2, sizeof *words);
    if (words == NULL)
        ctl_die("no memory");
    words[0] = "hakctl";
    memcpy(words + 1, argv, (size_t)argc * sizeof *words);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    execv(path, words);
    ctl_say("cannot run %s: %s; make builds it, make install puts it there",
            path, strerror(errno));
    free(words);
    return CTL_BAD;
}

#define WEAK __attribute__((weak))

WEAK int ctl_top(int argc, char **argv)
{
    return run_beside("hakctl-monitor", argc, argv);
}

WEAK int ctl_exporter(int argc, char **argv)
{
    return run_beside("hakctl-monitor", argc, argv);
}

WEAK int ctl_profile_file(int argc, char **argv)
{
    return run_beside("hakctl-profile", argc, argv);
}

WEAK int ctl_record(int argc, char **argv)
{
    return run_beside("hakctl-trace", argc, argv);
}

WEAK int ctl_replay(int argc, char **argv)
{
    return run_beside("hakctl-trace", argc, argv);
}

WEAK int ctl_tune(int argc, char **argv)
{
    return run_beside("hakctl-trace", argc, argv);
}

WEAK int ctl_trace(int argc, char **argv)
{
    return run_beside("hakctl-trace", argc, argv);
}
