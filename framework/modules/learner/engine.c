/* SPDX-License-Identifier: MIT
 * engine.c - computes figures from tallies, and decisions from figures.
 */
#include <modules/learner/engine.h>

#include <kit/sync.h>

enum { ALL_BPS = 10000 };

/* The counters of running threads are read one by one, so a part may exceed the
 * whole. */
static uint32_t ratio_bps(uint64_t part, uint64_t whole)
{
    if (whole == 0)
        return 0;
    return (uint32_t)(hak_min(part, whole) * ALL_BPS / whole);
}

/* ---- tallies ----------------------------------------------------------- */

bool hak_tally_add(struct hak_tally *tally, const struct hak_retire *record)
{
    uint32_t c = hak_class_of_index(hak_index_of(record->slot_bytes));
    if (c >= HAK_CLASSES)
        return false;
    struct hak_tally *of = &tally[c];
    hak_count(&of->retires, 1);
    hak_count(&of->allocations, record->allocations);
    hak_count(&of->frees, record->frees);
    hak_count(&of->local_frees, record->local_frees);
    hak_count(&of->utilisation_bps, ratio_bps(record->used, record->capacity));
    return true;
}

void hak_tally_sum(struct hak_tally *sum, const struct hak_tally *tally)
{
    for (uint32_t c = 0; c < HAK_CLASSES; c++) {
        sum[c].retires += hak_counted(&tally[c].retires);
        sum[c].allocations += hak_counted(&tally[c].allocations);
        sum[c].frees += hak_counted(&tally[c].frees);
        sum[c].local_frees += hak_counted(&tally[c].local_frees);
        sum[c].utilisation_bps += hak_counted(&tally[c].utilisation_bps);
    }
}

/* ---- figures ----------------------------------------------------------- */

static struct hak_tally tally_between(const struct hak_tally *before,
                                      const struct hak_tally *after)
{
    return (struct hak_tally){
        .retires = after->retires - before->retires,
        .allocations = after->allocations - before->allocations,
        .frees = after->frees - before->frees,
        .local_frees = after->local_frees - before->local_frees,
        .utilisation_bps = after->utilisation_bps - before->utilisation_bps,
    };
}

static uint32_t mean_utilisation(const struct hak_tally *t)
{
    return ratio_bps(t->utilisation_bps, t->retires * ALL_BPS);
}

void hak_learner_look(const struct hak_tally *before,
                      const struct hak_tally *after,
                      struct hak_learner_interval *out)
{
    struct hak_tally of[HAK_CLASSES], all = {0};
    const struct hak_tally none = {0};
    for (uint32_t c = 0; c < HAK_CLASSES; c++) {
        of[c] = tally_between(&before[c], &after[c]);
        all = (struct hak_tally){
            .retires = all.retires + of[c].retires,
            .allocations = all.allocations + of[c].allocations,
            .frees = all.frees + of[c].frees,
            .local_frees = all.local_frees + of[c].local_frees,
            .utilisation_bps = all.utilisation_bps + of[c].utilisation_bps,
        };
    }
    out->retires = all.retires;
    out->utilisation_bps = mean_utilisation(&all);
    out->free_hit_bps = ratio_bps(all.local_frees, all.frees);
    for (uint32_t c = 0; c < HAK_CLASSES; c++) {
        const struct hak_tally *t = of[c].retires != 0 ? &of[c] : &none;
        struct hak_learner_ratios *r = &out->of[c];
        r->retires = t->retires;
        r->allocations = t->allocations;
        r->bps[HAK_LEARN_SHARE] = ratio_bps(t->allocations, all.allocations);
        r->bps[HAK_LEARN_RETIRE] = ratio_bps(t->retires, all.retires);
        r->bps[HAK_LEARN_UTILISATION] = mean_utilisation(t);
        r->bps[HAK_LEARN_FREE_HIT] = ratio_bps(t->local_frees, t->frees);
    }
}

/* ---- decisions --------------------------------------------------------- */

