/* SPDX-License-Identifier: MIT
 * engine.h - the learner's engine, from records of retires to decisions.
 *
 *     record -> tally of its class -> figures of an interval -> decision for
 *     each class
 *
 * docs/learner.md defines the figures. Ratios are in basis points (bps):
 * 10000 = all.
 *
 * The engine uses no threads, clocks or global variables, so that tests can
 * feed it any records. learner.c ties it to the core. No function allocates,
 * locks or fails. Each struct belongs to its caller.
 */
#ifndef HAKMEM_LEARNER_H
#define HAKMEM_LEARNER_H

#include <conf/conf.h>

/* Sums over the retires of one class. They only grow. */
struct hak_tally {
    uint64_t retires;
    uint64_t allocations, frees, local_frees;
    uint64_t utilisation_bps; /* summed over the retires */
};

/*
 * hak_tally_add - add one record to the tally of its class.
 * tally    tally[HAK_CLASSES]; one thread writes, others may read meanwhile by
 *          hak_counted
 * Returns  false: the record's slots belong to no class; nothing has changed
 * Cost     a few additions and a division
 */
bool hak_tally_add(struct hak_tally *tally, const struct hak_retire *record);

/* Add tally[HAK_CLASSES], whose thread may be running, to sum[HAK_CLASSES]. */
void hak_tally_sum(struct hak_tally *sum, const struct hak_tally *tally);

/* The figures of one class in an interval. Ratios are 0 without retires. */
struct hak_learner_ratios {
    uint64_t retires;     /* in the interval */
    uint64_t allocations; /* from the pages that retired in the interval */
    uint32_t bps[HAK_LEARN_FIGURES];
};

struct hak_learner_interval {
    uint64_t retires;
    uint32_t utilisation_bps; /* mean over the retires of all classes */
    uint32_t free_hit_bps;    /* over the frees of all classes */
    struct hak_learner_ratios of[HAK_CLASSES];
};

/* Compute the figures of the retires between two sums of tallies. */
void hak_learner_look(const struct hak_tally *before,
                      const struct hak_tally *after,
                      struct hak_learner_interval *out);

enum { HAK_LEARN_NO_RULE = -1 }; /* the class goes by [policy] */

/* The standing rule of one class, and the rule that may replace it. */
struct hak_learner_class {
    int rule;        /* the standing rule, or HAK_LEARN_NO_RULE */
    int candidate;   /* wanted by the last evaluation; == rule: no change */
    uint32_t agreed; /* evaluations in a row that wanted the candidate */
    uint64_t switches;
};

struct hak_learner_engine {
    const struct hak_conf *conf;
    uint32_t unusable; /* bit n: rule n leads to no box; set by the caller */
    uint64_t evaluations, decisions;
    struct hak_learner_class of[HAK_CLASSES];
};

/* Set the engine up, with no standing rules. conf must outlive the engine. */
void hak_learner_begin(struct hak_learner_engine *e,
                       const struct hak_conf *conf);

/*
 * hak_learner_judge - evaluate one interval.
 * For each class, the first rule whose conditions all hold is wanted. For the
 * standing rule the conditions are relaxed by margin_bps. A rule that was
 * wanted `settle` times in a row becomes the standing rule. A class without
 * retires in the interval keeps its rule. A standing rule that has become
 * unusable is dropped at once: its class would get no boxes, have no retires,
 * and so never change again.
 * Returns  bit n: the route of class n changed. If the new rule has the route
 *          of the old one, this is no decision.
 */
uint32_t hak_learner_judge(struct hak_learner_engine *e,
                           const struct hak_learner_interval *interval);

#endif
