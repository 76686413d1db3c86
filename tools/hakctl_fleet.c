/* SPDX-License-Identifier: MIT
 * hakctl_fleet.c - takes the figures of processes: hakctl_fleet.h.
 */
#include "hakctl_fleet.h"

#include "hakctl.h"
#include "hakctl_control.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* ---- reading JSON -------------------------------------------------------- */

static const char *const figure_keys[FLEET_FIGURES] = {
    [FLEET_ALLOCS] = "allocs",
    [FLEET_FREES] = "frees",
    [FLEET_LIVE] = "live",
    [FLEET_LIVE_BYTES] = "live_bytes",
    [FLEET_MAPPED] = "mapped_bytes",
    [FLEET_CACHED] = "cached_bytes",
    [FLEET_PEAK] = "peak_bytes",
    [FLEET_MAPPED_PEAK] = "mapped_peak_bytes",
    [FLEET_REFILLS] = "refills",
    [FLEET_REMOTE] = "remote_frees",
    [FLEET_DECLINES] = "declines",
    [FLEET_RETIRED] = "retired_pages",
    [FLEET_ADOPTED] = "adopted_pages",
};

/* Those that `info` has, and those that the report of `stats` has. */
static const char *const info_keys[FLEET_WHOLES] = {
    [FLEET_UPTIME] = "uptime_s",
    [FLEET_RSS] = "rss_bytes",
    [FLEET_MINOR_FAULTS] = "minor_faults",
    [FLEET_MAJOR_FAULTS] = "major_faults",
};
static const char *const stats_keys[FLEET_WHOLES] = {
    [FLEET_USED] = "used_bytes",   [FLEET_KEPT] = "kept_bytes",
    [FLEET_DIRTY] = "dirty_bytes", [FLEET_PURGED] = "purged_bytes",
    [FLEET_PURGES] = "purges",     [FLEET_PURGES_REFUSED] = "purges_refused",
    [FLEET_META] = "meta_bytes",   [FLEET_LIBC_ALLOCS] = "libc_allocs",
};

static uint64_t number(const json_t *object, const char *key)
{
    const json_t *found = json_object_get(object, key);
    double value = json_number_value(found);
    if (json_is_integer(found))
        return json_integer_value(found) < 0
                   ? 0
                   : (uint64_t)json_integer_value(found);
    return value >= 0 && value < 9e18 ? (uint64_t)value : 0;
}

/* A copy of text, which is freed with the snapshot. */
static char *copy(const char *text)
{
    char *out = strdup(text != NULL ? text : "");
    if (out == NULL)
        ctl_die("no memory for the figures of the processes");
    return out;
}

static char *text_of(const json_t *object, const char *key)
{
    return copy(json_string_value(json_object_get(object, key)));
}

static struct fleet_row *add_row(struct fleet_process *p, const json_t *from,
                                 const char *box, int nfigures)
{
    p->row = realloc(p->row, (p->nrows + 1) * sizeof *p->row);
    if (p->row == NULL)
        ctl_die("no memory for the figures of the processes");
    struct fleet_row *row = &p->row[p->nrows++];
    *row = (struct fleet_row){.box = copy(box)};
    for (int i = 0; i < nfigures; i++)
        row->value[i] = number(from, figure_keys[i]);
    return row;
}

static void read_box(struct fleet_process *p, const json_t *box)
{
    const char *name = json_string_value(json_object_get(box, "name"));
    if (name == NULL)
        return;
    const struct fleet_row *row = add_row(p, box, name, FLEET_FIGURES);
    for (int k = 0; k < FLEET_FIGURES; k++)
        p->sum.value[k] += row->value[k];
    const json_t *classes = json_object_get(box, "classes");
    for (size_t i = 0; i < json_array_size(classes); i++) {
        const json_t *class = json_array_get(classes, i);
        uint64_t slot_bytes = number(class, "slot_bytes");
        if (slot_bytes != 0)
            add_row(p, class, name, FLEET_CLASS_FIGURES)->slot_bytes =
                slot_bytes;
    }
}

void fleet_read(struct fleet_process *p, const json_t *info,
                const json_t *stats)
{
    for (int k = 0; k < FLEET_WHOLES; k++) {
        if (info_keys[k] != NULL)
            p->value[k] = number(info, info_keys[k]);
        if (stats_keys[k] != NULL)
            p->value[k] = number(stats, stats_keys[k]);
    }
    p->program = text_of(info, "program");
    p->ini = text_of(stats, "conf");
    p->version = text_of(stats, "hakmem");
    const json_t *boxes = json_object_get(stats, "boxes");
    for (size_t i = 0; i < json_array_size(boxes); i++)
        read_box(p, json_array_get(boxes, i));
}

double fleet_fragmentation(const struct fleet_process *p)
{
    uint64_t live = p->sum.value[FLEET_LIVE_BYTES];
    uint64_t held = p->value[FLEET_USED] + p->value[FLEET_DIRTY];
    return live == 0 ? -1 : (double)held / (double)live;
}

/* ---- rates --------------------------------------------------------------- */

