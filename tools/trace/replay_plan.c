/* SPDX-License-Identifier: MIT
 * replay_plan.c - a trace that is ready to be played, and the file in memory
 * through which hakctl-player gets it.
 */
#include "replay_plan.h"

#include "../hakctl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const uint64_t usual_memory = UINT64_C(1) << 30;

/* ---- the file ------------------------------------------------------------ */

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

static int make_file(struct replay_plan *plan, char *why, size_t n)
{
    plan->control_bytes =
        whole_pages(sizeof *plan->control + plan->nseats * sizeof *plan->seats);
    plan->fd = memfd_create("hakctl replay", MFD_CLOEXEC);
    if (plan->fd < 0 || ftruncate(plan->fd, (off_t)plan->control_bytes) != 0) {
        snprintf(why, n, "cannot be held in memory: %s", strerror(errno));
        return -errno;
    }
    void *p = mmap(NULL, plan->control_bytes, PROT_READ | PROT_WRITE,
                   MAP_SHARED, plan->fd, 0);
    if (p == MAP_FAILED) {
        snprintf(why, n, "cannot be held in memory: %s", strerror(errno));
        return -errno;
    }
    plan->control = p;
    plan->seats = (struct play_seat *)(plan->control + 1);
    return 0;
}

/* ---- opening ------------------------------------------------------------- */

static int look_at(struct replay_plan *plan, char *why, size_t n)
{
    int error = replay_scan(plan, why, n);
    if (error != 0)
        return error;
    if (plan->facts.ncalls == 0) {
        snprintf(why, n, "has no calls that can be played%s",
                 plan->facts.was_cut ? "; its end is missing" : "");
        return -ENODATA;
    }
    /* More than are needed, so that slots are used again late. */
    plan->nslots =
        plan->facts.peak_live_blocks +
        (plan->nseats > 1 ? 1024 + plan->facts.peak_live_blocks / 16 : 1);
    if (plan->nslots >= UINT32_MAX) {
        snprintf(why, n, "has too many live blocks: %llu",
                 (unsigned long long)plan->facts.peak_live_blocks);
        return -EFBIG;
    }
    plan->about = strdup(trace_about(plan->trace));
    if (plan->about == NULL)
        ctl_die("replay: no memory");
    plan->facts.about = plan->about;
    return make_file(plan, why, n);
}

struct replay_plan *replay_plan_open(const char *path, uint64_t memory_bytes,
                                     char *why, size_t n)
{
    struct replay_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL)
        ctl_die("replay: no memory");
    compare_signals_start();
    plan->fd = -1;
    plan->memory_bytes = memory_bytes != 0 ? memory_bytes : usual_memory;
    plan->path = strdup(path);
    plan->trace = trace_open(path, NULL, why, n);
    if (plan->path != NULL && plan->trace != NULL && look_at(plan, why, n) == 0)
        return plan;
    replay_plan_close(plan);
    return NULL;
}

void replay_plan_close(struct replay_plan *plan)
{
    if (plan->control != NULL)
        munmap(plan->control, plan->control_bytes);
    if (plan->fd >= 0)
        close(plan->fd);
    if (plan->trace != NULL)
        trace_close(plan->trace);
    trace_table_clear(&plan->touched);
    free(plan->path);
    free(plan->about);
    free(plan);
}

const struct replay_facts *replay_facts(const struct replay_plan *plan)
{
    return &plan->facts;
}

const struct replay_sample *replay_samples(const struct replay_plan *plan,
                                           size_t *n)
{
    *n = plan->nsamples;
    return plan->sample;
}

char *replay_player(void)
{
    char own[PATH_MAX - 32], *path = NULL;
    if (!ctl_own_dir(own, sizeof own))
        return NULL;
    if (asprintf(&path, "%s/hakctl-player", own) < 0)
        ctl_die("replay: no memory");
    return path;
}