static bool condition_holds(const struct hak_conf_condition *when,
                            uint32_t value_bps, uint32_t margin_bps)
{
    switch (when->compare) {
    case HAK_LEARN_BELOW:
        return value_bps < when->bps + margin_bps;
    case HAK_LEARN_AT_MOST:
        return value_bps <= when->bps + margin_bps;
    case HAK_LEARN_ABOVE:
        return value_bps + margin_bps > when->bps;
    default:
        return value_bps + margin_bps >= when->bps;
    }
}

static bool rule_holds(const struct hak_conf_learn_rule *rule,
                       const struct hak_learner_ratios *r, uint32_t margin_bps)
{
    for (uint32_t i = 0; i < rule->nwhen; i++)
        if (!condition_holds(&rule->when[i], r->bps[rule->when[i].figure],
                             margin_bps))
            return false;
    return true;
}

static int wanted_rule(const struct hak_learner_engine *e, uint32_t c,
                       const struct hak_learner_ratios *r)
{
    const struct hak_conf_learner *l = &e->conf->learner;
    for (int i = 0; i < (int)l->nrules; i++) {
        uint32_t margin_bps = i == e->of[c].rule ? l->margin_bps : 0;
        const struct hak_conf_learn_rule *rule = &e->conf->learn_rule[i];
        if ((rule->classes >> c & 1) && !(e->unusable >> i & 1) &&
            rule_holds(rule, r, margin_bps))
            return i;
    }
    return HAK_LEARN_NO_RULE;
}

/* The position in conf->route that a rule gives class c. -1: there is no rule,
 * and [policy] gives the class several routes or none. */
static int route_of_rule(const struct hak_conf *conf, uint32_t c, int rule)
{
    if (rule >= 0)
        return (int)conf->learn_rule[rule].route;
    uint32_t last = hak_index_of(hak_class_bytes(c));
    int policy = conf->index_rule[last];
    if (policy < 0)
        return -1;
    uint32_t route = conf->rule[policy].route;
    for (uint32_t i = last; i > 0 && hak_class_of_index(i - 1) == c; i--)
        if (conf->index_rule[i - 1] < 0 ||
            conf->rule[conf->index_rule[i - 1]].route != route)
            return -1;
    return (int)route;
}

/* Make rule the standing rule of class c. Returns true: the route changed. */
static bool let_rule_stand(struct hak_learner_engine *e, uint32_t c, int rule)
{
    struct hak_learner_class *k = &e->of[c];
    int from = route_of_rule(e->conf, c, k->rule),
        to = route_of_rule(e->conf, c, rule);
    k->rule = rule;
    if (from == to && from >= 0)
        return false;
    k->switches++;
    e->decisions++;
    return true;
}

static bool count_agreement(struct hak_learner_engine *e, uint32_t c, int want)
{
    struct hak_learner_class *k = &e->of[c];
    k->agreed = want == k->candidate ? k->agreed + 1 : 1;
    k->candidate = want;
    return want != k->rule && k->agreed >= e->conf->learner.settle &&
           let_rule_stand(e, c, want);
}

static bool judge_class(struct hak_learner_engine *e, uint32_t c,
                        const struct hak_learner_ratios *r)
{
    int rule = e->of[c].rule;
    bool changed = rule >= 0 && (e->unusable >> rule & 1) &&
                   let_rule_stand(e, c, HAK_LEARN_NO_RULE);
    if (r->retires != 0)
        changed |= count_agreement(e, c, wanted_rule(e, c, r));
    return changed;
}

void hak_learner_begin(struct hak_learner_engine *e,
                       const struct hak_conf *conf)
{
    *e = (struct hak_learner_engine){.conf = conf};
    for (uint32_t c = 0; c < HAK_CLASSES; c++)
        e->of[c].rule = e->of[c].candidate = HAK_LEARN_NO_RULE;
}

uint32_t hak_learner_judge(struct hak_learner_engine *e,
                           const struct hak_learner_interval *interval)
{
    uint32_t changed = 0;
    e->evaluations++;
    for (uint32_t c = 0; c < HAK_CLASSES; c++)
        if (judge_class(e, c, &interval->of[c]))
            changed |= 1u << c;
    return changed;
}