static double rate(uint64_t now, uint64_t before, double seconds)
{
    return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

static void row_rates(struct fleet_row *now, const struct fleet_row *before,
                      double seconds)
{
    for (int i = 0; i < FLEET_FIGURES; i++)
        now->per_second[i] = rate(now->value[i], before->value[i], seconds);
}

/* The row of the same box and class; NULL: there is none. Rows keep their
 * order, so the search begins at *at. */
static const struct fleet_row *same_row(const struct fleet_process *in,
                                        const struct fleet_row *row, size_t *at)
{
    for (size_t n = 0; n < in->nrows; n++) {
        const struct fleet_row *r = &in->row[(*at + n) % in->nrows];
        if (r->slot_bytes == row->slot_bytes && strcmp(r->box, row->box) == 0) {
            *at = (*at + n + 1) % in->nrows;
            return r;
        }
    }
    return NULL;
}

static void process_rates(struct fleet_process *now,
                          const struct fleet_process *before)
{
    static const struct fleet_row none;
    double seconds = now->at_s - before->at_s;
    size_t at = 0;
    for (int i = 0; i < FLEET_WHOLES; i++)
        now->per_second[i] = rate(now->value[i], before->value[i], seconds);
    for (size_t i = 0; i < now->nrows; i++) {
        const struct fleet_row *was = same_row(before, &now->row[i], &at);
        row_rates(&now->row[i], was != NULL ? was : &none, seconds);
    }
    row_rates(&now->sum, &before->sum, seconds);
}

static void free_process(struct fleet_process *p)
{
    for (size_t i = 0; i < p->nrows; i++)
        free(p->row[i].box);
    free(p->row);
    free(p->program);
    free(p->ini);
    free(p->version);
    free(p->why);
}

void fleet_free(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->n; i++)
        free_process(&fleet->process[i]);
    free(fleet->process);
    *fleet = (struct fleet){0};
}

static struct fleet_process *find(const struct fleet *in, pid_t pid)
{
    for (size_t i = 0; i < in->n; i++)
        if (in->process[i].pid == pid)
            return &in->process[i];
    return NULL;
}

static struct fleet_process *add_process(struct fleet *to)
{
    to->process = realloc(to->process, (to->n + 1) * sizeof *to->process);
    if (to->process == NULL)
        ctl_die("no memory for the figures of the processes");
    to->process[to->n] = (struct fleet_process){0};
    return &to->process[to->n++];
}

static void remove_process(struct fleet *from, struct fleet_process *p)
{
    free_process(p);
    size_t behind = (size_t)(from->process + from->n - (p + 1));
    memmove(p, p + 1, behind * sizeof *p);
    from->n--;
}

/* Move the last figures of a process that did not answer, or has ended, to p.
 * They keep their time. */
static void keep_figures(struct fleet_process *p, struct fleet_process *was,
                         enum fleet_state state)
{
    char *why = p->why;
    p->why = NULL;
    free_process(p);
    free(was->why);
    *p = *was;
    *was = (struct fleet_process){0};
    p->state = state;
    p->why = why;
    memset(p->per_second, 0, sizeof p->per_second);
    memset(p->sum.per_second, 0, sizeof p->sum.per_second);
    for (size_t i = 0; i < p->nrows; i++)
        memset(p->row[i].per_second, 0, sizeof p->row[i].per_second);
}

/* Those that ended first stand first. */
static void forget_old(struct fleet *fleet)
{
    size_t ended = 0;
    for (size_t i = 0; i < fleet->n; i++)
        ended += fleet->process[i].state == FLEET_ENDED;
    for (size_t i = 0; i < fleet->n && ended > FLEET_ENDED_MOST;) {
        if (fleet->process[i].state != FLEET_ENDED) {
            i++;
            continue;
        }
        remove_process(fleet, &fleet->process[i]);
        ended--;
    }
}

void fleet_rates(struct fleet *now, struct fleet *before)
{
    for (size_t i = 0; i < before->n; i++) {
        struct fleet_process *was = &before->process[i];
        struct fleet_process *p = find(now, was->pid);
        if (was->program == NULL) /* it has never answered */
            continue;
        if (p == NULL)
            keep_figures(add_process(now), was, FLEET_ENDED);
        else if (p->state == FLEET_ANSWERED)
            process_rates(p, was);
        else
            keep_figures(p, was, p->state);
    }
    forget_old(now);
}

/* ---- as JSON ------------------------------------------------------------- */

static void set_figure(json_t *to, const char *key, uint64_t value)
{
    json_object_set_new(to, key, json_integer((json_int_t)value));
}

static void set_rate(json_t *to, const char *key, double per_second)
{
    char name[64];
    snprintf(name, sizeof name, "%s_per_s", key);
    json_object_set_new(to, name, json_real(per_second));
}

static bool is_counter(int figure)
{
    return figure == FLEET_ALLOCS || figure == FLEET_FREES ||
           figure == FLEET_REFILLS || figure == FLEET_REMOTE ||
           figure == FLEET_DECLINES;
}

static void set_figures(json_t *to, const struct fleet_row *row, int n)
{
    for (int i = 0; i < n; i++) {
        set_figure(to, figure_keys[i], row->value[i]);
        if (is_counter(i))
            set_rate(to, figure_keys[i], row->per_second[i]);
    }
}

