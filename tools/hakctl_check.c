/* SPDX-License-Identifier: MIT
 * hakctl_check.c - reads a configuration and loads its boxes as the core does,
 * and collects the findings.
 */
#include "hakctl.h"

#include <base/os.h>
#include <conf/conf.h>
#include <core/box/load.h>
#include <core/memory/space.h>
#include <core/state/boxes.h>
#include <core/state/core.h>
#include <core/thread/thread.h>

#include <errno.h>
#include <fcntl.h>
#include <hakmem/foreign.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

int ctl_load(struct ctl_core *core, const char *path, const char *profile,
             hak_diag_fn *diag, void *context,
             void (*before)(const struct hak_conf_box *box, void *context))
{
    memset(core, 0, sizeof *core);
    ctl_foreign_tls(path, profile);
    int error =
        hak_conf_read(&hak_conf, path, -1, environ, profile, diag, context);
    if (error != 0 && error != -EINVAL)
        return error;
    int space =
        hak_space_start(hak_os_window_bytes(false), hak_conf.purge_delay_ms);
    if (space == 0)
        space = hak_thread_start();
    if (space != 0)
        ctl_die("no address space for the boxes (%s); ulimit -v may be too low",
                strerror(-space));
    for (uint32_t i = 0; i < hak_conf.nboxes; i++) {
        if (before != NULL)
            before(&hak_conf.box[i], context);
        core->box[i] = hak_box_load(&hak_conf, &hak_conf.box[i]);
    }
    return error;
}

/* ---- rules against the sizes that boxes are made for ---- */

/* The size indexes first to last, which go by one rule. */
struct run {
    const struct hak_conf_rule *rule;
    uint32_t first, last;
};

static size_t least_request(uint32_t index)
{
    return index == 0 ? 0 : hak_index_bytes(index - 1) + 1;
}

/*
 * Is a size index outside of the sizes that the box is made for? A lane asks
 * for the largest request of its index, so this one counts. Of HAK_INDEX_LARGE
 * the least request counts, since each box declines what is too large for it.
 */
static bool is_outside(const struct hak_loaded *b, uint32_t index)
{
    size_t min = b->entry->min_bytes, max = b->entry->max_bytes;
    size_t header = b->header_bytes;
    bool large = index == HAK_INDEX_LARGE;
    size_t size =
        large ? least_request(index) : hak_max(hak_index_bytes(index), 1);
    return size + header < min || (max != 0 && size + header > max);
}

static void add_sizes(char *text, size_t bytes, uint32_t first, uint32_t last)
{
    size_t used = strlen(text);
    const char *comma = used > 0 ? ", " : "";
    if (last == HAK_INDEX_LARGE)
        snprintf(text + used, bytes - used, "%s%zu-", comma,
                 least_request(first));
    else
        snprintf(text + used, bytes - used, "%s%zu-%zu", comma,
                 least_request(first), hak_index_bytes(last));
}

/* Format the sizes of a run that are outside. *all: all of them are. */
static void outside_sizes(const struct hak_loaded *b, const struct run *run,
                          char *text, size_t bytes, bool *all)
{
    text[0] = 0;
    *all = true;
    for (uint32_t i = run->first; i <= run->last; i++) {
        uint32_t first = i;
        if (!is_outside(b, i)) {
            *all = false;
            continue;
        }
        while (i < run->last && is_outside(b, i + 1))
            i++;
        add_sizes(text, bytes, first, i);
    }
}

static void warn_outside(const struct run *run, const struct hak_loaded *b,
                         bool first_in_chain)
{
    char sizes[256], made_for[64];
    bool all;
    outside_sizes(b, run, sizes, sizeof sizes, &all);
    /* A later box of a chain is meant to take only a part of the sizes. */
    if (sizes[0] == 0 || (!first_in_chain && !all))
        return;
    if (b->entry->max_bytes == 0 || b->entry->max_bytes >= PTRDIFF_MAX)
        snprintf(made_for, sizeof made_for, "%zu-", b->entry->min_bytes);
    else
        snprintf(made_for, sizeof made_for, "%zu-%zu", b->entry->min_bytes,
                 b->entry->max_bytes);
    hak_conf_tell(&hak_conf, HAK_DIAG_WARNING, run->rule->origin,
                  "\"%s\" leads %s to box \"%s\", which is made for %s bytes%s",
                  run->rule->text, sizes, b->box.name, made_for,
                  b->header_bytes != 0 ? ", 16 of them the core's header" : "");
}

