/* SPDX-License-Identifier: MIT
 * learner.c - module "learner": ties the engine to the core.
 *
 *     box calls host->retired --> tally of the thread (no lock)
 *         --> `due`, when [learner] every retires wait
 *     slow path of malloc, if due --> sum of all tallies, less the sum at the
 *         last evaluation --> hak_learner_judge --> host->set_route, log
 *
 * A box may call host->retired under a lock of its own, so that call only adds
 * numbers. The evaluation runs in a slow path of malloc, before malloc enters a
 * box, and changes routes as hak_route does.
 */
#include <modules/learner/learner.h>

#include <base/log.h>
#include <base/os.h>
#include <base/sections.h>
#include <kit/sync.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>
#include <string.h>

enum { BATCH = 8, LINE_BYTES = 320, PATH_BYTES = 512 };

/* The counters of one thread, which alone writes them. */
struct tallies {
    struct hak_tally of[HAK_CLASSES];
    uint32_t nretired; /* not yet added to learner.waiting; < BATCH */
};

/* host and conf are set once. due and waiting are atomic. The rest is guarded
 * by learner.lock. */
static HAK_SPARSE struct {
    const struct hak_module_host *host;
    const struct hak_conf *conf; /* NULL: off */
    struct hak_lock lock;
    struct hak_learner_engine engine;
    struct hak_tally seen[HAK_CLASSES]; /* sums at the last evaluation */
    struct hak_learner_interval interval;
    struct hak_held log; /* the log file; set once */
    bool log_failed;     /* atomic: the failure was reported */
    uint32_t due;        /* atomic: an evaluation is due */
    /* Retires of all threads since the last evaluation, added in batches; on a
     * cache line of its own, since all threads write it. */
    _Alignas(64) uint64_t waiting;
} learner;

static void lock_for_fork(enum hak_fork_phase phase)
{
    hak_lock_fork(&learner.lock, phase);
}

static int start(const struct hak_module_host *host)
{
    const struct hak_conf *conf = host->conf;
    char path[PATH_BYTES], why[256];
    learner.host = host;
    if (conf->learner.mode == HAK_LEARN_OFF)
        return 0;
    hak_learner_begin(&learner.engine, conf);
    learner.conf = conf;
    const char *log = conf->learner.log;
    if (strcasecmp(log, "none") == 0 || strcasecmp(log, "stderr") == 0 ||
        hak_hold_file(&learner.log, log, path, sizeof path, why, sizeof why))
        return 0;
    learner.log_failed = true;
    hak_say("[learner] log = %s: cannot be opened: %s", path, why);
    return 0;
}

/* ---- records ----------------------------------------------------------- */

/* The tallies of the calling thread. NULL: the thread is not attached, or there
 * is no memory. Retires of such threads are rare and are not counted. */
static struct tallies *own_tallies(void)
{
    void **slot = learner.host->slot(learner.host);
    if (slot == NULL)
        return NULL;
    if (unlikely(*slot == NULL))
        __atomic_store_n(slot, learner.host->meta(sizeof(struct tallies)),
                         __ATOMIC_RELEASE);
    return *slot;
}

static void page_retired(const struct hak_retire *record)
{
    struct tallies *own = learner.conf != NULL ? own_tallies() : NULL;
    if (own == NULL || !hak_tally_add(own->of, record) ||
        ++own->nretired < BATCH)
        return;
    own->nretired = 0;
    uint64_t waiting = hak_count_shared(&learner.waiting, BATCH);
    if (waiting >= learner.conf->learner.every) {
        __atomic_store_n(&learner.due, 1, __ATOMIC_RELAXED);
        learner.host->want(learner.host);
    }
}

static void add_thread(void *sum, void *word)
{
    const struct tallies *thread = word;
    if (thread != NULL)
        hak_tally_sum(sum, thread->of);
}

static void sum_threads(struct hak_tally sum[HAK_CLASSES])
{
    memset(sum, 0, HAK_CLASSES * sizeof sum[0]);
    learner.host->each_slot(learner.host, add_thread, sum);
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
    return learner.host->route_of(hak_index_of(hak_class_bytes(c)));
}

/* Mark the rules whose route leads to no box, since the box was left out or
 * drained. Such a rule would send sizes to libc. */
static void mark_unusable(void)
{
    learner.engine.unusable = 0;
    for (uint32_t i = 0; i < learner.conf->learner.nrules; i++)
        if (!learner.host->leads_to_box(route_of((int)i)))
            learner.engine.unusable |= 1u << i;
}

static void apply_route(uint32_t c)
{
    int rule = learner.engine.of[c].rule;
    uint32_t first, last;
    class_indexes(c, &first, &last);
    if (rule >= 0)
        learner.host->set_route(first, last, route_of(rule));
    else
        learner.host->reset_route(first, last);
}

