/* SPDX-License-Identifier: MIT
 * learner.c - retires of all boxes to routes: the engine's glue to the core.
 *
 *     box: host->retired --> tally of the thread, no lock --> "due", at times
 *     malloc, slow path, due --> sum of all tallies - sum at the last time
 *         --> hak_learner_judge --> hak_policy_set, log
 *
 * A box may say so in any state of its own and under its lock, so there only
 * numbers are added. They are judged in a slow path of malloc, before it
 * enters any box: a change of route is then like one by hak_route.
 */
#include "core.h"
#include <hakmem/hakmem.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

enum { BATCH = 8, LINE_BYTES = 320, PATH_BYTES = 512 };

uint32_t hak_learner_due;

/* conf is set once; the rest is guarded by lock, but for waiting. */
static HAK_SPARSE struct {
    const struct hak_conf *conf; /* NULL: off */
    struct hak_lock lock;
    struct hak_learner_engine engine;
    struct hak_tally seen[HAK_CLASSES]; /* all threads, last evaluation */
    struct hak_learner_window window;
    struct hak_held log; /* a file; set once */
    bool log_failed;
    _Alignas(64) uint64_t waiting; /* retires, in batches, of all threads */
} learner;

void hak_learner_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&learner.lock, phase);
}

void hak_learner_start(const struct hak_conf *conf)
{
    if (conf->learner.mode == HAK_LEARN_OFF)
        return;
    hak_learner_begin(&learner.engine, conf);
    learner.conf = conf;
    const char *log = conf->learner.log;
    if (strcasecmp(log, "none") == 0 || strcasecmp(log, "stderr") == 0)
        return;
    char path[PATH_BYTES], why[256];
    if (hak_hold_file(&learner.log, log, path, sizeof path, why, sizeof why))
        return;
    learner.log_failed = true;
    hak_say("[learner] log = %s: cannot be opened: %s", path, why);
}

/* ---- records ----------------------------------------------------------- */

bool hak_learner_is_on(void)
{
    return learner.conf != NULL;
}

/* A thread that is not attached has no tallies: its rare retires are lost. */
void hak_learner_retired(const struct hak_retire *record)
{
    struct hak_thread *t = hak_self;
    if (!hak_is_attached(t) || !hak_tally_add(t->retired, record) ||
        ++t->nretired < BATCH)
        return;
    t->nretired = 0;
    uint64_t waiting = hak_count_shared(&learner.waiting, BATCH);
    if (waiting >= learner.conf->learner.every)
        __atomic_store_n(&hak_learner_due, 1, __ATOMIC_RELAXED);
}

static void sum_threads(struct hak_tally sum[HAK_CLASSES])
{
    memset(sum, 0, HAK_CLASSES * sizeof sum[0]);
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        hak_tally_sum(sum, t->retired);
}

/* ---- routes ------------------------------------------------------------ */

static const char *route_of(int rule)
{
    const struct hak_conf *conf = learner.conf;
    return rule < 0 ? "[policy]"
                    : conf->route[conf->learn_rule[rule].route].name;
}

static const char *rule_name(int rule)
{
    return rule < 0 ? NULL : learner.conf->learn_rule[rule].name;
}

static void class_indexes(uint32_t c, uint32_t *first, uint32_t *last)
{
    *first = c == 0 ? 0 : hak_index_of(hak_class_bytes(c - 1)) + 1;
    *last = hak_index_of(hak_class_bytes(c));
}

static const char *route_now(uint32_t c)
{
    return hak_chain_of(hak_index_of(hak_class_bytes(c)))->route;
}

/* Rules to boxes that were left out or drained would send sizes to libc. */
static void mark_unusable(void)
{
    learner.engine.unusable = 0;
    for (uint32_t i = 0; i < learner.conf->learner.nrules; i++)
        if (!hak_policy_leads_to_box(route_of((int)i)))
            learner.engine.unusable |= 1u << i;
}

static void apply(uint32_t c)
{
    int rule = learner.engine.of[c].rule;
    uint32_t first, last;
    class_indexes(c, &first, &last);
    if (rule >= 0)
        hak_policy_set(first, last, route_of(rule));
    else
        hak_policy_reset(first, last);
    hak_thread_reroute(first, last);
}

/* ---- log --------------------------------------------------------------- */

/* One evaluation's decisions, written when the lock is free again. */
struct decisions {
    uint64_t evaluation;
    uint32_t n;
    struct decision {
        uint32_t class_number;
        const char *from;
        int rule;
        uint32_t bps[HAK_LEARN_FIGURES];
    } of[HAK_CLASSES];
};

/* was: the rule that stood until now; nothing was applied yet. */
static void note(struct decisions *all, uint32_t c, int was)
{
    bool observe = learner.conf->learner.mode == HAK_LEARN_OBSERVE;
    struct decision *d = &all->of[all->n++];
    d->class_number = c;
    d->from = observe && was >= 0 ? route_of(was) : route_now(c);
    d->rule = learner.engine.of[c].rule;
    memcpy(d->bps, learner.window.of[c].bps, sizeof d->bps);
}