static void warn_of_ranges(const struct ctl_core *core)
{
    const int16_t *rule = hak_conf.index_rule;
    for (uint32_t i = 0; i <= HAK_INDEX_LARGE; i++) {
        struct run run = {.first = i};
        while (i < HAK_INDEX_LARGE && rule[i + 1] == rule[i])
            i++;
        run.last = i;
        if (rule[i] < 0)
            continue;
        run.rule = &hak_conf.rule[rule[i]];
        const struct hak_conf_route *route = &hak_conf.route[run.rule->route];
        for (uint32_t k = 0; k < route->nchain; k++)
            if (core->box[route->chain[k]] != NULL)
                warn_outside(&run, core->box[route->chain[k]], k == 0);
    }
}

/* Warn of rules that send small sizes to a box that is called through libffi.
 */
static void warn_of_calls(const struct ctl_core *core)
{
    bool told[HAK_CONF_RULES] = {false};
    for (uint32_t i = 0; i < HAK_INDEX_LARGE; i++) {
        int16_t at = hak_conf.index_rule[i];
        if (at < 0 || told[at])
            continue;
        const struct hak_conf_rule *rule = &hak_conf.rule[at];
        const struct hak_conf_route *route = &hak_conf.route[rule->route];
        const struct hak_foreign_box_1 *table =
            route->nchain > 0 ? ctl_foreign(core->box[route->chain[0]]) : NULL;
        if (table == NULL || !table->slow)
            continue;
        told[at] = true;
        hak_conf_tell(&hak_conf, HAK_DIAG_WARNING, rule->origin,
                      "\"%s\" leads sizes under 32 KiB to box \"%s\", whose "
                      "alloc or free goes through libffi, some tens of ns a "
                      "call; docs/foreign.md lists the shapes that have an "
                      "adapter",
                      rule->text, core->box[route->chain[0]]->box.name);
    }
}

/* Warn of libraries whose blocks are not 16-byte aligned. Allocates a few
 * blocks of some sizes to find out. */
static void warn_of_alignment(const struct ctl_core *core)
{
    enum { EACH = 4 };
    static const size_t sizes[] = {16, 32, 48, 80, 112, 208};
    for (uint32_t i = 0; i < hak_conf.nboxes; i++) {
        struct hak_loaded *b = core->box[i];
        size_t bad = 0;
        if (b == NULL || !b->foreign)
            continue;
        for (size_t s = 0; s < EACH * sizeof sizes / sizeof sizes[0]; s++) {
            void *p = b->ops.alloc(&b->box, sizes[s / EACH]);
            if (p == NULL)
                continue;
            if ((uintptr_t)p % HAK_ALIGN_BYTES != 0)
                bad = sizes[s / EACH];
            b->ops.free(&b->box, p);
        }
        if (bad != 0)
            hak_conf_tell(&hak_conf, HAK_DIAG_WARNING, hak_conf.box[i].origin,
                          "box %s: its library gives blocks of %zu bytes that "
                          "are not 16-byte aligned, which compilers rely on; a "
                          "program that uses SSE there crashes",
                          b->box.name, bad);
    }
}

/* Warn if the file of a report or of the learner's log cannot be written. The
 * check does not create the file. */
static void warn_of_file(const char *section, const char *key, const char *name)
{
    char folder[PATH_MAX], why[PATH_MAX + 128] = "";
    struct stat s;
    if (name == NULL || strcasecmp(name, "none") == 0 ||
        strcasecmp(name, "stderr") == 0)
        return;
    const char *slash = strrchr(name, '/');
    int length = slash == NULL || slash == name ? 1 : (int)(slash - name);
    snprintf(folder, sizeof folder, "%.*s", length, slash ? name : ".");
    int error = access(name, W_OK) == 0 ? 0 : errno;
    if (stat(name, &s) == 0 && S_ISDIR(s.st_mode))
        snprintf(why, sizeof why, "it is a directory");
    else if (error != 0 && error != ENOENT)
        snprintf(why, sizeof why, "%s", strerror(error));
    else if (error == ENOENT && access(folder, W_OK | X_OK) != 0)
        snprintf(why, sizeof why, "%s: %s", folder, strerror(errno));
    if (why[0] != 0)
        hak_conf_tell(&hak_conf, HAK_DIAG_WARNING,
                      hak_conf_origin(&hak_conf, section, key),
                      "[%s] %s = %s cannot be written: %s", section, key, name,
                      why);
}