/* ---- log --------------------------------------------------------------- */

/* The decisions of one evaluation. They are logged after learner.lock is
 * dropped. */
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

/* Add the decision for class c to *all, before the new route is applied. was:
 * the rule that stood before. */
static void note_decision(struct decisions *all, uint32_t c, int was)
{
    bool observe = learner.conf->learner.mode == HAK_LEARN_OBSERVE;
    struct decision *d = &all->of[all->n++];
    d->class_number = c;
    d->from = observe && was >= 0 ? route_of(was) : route_now(c);
    d->rule = learner.engine.of[c].rule;
    memcpy(d->bps, learner.interval.of[c].bps, sizeof d->bps);
}

static void format_decision(char line[LINE_BYTES], uint64_t evaluation,
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

/* Once, since each line may fail. */
static void tell_log_failed(const char *path, const char *what, const char *why)
{
    if (!__atomic_exchange_n(&learner.log_failed, true, __ATOMIC_RELAXED))
        hak_say("[learner] log = %s: cannot be %s: %s", path, what, why);
}

static void write_file(const char *line)
{
    char path[PATH_BYTES], all[2 * LINE_BYTES], why[256];
    int fd = hak_held_open(&learner.log, path, sizeof path, why, sizeof why);
    if (fd < 0) {
        tell_log_failed(path, "opened", why);
        return;
    }
    int n = snprintf(all, sizeof all, "%s (%d): %s\n",
                     program_invocation_short_name, (int)getpid(), line);
    int error = hak_os_append(fd, all, hak_min((size_t)n, sizeof all - 1));
    hak_held_done(&learner.log, fd);
    if (error != 0)
        tell_log_failed(path, "written", strerrordesc_np(-error));
}

static void write_log(const struct decisions *all)
{
    const char *to = learner.conf->learner.log;
    char line[LINE_BYTES];
    int kept;
    if (all->n == 0 || strcasecmp(to, "none") == 0)
        return;
    /* malloc is no cancellation point, but write is. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &kept);
    for (uint32_t i = 0; i < all->n; i++) {
        format_decision(line, all->evaluation, &all->of[i]);
        if (strcasecmp(to, "stderr") == 0)
            hak_say("%s", line);
        else
            write_file(line);
    }
    pthread_setcancelstate(kept, NULL);
}

/* ---- evaluation -------------------------------------------------------- */

/* Guarded by learner.lock, which the caller holds. */
static void evaluate(struct decisions *out)
{
    struct hak_learner_engine *e = &learner.engine;
    struct hak_tally sum[HAK_CLASSES];
    int was[HAK_CLASSES];
    __atomic_store_n(&learner.waiting, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&learner.due, 0, __ATOMIC_RELAXED);
    sum_threads(sum);
    hak_learner_look(learner.seen, sum, &learner.interval);
    memcpy(learner.seen, sum, sizeof learner.seen);
    mark_unusable();
    for (uint32_t c = 0; c < HAK_CLASSES; c++)
        was[c] = e->of[c].rule;
    uint32_t changed = hak_learner_judge(e, &learner.interval);
    out->evaluation = e->evaluations;
    for (uint32_t c = 0; c < HAK_CLASSES; c++) {
        if (!(changed >> c & 1))
            continue;
        note_decision(out, c, was[c]);
        if (learner.conf->learner.mode == HAK_LEARN_APPLY)
            apply_route(c);
    }
}

static void slow_path(void)
{
    struct decisions decisions;
    int kept = errno;
    if (!hak_lock_try(&learner.lock))
        return; /* another thread is evaluating, or reading the figures */
    decisions.n = 0;
    if (__atomic_load_n(&learner.due, __ATOMIC_RELAXED) != 0)
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
    const struct hak_learner_interval *w = &learner.interval;
    bool observe = learner.conf->learner.mode == HAK_LEARN_OBSERVE;
    sum_threads(sum);
    *out = (struct hak_learner_figures){
        .mode = observe ? "observe" : "apply",
        .evaluations = learner.engine.evaluations,
        .decisions = learner.engine.decisions,
        .interval_retires = w->retires,
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

static const void *extension(const char *id)
{
    static const struct hak_learner_1 table = {.read = hak_learner_read};
    return strcmp(id, HAK_LEARNER_1) == 0 ? &table : NULL;
}

HAK_MODULE(learner) = {
    HAK_MODULE_HEADER("learner"), .start = start,
    .extension = extension,       .slow_path = slow_path,
    .page_retired = page_retired, .fork = lock_for_fork,
    .report = hak_learner_report,
};