/* Each box as an object, with its classes in it. */
static json_t *boxes_json(const struct fleet_process *p)
{
    json_t *boxes = json_array(), *classes = NULL;
    for (size_t i = 0; i < p->nrows; i++) {
        const struct fleet_row *row = &p->row[i];
        json_t *object = json_object();
        if (row->slot_bytes == 0) {
            json_object_set_new(object, "box", json_string(row->box));
            set_figures(object, row, FLEET_FIGURES);
            classes = json_array();
            json_object_set_new(object, "classes", classes);
            json_array_append_new(boxes, object);
        } else {
            set_figure(object, "slot_bytes", row->slot_bytes);
            set_figures(object, row, FLEET_CLASS_FIGURES);
            json_array_append_new(classes, object);
        }
    }
    return boxes;
}

static json_t *process_json(const struct fleet_process *p)
{
    static const char *const states[] = {
        [FLEET_ANSWERED] = "answered",
        [FLEET_SILENT] = "silent",
        [FLEET_ENDED] = "ended",
    };
    json_t *object = json_object();
    json_object_set_new(object, "pid", json_integer(p->pid));
    json_object_set_new(object, "state", json_string(states[p->state]));
    if (p->why != NULL)
        json_object_set_new(object, "why", json_string(p->why));
    if (p->program == NULL) /* it never answered */
        return object;
    json_object_set_new(object, "program", json_string(p->program));
    json_object_set_new(object, "conf", json_string(p->ini));
    for (int i = 0; i < FLEET_WHOLES; i++) {
        const char *key = info_keys[i] != NULL ? info_keys[i] : stats_keys[i];
        set_figure(object, key, p->value[i]);
    }
    set_rate(object, "minor_faults", p->per_second[FLEET_MINOR_FAULTS]);
    set_rate(object, "major_faults", p->per_second[FLEET_MAJOR_FAULTS]);
    double ratio = fleet_fragmentation(p);
    json_object_set_new(object, "fragmentation",
                        ratio < 0 ? json_null() : json_real(ratio));
    set_figures(object, &p->sum, FLEET_CLASS_FIGURES);
    json_object_set_new(object, "boxes", boxes_json(p));
    return object;
}

json_t *fleet_json(const struct fleet *fleet)
{
    json_t *all = json_array();
    for (size_t i = 0; i < fleet->n; i++)
        json_array_append_new(all, process_json(&fleet->process[i]));
    return all;
}

/* ---- taking -------------------------------------------------------------- */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Is there no such process, or one that nobody has waited for yet? */
static bool has_ended(pid_t pid)
{
    char path[32], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return true;
    size_t n = fread(text, 1, sizeof text - 1, in);
    fclose(in);
    text[n] = 0;
    const char *state = strrchr(text, ')');
    return state != NULL &&
           (strncmp(state, ") Z", 3) == 0 || strncmp(state, ") X", 3) == 0);
}

/* Take the value of "ok" out of a reply. NULL, with the reason in *why. */
static json_t *ok_of(const char *line, char **why)
{
    json_error_t error;
    json_t *reply = json_loads(line, JSON_DISABLE_EOF_CHECK, &error);
    json_t *ok = json_incref(json_object_get(reply, "ok"));
    if (ok == NULL && *why == NULL) {
        const char *said = json_string_value(json_object_get(reply, "error"));
        *why = copy(said != NULL ? said : "its reply is not of this protocol");
    }
    json_decref(reply);
    return ok;
}

static void read_answer(struct fleet_process *p, const struct ctl_answer *a)
{
    p->pid = a->pid;
    p->at_s = now_s();
    p->state = FLEET_SILENT;
    json_t *info = a->text != NULL ? ok_of(a->text, &p->why) : NULL;
    if (!a->whole || a->text == NULL) {
        if (p->why == NULL)
            p->why = copy(a->why);
        p->state = has_ended(a->pid) ? FLEET_ENDED : FLEET_SILENT;
        json_decref(info);
        return;
    }
    json_t *stats = ok_of(strchr(a->text, '\n') + 1, &p->why);
    if (info != NULL && stats != NULL) {
        fleet_read(p, info, stats);
        p->state = FLEET_ANSWERED;
    }
    json_decref(info);
    json_decref(stats);
}

void fleet_take(struct fleet *out, pid_t pid, unsigned timeout_ms)
{
    struct ctl_process *all = NULL;
    size_t n = pid != 0 ? 1 : ctl_processes(&all);
    struct ctl_answer *answer = calloc(n + 1, sizeof *answer);
    if (answer == NULL)
        ctl_die("no memory for the figures of the processes");
    for (size_t i = 0; i < n; i++)
        answer[i].pid = pid != 0 ? pid : all[i].pid;
    ctl_ask_all(answer, n, "info\nstats", 2, timeout_ms);
    *out = (struct fleet){0};
    for (size_t i = 0; i < n; i++) {
        read_answer(add_process(out), &answer[i]);
        free(answer[i].text);
    }
    free(answer);
    free(all);
}