static void warn_of_files(void)
{
    warn_of_file("stats", "at_exit", hak_conf.stats_at_exit);
    warn_of_file("stats", "at_start", hak_conf.stats_at_start);
    warn_of_file("learner", "log", hak_conf.learner.log);
}

/* ---- findings ---- */

static const char *copy_text(const char *text)
{
    const char *kept = text != NULL ? strdup(text) : NULL;
    if (text != NULL && kept == NULL)
        ctl_die("no memory");
    return kept;
}

static bool is_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool ctl_has_finding(const struct ctl_findings *all,
                     const struct ctl_finding *f)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct ctl_finding *old = &all->at[i];
        if (old->line == f->line && old->level == f->level &&
            is_same_text(old->file, f->file) &&
            is_same_text(old->text, f->text))
            return true;
    }
    return false;
}

void ctl_add_finding(struct ctl_findings *all, const struct ctl_finding *f)
{
    if (ctl_has_finding(all, f))
        return;
    struct ctl_finding *more = realloc(all->at, (all->n + 1) * sizeof *all->at);
    if (more == NULL)
        ctl_die("no memory");
    all->at = more;
    all->at[all->n++] = (struct ctl_finding){f->level, copy_text(f->file),
                                             f->line, copy_text(f->text)};
    all->nerrors += f->level == HAK_DIAG_ERROR;
    all->nwarnings += f->level != HAK_DIAG_ERROR;
}

void ctl_forget_findings(struct ctl_findings *all)
{
    for (size_t i = 0; all->at != NULL && i < all->n; i++) {
        free((void *)(uintptr_t)all->at[i].file);
        free((void *)(uintptr_t)all->at[i].text);
    }
    free(all->at);
    *all = (struct ctl_findings){0};
}

void ctl_print_finding(FILE *out, const struct ctl_finding *f)
{
    if (f->file != NULL) {
        ctl_origin(out, (struct hak_origin){f->file, f->line});
        fputs(": ", out);
    }
    static const char *const words[] = {[HAK_DIAG_ERROR] = "error",
                                        [HAK_DIAG_WARNING] = "warning",
                                        [HAK_DIAG_NOTE] = "note"};
    fprintf(out, "%s: %s\n", words[f->level], f->text);
}

/* ---- the child ---- */

/*
 * Send a message to the parent. Messages are a stream of fields, each ended by
 * a NUL: KIND FILE LINE TEXT      KIND: e = error, w = warning, n = note, b =
 * begins to load the box named TEXT, t = allows LINE seconds from now on, d =
 * done FILE is empty if there is none.
 */
static void send_message(FILE *to, char kind, struct hak_origin at,
                         const char *text)
{
    fprintf(to, "%c%c%s%c%d%c%s%c", kind, 0, at.file != NULL ? at.file : "", 0,
            at.line, 0, text, 0);
    fflush(to); /* the next box may crash */
}

static void send_finding(void *to, enum hak_diag_level level, const char *file,
                         int line, const char *text)
{
    static const char kinds[] = {[HAK_DIAG_ERROR] = 'e',
                                 [HAK_DIAG_WARNING] = 'w',
                                 [HAK_DIAG_NOTE] = 'n'};
    send_message(to, kinds[level], (struct hak_origin){file, line}, text);
}

/* Limit the time of the next step. The parent gets the limit, since its message
 * about a step that takes longer names it. */
static void limit_time(FILE *to, uint32_t seconds)
{
    send_message(to, 't', (struct hak_origin){NULL, (int)seconds}, "");
    alarm(seconds);
}

static void send_box(const struct hak_conf_box *box, void *to)
{
    send_message(to, 'b', box->origin, box->name);
    limit_time(to, hak_conf.trial_s);
}

