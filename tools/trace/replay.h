/* SPDX-License-Identifier: MIT
 * replay.h - plays a trace on an allocator, in a process of its own.
 */
#ifndef HAKMEM_REPLAY_H
#define HAKMEM_REPLAY_H

#include "trace.h"

#include "../hakctl_compare.h"

/* How a trace is played. */
struct replay_options {
    /* What counts: operations from this share of the trace to that, 0 to 1.
     * What comes before is played without being measured; what comes after is
     * not played. */
    double from, to;
    uint64_t seed;
    bool free_run; /* threads wait only for blocks that they need */
    bool check;    /* fill blocks, check contents and overlap */
};

/* What one run gave. */
struct replay_figures {
    uint64_t nops;            /* that were measured */
    double alloc_ns;          /* in all calls of the allocator, all threads */
    double wall_ns;           /* of the part that counts */
    double malloc_ns[3];      /* p50, p99, p99.9 of calls that make a block */
    double free_ns[3];        /* and of free */
    uint64_t peak_rss_bytes;  /* anonymous memory of the allocator alone */
    uint64_t mean_rss_bytes;  /* over the operations */
    uint64_t peak_live_bytes; /* of the program's blocks */
    uint64_t mean_live_bytes;
    uint64_t faults; /* page faults without reading */
};

/* A trace that is ready to be played. */
struct replay_plan;
/* NULL, with the reason in why. */
struct replay_plan *replay_plan_open(const char *trace, char *why, size_t n);
void replay_plan_close(struct replay_plan *plan);

/*
 * replay_run - play a plan once.
 * environment  of the process: LD_PRELOAD, HAKMEM_CONF ... (as compare_prepare
 *              makes it)
 * Returns      0; -EINTR: interrupted; or -errno, with the reason in why: the
 *              allocator crashed, did not serve, or failed a check
 */
int replay_run(const struct replay_plan *plan,
               const struct replay_options *options, char *const *environment,
               struct replay_figures *out, char *why, size_t n);

#endif
