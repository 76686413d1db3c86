/* SPDX-License-Identifier: MIT
 * hakctl_beside.c - hakctl top, hakctl exporter: starts hakctl-monitor beside
 * hakctl, which links the libraries that these commands need.
 */
#include "hakctl.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static int run_monitor(int argc, char **argv)
{
    char dir[PATH_MAX], path[PATH_MAX + 32];
    if (!ctl_own_dir(dir, sizeof dir))
        return CTL_BAD;
    char **words = calloc((size_t)argc + 2, sizeof *words);
    if (words == NULL)
        ctl_die("no memory");
    words[0] = "hakctl";
    memcpy(words + 1, argv, (size_t)argc * sizeof *words);
    snprintf(path, sizeof path, "%s/hakctl-monitor", dir);
    execv(path, words);
    ctl_say("cannot run %s: %s; make builds it, make install puts it there",
            path, strerror(errno));
    free(words);
    return CTL_BAD;
}

int ctl_top(int argc, char **argv)
{
    return run_monitor(argc, argv);
}

int ctl_exporter(int argc, char **argv)
{
    return run_monitor(argc, argv);
}