__attribute__((noreturn)) static void child(int fd, const char *path,
                                            const char *profile)
{
    enum { READING_S = 10 }; /* limit until [core] trial_s is known */
    FILE *to = fdopen(fd, "w");
    struct ctl_core core;
    if (to == NULL)
        _exit(CTL_BAD);
    limit_time(to, READING_S);
    if (ctl_load(&core, path, profile, send_finding, to, send_box) == 0) {
        warn_of_ranges(&core);
        warn_of_calls(&core);
        warn_of_alignment(&core);
        warn_of_files();
    }
    send_message(to, 'd', (struct hak_origin){NULL, 0}, "");
    fclose(to);
    _exit(CTL_OK);
}

/* ---- the parent ---- */

/* clang-tidy 19 takes memory that getdelim allocates into an array's element
 * for leaked. */
// NOLINTBEGIN(clang-analyzer-unix.Malloc)

struct message {
    char *field[4]; /* kind, file, line, text; allocated by getdelim */
    size_t room[4];
};

static bool read_message(FILE *from, struct message *m)
{
    for (int i = 0; i < 4; i++)
        if (getdelim(&m->field[i], &m->room[i], 0, from) < 0)
            return false;
    return true;
}

static void free_message(struct message *m)
{
    for (int i = 0; i < 4; i++)
        free(m->field[i]);
}

/* Add a finding for a child that ended too early, with that status. m: the last
 * message about loading a box, if there was one. */
static void add_crash(struct ctl_findings *all, const char *path,
                      const struct message *m, int seconds, int status)
{
    char text[512];
    char what[128];
    if (!WIFSIGNALED(status))
        snprintf(what, sizeof what, "it ended the process, with exit status %d",
                 WEXITSTATUS(status));
    else if (WTERMSIG(status) == SIGALRM)
        snprintf(what, sizeof what,
                 "it did not end within %d s; [core] trial_s is how long that "
                 "may take",
                 seconds);
    else
        snprintf(what, sizeof what, "%s", strsignal(WTERMSIG(status)));
    struct ctl_finding f = {HAK_DIAG_ERROR, path, 0, text};
    if (m->field[3] != NULL) {
        f.file = m->field[1];
        f.line = (int)strtol(m->field[2], NULL, 10);
        snprintf(text, sizeof text, "box %s: loading it (dlopen, init): %s",
                 m->field[3], what);
    } else {
        snprintf(text, sizeof text, "checking it: %s", what);
    }
    ctl_add_finding(all, &f);
    all->crashed = true;
}

static void add_message(struct ctl_findings *all, const struct message *m)
{
    char kind = m->field[0][0];
    ctl_add_finding(all, &(struct ctl_finding){
                             kind == 'e'   ? HAK_DIAG_ERROR
                             : kind == 'w' ? HAK_DIAG_WARNING
                                           : HAK_DIAG_NOTE,
                             m->field[1][0] != 0 ? m->field[1] : NULL,
                             (int)strtol(m->field[2], NULL, 10), m->field[3]});
}

static void add_messages(struct ctl_findings *all, const char *path, FILE *from,
                         pid_t pid)
{
    struct message m = {{NULL}, {0}}, box = {{NULL}, {0}};
    int status = 0, seconds = 0;
    bool done = false;
    while (!done && read_message(from, &m)) {
        if (m.field[0][0] == 'd') {
            done = true;
        } else if (m.field[0][0] == 't') {
            seconds = (int)strtol(m.field[2], NULL, 10);
        } else if (m.field[0][0] == 'b') {
            struct message old = box;
            box = m;
            m = old;
        } else {
            add_message(all, &m);
        }
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!done || WIFSIGNALED(status))
        add_crash(all, path, &box, seconds, status);
    free_message(&m);
    free_message(&box);
}

// NOLINTEND(clang-analyzer-unix.Malloc)

void ctl_check(struct ctl_findings *all, const char *path, const char *profile)
{
    int ends[2];
    ctl_foreign_tls(path, profile);
    pid_t pid = ctl_fork(ends);
    if (pid == 0) {
        close(ends[0]);
        child(ends[1], path, profile);
    }
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    if (from == NULL)
        ctl_die("no memory");
    add_messages(all, path, from, pid);
    fclose(from);
}

bool ctl_crashes(const char *path, const char *profile)
{
    struct ctl_findings all = {0};
    ctl_check(&all, path, profile);
    if (all.crashed && all.n != 0)
        ctl_print_finding(stderr, &all.at[all.n - 1]);
    bool crashed = all.crashed;
    ctl_forget_findings(&all);
    return crashed;
}
