/* SPDX-License-Identifier: MIT
 * replay.c - hakctl replay: what would a program cost on another allocator?
 */
#include "replay.h"

#include "../hakctl.h"

#include <stdlib.h>

extern char **environ;

int ctl_replay(int argc, char **argv)
{
    char why[1024];
    struct replay_options options = REPLAY_OPTIONS;
    struct replay_figures f;
    if (argc < 2)
        return CTL_BAD;
    for (int i = 2; i < argc; i++) {
        options.check |= strcmp(argv[i], "--check") == 0;
        options.exact |= strcmp(argv[i], "--exact") == 0;
        options.free_run |= strcmp(argv[i], "--free-run") == 0;
    }
    struct replay_plan *plan =
        replay_plan_open(argv[1], getenv("MEM") ? 1 : 0, why, sizeof why);
    if (plan == NULL) {
        ctl_say("replay: %s: %s", argv[1], why);
        return CTL_BAD;
    }
    for (int i = 0; i < 3; i++) {
        int error = replay_run(plan, &options, environ, &f, why, sizeof why);
        if (error != 0)
            ctl_say("replay: %s: %s", argv[1], why);
        else
            printf("%s: %llu calls %.2f ms, wall %.2f ms, malloc %.1f %.1f "
                   "%.1f ns, free %.1f "
                   "%.1f %.1f ns, rss %.1f mean %.1f KiB, live %.1f mean %.1f "
                   "KiB, faults %llu\n",
                   f.maker, (unsigned long long)f.nops, f.alloc_ns / 1e6,
                   f.wall_ns / 1e6, f.malloc_ns[0], f.malloc_ns[1],
                   f.malloc_ns[2], f.free_ns[0], f.free_ns[1], f.free_ns[2],
                   (double)f.peak_rss_bytes / 1024,
                   (double)f.mean_rss_bytes / 1024,
                   (double)f.peak_live_bytes / 1024,
                   (double)f.mean_live_bytes / 1024,
                   (unsigned long long)f.faults);
    }
    replay_plan_close(plan);
    return CTL_OK;
}
