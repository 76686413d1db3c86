/* SPDX-License-Identifier: MIT
 * engine.h - the learner's engine: records of retires in, decisions out.
 *
 *     record -> tally of its class -> figures of a interval -> decision a class
 *
 * Nothing here knows threads, routes or clocks, and nothing is global, so
 * that tests feed it what they like. learner.c ties it to the core.
 * docs/learner.md defines the figures. Ratios are in basis points (bps):
 * 10000 = all.
 *
 * None of this allocates, locks or fails; each struct belongs to its caller.
 */
#ifndef HAKMEM_LEARNER_H
#define HAKMEM_LEARNER_H

#include <conf/conf.h>

/* Sums over the retires of one class; they only grow. */
struct hak_tally {
    uint64_t retires;
    uint64_t allocations, frees, local_frees;
    uint64_t utilisation_bps; /* summed over the retires */
};

/*
 * hak_tally_add - add one record to its class's tally of tally[HAK_CLASSES].
 * Other threads may read the tallies meanwhile (hak_counted); one writer.
 * Returns false: its slots are of no class, nothing changed. Cost: a few
 * additions and a division.
 */
bool hak_tally_add(struct hak_tally *tally, const struct hak_retire *record);

/* Add what tally[HAK_CLASSES] of a thread that runs has to sum[HAK_CLASSES]. */
void hak_tally_sum(struct hak_tally *sum, const struct hak_tally *tally);

/* What an interval of retires says of one class. Ratios are 0 without retires.
 */
struct hak_learner_ratios {
    uint64_t retires;     /* in the interval */
    uint64_t allocations; /* of the pages that retired in it */
    uint32_t bps[HAK_LEARN_FIGURES];
};

struct hak_learner_interval {
    uint64_t retires;
    uint32_t utilisation_bps; /* mean over the retires of all classes */
    uint32_t free_hit_bps;    /* over the frees of all classes */
    struct hak_learner_ratios of[HAK_CLASSES];
};

/* The figures of the retires between two sums of tallies. */
void hak_learner_look(const struct hak_tally *before,
                      const struct hak_tally *after,
                      struct hak_learner_interval *out);

enum { HAK_LEARN_NO_RULE = -1 }; /* as [policy] says */

/* What stands for one class, and what wants to take its place. */
struct hak_learner_class {
    int rule;        /* that stands, or HAK_LEARN_NO_RULE */
    int candidate;   /* that the last evaluations wanted; == rule: none */
    uint32_t agreed; /* evaluations in a row that wanted it */
    uint64_t switches;
};

struct hak_learner_engine {
    const struct hak_conf *conf;
    uint32_t unusable; /* bit n: rule n leads to no box now; by the caller */
    uint64_t evaluations, decisions;
    struct hak_learner_class of[HAK_CLASSES];
};

/* Begin with no rule standing. conf must outlive the engine. */
void hak_learner_begin(struct hak_learner_engine *e,
                       const struct hak_conf *conf);

/*
 * hak_learner_judge - evaluate one interval.
 * The first rule of a class whose conditions hold is wanted; those of the
 * rule that stands hold with margin_bps in their favour. What was wanted
 * settle times in a row stands from now on. A class without retires in the
 * interval is left as it is. A rule that has become unusable stands no more, at
 * once: with nowhere to go, its class would have no more retires.
 * Returns  bit n: the route of class n changed. A rule that takes over with
 *          the same route is no decision.
 */
uint32_t hak_learner_judge(struct hak_learner_engine *e,
                           const struct hak_learner_interval *interval);

#endif
