/* SPDX-License-Identifier: MIT
 * hakctl_check_box.c - hakctl check-box: the conformance suite on a box.
 *
 * The suite is a program of its own, beside this one: it brings a host that
 * is stricter than the core, and the two do not go into one process.
 */
#include "hakctl.h"

#include <errno.h>
#include <limits.h>

int ctl_check_box(int argc, char **argv)
{
    char dir[PATH_MAX], path[PATH_MAX + 32];
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return ctl_help(argv[0]);
    if (!ctl_own_dir(dir, sizeof dir))
        return CTL_BAD;
    snprintf(path, sizeof path, "%s/hakctl-check-box", dir);
    execv(path, argv);
    ctl_say("cannot run %s: %s; make builds it, make install puts it there",
            path, strerror(errno));
    return CTL_BAD;
}
