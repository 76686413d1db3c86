/* SPDX-License-Identifier: MIT
 * replay_command.h - what the files of the command hakctl replay share.
 *
 *     replay.c           the command line, and what is done in order
 *     replay_measures.c  a run as hakctl compare has it: its measures
 *     replay_json.c      all runs and the curves as JSON
 *     replay_page.c      the same as a page of HTML
 */
#ifndef HAKMEM_REPLAY_COMMAND_H
#define HAKMEM_REPLAY_COMMAND_H

#include "replay.h"

enum replay_measure {
    REPLAY_ALLOC,
    REPLAY_PEAK,
    REPLAY_MEAN,
    REPLAY_FRAGMENTATION,
    REPLAY_FAULTS,
    REPLAY_WALL,
    REPLAY_CPU,
    REPLAY_LIBRARY,
    REPLAY_MALLOC, /* p50, p99, p99.9 */
    REPLAY_FREE = REPLAY_MALLOC + 3,
    REPLAY_MEASURES = REPLAY_FREE + 3
};

/* Memory over the trace on one contender, of its first round. */
struct replay_curve {
    struct replay_sample *at; /* allocated; NULL: none */
    size_t n;
};

struct replay {
    const char *file;
    struct replay_plan *plan;
    struct replay_options options;
    const char *from, *to; /* as given; NULL: not given */
    const char *page;      /* NULL: none */
    uint64_t memory_bytes;
    struct compare compare;
    struct replay_curve curve[COMPARE_MAX_CONTENDERS];
};

/* Set what of struct compare the measures and runs are. */
void replay_set_measures(struct replay *r);

/* All of it. The caller releases it. */
json_t *replay_as_json(const struct replay *r);

/* Write the page. Returns false, after a message. */
bool replay_write_page(const json_t *all, const char *file);

#endif
