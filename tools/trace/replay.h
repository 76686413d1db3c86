/* SPDX-License-Identifier: MIT
 * replay.h - plays a trace on an allocator, in a process of its own.
 *
 *     struct replay_plan *plan = replay_plan_open("a.trace", 0, why, n);
 *     struct replay_options options = REPLAY_OPTIONS;
 *     replay_run(plan, &options, environment, &figures, why, n);
 *     replay_plan_close(plan);
 *
 * One thread. docs/replay.md says how a trace is played, and what is measured.
 */
#ifndef HAKMEM_REPLAY_H
#define HAKMEM_REPLAY_H

#include "trace.h"

#include "../hakctl_compare.h"

/* How a trace is played. */
struct replay_options {
    /* What counts: calls from this share of the trace to that, 0 to 1. What
     * comes before is played without being measured; what comes after is not
     * played. */
    double from, to;
    uint64_t seed;
    bool free_run;    /* threads wait only for blocks that they need */
    bool exact;       /* one call at a time, in the order of the trace */
    bool check;       /* fill blocks, check contents and overlap */
    bool real_time;   /* the allocator sees the real clock, not the trace's */
    bool show_output; /* what the process writes on stderr goes to stderr */
};
#define REPLAY_OPTIONS ((struct replay_options){.to = 1, .seed = 1})

/* What one run gave. */
struct replay_figures {
    uint64_t nops;   /* calls that were measured */
    double alloc_ns; /* in all calls of the allocator, all threads */
    double wall_ns;  /* of the part that counts */
    double cpu_ns; /* of the process: calls, touching, and the playing itself */
    double malloc_ns[3];      /* p50, p99, p99.9 of calls that make a block */
    double free_ns[3];        /* and of free */
    uint64_t peak_rss_bytes;  /* anonymous memory of the allocator alone */
    uint64_t mean_rss_bytes;  /* over the calls */
    uint64_t peak_live_bytes; /* of the program's blocks */
    uint64_t mean_live_bytes;
    uint64_t library_bytes; /* memory of the library's file, at the end */
    uint64_t faults;        /* page faults without reading */
    bool of_libc;           /* no library of LD_PRELOAD serves malloc */
    char maker[256];        /* the file that malloc is in */
};

/* What a trace holds. */
struct replay_facts {
    uint64_t ncalls; /* that are played */
    uint64_t
        nfailed; /* calls that failed in the program; they are not played */
    uint64_t nstrange; /* frees of blocks that are not in the trace; neither */
    uint32_t nthreads;
    uint64_t time_ns;
    uint64_t peak_live_bytes, peak_live_blocks;
    uint64_t lost;     /* calls that could not be recorded */
    bool was_cut;      /* the end of the file is missing */
    const char *about; /* the JSON object of trace_create */
};

/* Memory at one place of the trace, of the last run. */
struct replay_sample {
    uint64_t call, time_ns;
    uint64_t live_bytes, rss_bytes;
    uint64_t recorded_bytes; /* what the program had in all; 0: not known */
};

/* A trace that is ready to be played. */
struct replay_plan;
/*
 * replay_plan_open - read a trace once.
 * memory_bytes  for the operations in memory; a trace that needs more is read
 *               again for each run; 0: 1 GiB
 * Returns       NULL, with the reason in why
 */
struct replay_plan *replay_plan_open(const char *path, uint64_t memory_bytes,
                                     char *why, size_t n);
void replay_plan_close(struct replay_plan *plan);
/* Valid until replay_plan_close. */
const struct replay_facts *replay_facts(const struct replay_plan *plan);

/*
 * replay_run - play a plan once.
 * environment  of the process: LD_PRELOAD, HAKMEM_CONF ... (as compare_prepare
 *              makes it)
 * Returns      0; -EINTR: interrupted; or -errno, with the reason in why: the
 *              allocator crashed, did not serve, or failed a check
 */
int replay_run(struct replay_plan *plan, const struct replay_options *options,
               char *const *environment, struct replay_figures *out, char *why,
               size_t n);
/* The samples of the last run, in the order of calls; valid until the next. */
const struct replay_sample *replay_samples(const struct replay_plan *plan,
                                           size_t *n);
/* The path of hakctl-player, for compare_prepare; the caller frees it. */
char *replay_player(void);

#endif