static void describe(char line[LINE_BYTES], uint64_t evaluation,
                     const struct decision *d)
{
    const uint32_t *bps = d->bps;
    snprintf(line, LINE_BYTES,
             "learner: evaluation %lu: C%u %s %s %s, %s%s: share %u.%02u%%, "
             "retire %u.%02u%%, utilisation %u.%02u%%, free hit %u.%02u%%",
             evaluation, d->class_number, d->from,
             learner.conf->learner.mode == HAK_LEARN_OBSERVE ? "would go to"
                                                             : "->",
             route_of(d->rule), d->rule < 0 ? "no rule holds" : "rule ",
             d->rule < 0 ? "" : rule_name(d->rule), bps[0] / 100, bps[0] % 100,
             bps[1] / 100, bps[1] % 100, bps[2] / 100, bps[2] % 100,
             bps[3] / 100, bps[3] % 100);
}

static void write_file(const char *line)
{
    char path[PATH_BYTES], all[2 * LINE_BYTES], why[256];
    int fd = hak_held_open(&learner.log, path, sizeof path, why, sizeof why);
    if (fd < 0) {
        if (!__atomic_exchange_n(&learner.log_failed, true, __ATOMIC_RELAXED))
            hak_say("[learner] log = %s: cannot be opened: %s", path, why);
        return;
    }
    int n = snprintf(all, sizeof all, "%s (%d): %s\n",
                     program_invocation_short_name, (int)getpid(), line);
    (void)!write(fd, all, hak_min((size_t)n, sizeof all - 1));
    hak_held_done(&learner.log, fd);
}

static void write_log(const struct decisions *all)
{
    const char *to = learner.conf->learner.log;
    char line[LINE_BYTES];
    int kept;
    if (all->n == 0 || strcasecmp(to, "none") == 0)
        return;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &kept); /* as in malloc */
    for (uint32_t i = 0; i < all->n; i++) {
        describe(line, all->evaluation, &all->of[i]);
        if (strcasecmp(to, "stderr") == 0)
            hak_say("%s", line);
        else
            write_file(line);
    }
    pthread_setcancelstate(kept, NULL);
}

/* ---- evaluation -------------------------------------------------------- */

/* lock held */
static void evaluate(struct decisions *out)
{
    struct hak_learner_engine *e = &learner.engine;
    struct hak_tally sum[HAK_CLASSES];
    int was[HAK_CLASSES];
    __atomic_store_n(&learner.waiting, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&hak_learner_due, 0, __ATOMIC_RELAXED);
    sum_threads(sum);
    hak_learner_look(learner.seen, sum, &learner.window);
    memcpy(learner.seen, sum, sizeof learner.seen);
    mark_unusable();
    for (uint32_t c = 0; c < HAK_CLASSES; c++)
        was[c] = e->of[c].rule;
    uint32_t changed = hak_learner_judge(e, &learner.window);
    out->evaluation = e->evaluations;
    for (uint32_t c = 0; c < HAK_CLASSES; c++) {
        if (!(changed >> c & 1))
            continue;
        note(out, c, was[c]);
        if (learner.conf->learner.mode == HAK_LEARN_APPLY)
            apply(c);
    }
}

void hak_learner_evaluate(void)
{
    struct decisions decisions;
    int kept = errno;
    if (!hak_lock_try(&learner.lock))
        return; /* another thread is at it */
    decisions.n = 0;
    if (hak_learner_is_due())
        evaluate(&decisions);
    hak_lock_drop(&learner.lock);
    write_log(&decisions);
    errno = kept;
}

/* ---- readers ----------------------------------------------------------- */

int hak_learner_read(struct hak_learner_figures *out)
{
    struct hak_tally sum[HAK_CLASSES];
    if (learner.conf == NULL)
        return -ENODATA;
    hak_lock_take(&learner.lock);
    const struct hak_learner_window *w = &learner.window;
    bool observe = learner.conf->learner.mode == HAK_LEARN_OBSERVE;
    sum_threads(sum);
    *out = (struct hak_learner_figures){
        .mode = observe ? "observe" : "apply",
        .evaluations = learner.engine.evaluations,
        .decisions = learner.engine.decisions,
        .window_retires = w->retires,
        .utilisation_bps = w->utilisation_bps,
        .free_hit_bps = w->free_hit_bps,
    };
    for (uint32_t c = 0; c < HAK_CLASSES; c++) {
        const struct hak_learner_class *k = &learner.engine.of[c];
        const uint32_t *bps = w->of[c].bps;
        out->classes[c] = (struct hak_learner_class_figures){
            .route = route_now(c),
            .rule = rule_name(k->rule),
            .retires = sum[c].retires,
            .allocations = sum[c].allocations,
            .switches = k->switches,
            .share_bps = bps[HAK_LEARN_SHARE],
            .retire_bps = bps[HAK_LEARN_RETIRE],
            .utilisation_bps = bps[HAK_LEARN_UTILISATION],
            .free_hit_bps = bps[HAK_LEARN_FREE_HIT],
        };
    }
    hak_lock_drop(&learner.lock);
    return 0;
}
