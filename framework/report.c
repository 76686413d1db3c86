/* SPDX-License-Identifier: MIT
 * report.c - what each box did, as a table or as one line of JSON.
 *
 * Written into a static buffer and out in one write, so that reports of many
 * processes in one file do not mix. Nothing here allocates.
 */
#include "abi.h"
#include "core.h"
#include <hakmem/hakmem.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- figures ---- */

static void sum_counts(uint32_t index, struct hak_counts *sum)
{
    memset(sum, 0, sizeof *sum);
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next) {
        const struct hak_counts *c = &t->count[index];
        sum->allocs += hak_counted(&c->allocs);
        sum->frees += hak_counted(&c->frees);
        sum->bytes_in += hak_counted(&c->bytes_in);
        sum->bytes_out += hak_counted(&c->bytes_out);
        sum->refills += hak_counted(&c->refills);
        sum->remote_frees += hak_counted(&c->remote_frees);
        sum->declines += hak_counted(&c->declines);
    }
}

void hak_figures(struct hak_loaded *b, struct hak_stats *out)
{
    struct hak_box_stats own = {0};
    struct hak_counts c;
    sum_counts(b->box.index, &c);
    if (b->ops.stats != NULL)
        own = hak_abi_stats(&b->box);
    if (!b->box.lanes) { /* every call was counted here */
        own.allocs = c.allocs;
        own.frees = c.frees;
        if (b->ops.stats == NULL) {
            own.live_count = c.allocs - c.frees;
            own.live_bytes = c.bytes_in - c.bytes_out;
        }
    }
    struct hak_parcel_figures away = hak_parcel_read(&b->box);
    if (away.n > own.live_count) /* some arrived meanwhile */
        away = (struct hak_parcel_figures){own.live_count, own.live_bytes};
    *out = (struct hak_stats){
        .allocs = own.allocs,
        .frees = own.frees + away.n,
        .live_count = own.live_count - away.n,
        .live_bytes = own.live_bytes - hak_min(away.bytes, own.live_bytes),
        .peak_bytes = own.peak_bytes,
        .mapped_bytes = hak_counted(&b->now->mapped_bytes),
        .mapped_peak_bytes = hak_counted(&b->now->mapped_peak_bytes),
        .cached_bytes = own.cached_bytes,
        .refills = c.refills,
        .remote_frees = c.remote_frees + away.n,
        .declines = c.declines,
        .retired_pages = own.retired_pages,
        .adopted_pages = own.adopted_pages,
    };
}

/* The box's own counters, "hak.counters/1"; at most COUNTERS_MOST. */
enum { COUNTERS_MOST = 32 };

static uint32_t read_counters(struct hak_loaded *b,
                              struct hak_counter out[COUNTERS_MOST])
{
    const struct hak_counters_1 *table = NULL;
    if (b->ops.get_extension != NULL)
        table = b->ops.get_extension(&b->box, HAK_COUNTERS_1);
    if (table == NULL)
        return 0;
    uint32_t n = table->read(&b->box, out, COUNTERS_MOST);
    return n < COUNTERS_MOST ? n : COUNTERS_MOST;
}

uint64_t hak_libc_allocs(void)
{
    uint64_t n = 0;
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        n += hak_counted(&t->libc_allocs);
    return n;
}

/* ---- text ---- */

struct text {
    char bytes[16384];
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t,
                                                      const char *format, ...)
{
    size_t room = sizeof t->bytes - t->used;
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(t->bytes + t->used, room, format, ap);
    va_end(ap);
    if (n > 0)
        t->used += hak_min((size_t)n, room - 1);
}

/* Bytes with a binary unit, at most 7 columns. */
static const char *human(char out[24], uint64_t bytes)
{
    static const char units[] = "BKMGTP";
    size_t u = 0;
    uint64_t tenths = bytes * 10;
    while (tenths >= 10240 && u < sizeof units - 2) {
        tenths /= 1024;
        u++;
    }
    if (u == 0 || tenths >= 1000)
        snprintf(out, 24, "%" PRIu64 "%c", tenths / 10, units[u]);
    else
        snprintf(out, 24, "%" PRIu64 ".%" PRIu64 "%c", tenths / 10, tenths % 10,
                 units[u]);
    return out;
}

static const char *number(char out[24], uint64_t n, bool known)
{
    snprintf(out, 24, known ? "%" PRIu64 : "-", n);
    return out;
}

static const char *program(void)
{
    return program_invocation_short_name;
}

static void text_boxes(struct text *t)
{
    add(t, "%-10s %11s %11s %9s %8s %8s %8s %9s %9s %8s\n", "box", "allocs",
        "frees", "live", "bytes", "peak", "mapped", "refills", "remote",
        "declined");
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        struct hak_loaded *b = hak_boxes.walk[i];
        struct hak_stats s;
        char count[3][24], live[24], peak[24], mapped[24];
        hak_figures(b, &s);
        /* Without ops->stats the core knows its own counts alone: those of
         * calls, where the box has no lanes. */
        bool knows = b->ops.stats != NULL, counted = knows || !b->box.lanes;
        add(t,
            "%-10s %11s %11s %9s %8s %8s %8s %9" PRIu64 " %9" PRIu64
            " %8" PRIu64 "\n",
            b->box.name, number(count[0], s.allocs, counted),
            number(count[1], s.frees, counted),
            number(count[2], s.live_count, counted),
            counted ? human(live, s.live_bytes) : "-",
            knows ? human(peak, s.peak_bytes) : "-",
            human(mapped, s.mapped_bytes), s.refills, s.remote_frees,
            s.declines);
    }
    add(t, "%-10s %11" PRIu64 "   (the last resort)\n", "libc",
        hak_libc_allocs());
}

/* Those that are not 0. */
static void text_counters(struct text *t)
{
    struct hak_counter counter[COUNTERS_MOST];
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        uint32_t n = read_counters(hak_boxes.walk[i], counter), told = 0;
        for (uint32_t k = 0; k < n; k++) {
            if (counter[k].value == 0)
                continue;
            if (told++ == 0)
                add(t, "counts %s:", hak_boxes.walk[i]->box.name);
            add(t, "%s %s %" PRIu64, told == 1 ? "" : ",", counter[k].name,
                counter[k].value);
        }
        if (told != 0)
            add(t, "\n");
    }
}

static void add_chain(struct text *t, const struct hak_chain *chain)
{
    for (uint32_t i = 0; chain->box[i] != NULL; i++)
        add(t, "%s%s", i == 0 ? "" : " > ", chain->box[i]->box.name);
    add(t, "%s%s", chain->box[0] != NULL ? " > " : "",
        chain->last == HAK_FALLBACK_LIBC ? "libc" : "none");
}

/* Has the route the name of its one box, or of the fallback? */
static bool names_itself(const struct hak_chain *chain)
{
    return chain->box[0] == NULL ||
           strcmp(chain->box[0]->box.name, chain->route) == 0;
}

/* Last index of the run from `first` that has one route and one class. */
static uint32_t run_end(uint32_t first)
{
    uint32_t last = first;
    while (last < HAK_LANES && hak_chain_of(last + 1) == hak_chain_of(first) &&
           hak_class_of_index(last + 1) == hak_class_of_index(first))
        last++;
    return last;
}

static void class_name(char out[48], uint32_t first, uint32_t last)
{
    uint32_t c = hak_class_of_index(first);
    if (last == HAK_INDEX_LARGE) /* a run of one class: it begins above 0 */
        snprintf(out, 48, "%zu-", hak_index_bytes(first - 1) + 1);
    else if (c < 8 && hak_class_bytes(c) == hak_index_bytes(last))
        snprintf(out, 48, "C%u", c);
    else
        snprintf(out, 48, "%zu-%zu",
                 first == 0 ? 0 : hak_index_bytes(first - 1) + 1,
                 hak_index_bytes(last));
}

static void text_routes(struct text *t)
{
    char from[48], to[48];
    for (uint32_t i = 0; i <= HAK_LANES;) {
        const struct hak_chain *chain = hak_chain_of(i);
        uint32_t last = run_end(i);
        class_name(from, i, last);
        strcpy(to, from);
        while (last < HAK_LANES && hak_chain_of(last + 1) == chain) {
            uint32_t first = last + 1;
            last = run_end(first);
            class_name(to, first, last);
        }
        add(t, "route  %s%s%s: ", from, strcmp(from, to) ? " .. " : "",
            strcmp(from, to) ? to : "");
        add_chain(t, chain);
        add(t, names_itself(chain) ? "\n" : "  (%s)\n", chain->route);
        i = last + 1;
    }
}

static void text_sample(struct text *t)
{
    if (hak_samples())
        add(t, "sample one in %u: %s, then as routed\n", hak_sampling.every,
            hak_sampling.box->box.name);
}

static void add_percent(struct text *t, const char *name, uint32_t bps)
{
    add(t, "%s%3u.%02u%%", name, bps / 100, bps % 100);
}

/* Classes of which nothing retired yet are left out. */
static void text_learner(struct text *t)
{
    struct hak_learner_figures f;
    if (!hak_routes_may_change() || hak_learner_read(&f) != 0)
        return;
    add(t,
        "learner %s, %" PRIu64 " evaluations, %" PRIu64
        " decisions; last window: %" PRIu64 " retires",
        f.mode, f.evaluations, f.decisions, f.window_retires);
    add_percent(t, ", utilisation ", f.utilisation_bps);
    add_percent(t, ", free hit ", f.free_hit_bps);
    add(t, "\n");
    for (uint32_t c = 0; c < HAK_CLASSES; c++) {
        const struct hak_learner_class_figures *k = &f.classes[c];
        if (k->retires == 0)
            continue;
        add(t, "learner C%u %-10s", c, k->route);
        add_percent(t, " share ", k->share_bps);
        add_percent(t, "  retire ", k->retire_bps);
        add_percent(t, "  utilisation ", k->utilisation_bps);
        add_percent(t, "  free hit ", k->free_hit_bps);
        add(t, "  %" PRIu64 " switches, rule %s\n", k->switches,
            k->rule != NULL ? k->rule : "none");
    }
}

static const char *free_route_name(void)
{
    return hak_free_route() == HAK_FREE_OWNS ? "owns" : "directory";
}

static void as_text(struct text *t)
{
    struct hak_space_figures f;
    char used[24], idle[24], purged[24], meta[24];
    hak_space_read(&f);
    const char *profile = hak_conf.profile;
    add(t, "hakmem %s: %s (%d), %s%s%s, %s boxes, free_route %s%s\n",
        HAK_VERSION, program(), (int)getpid(), hak_conf.file,
        profile != NULL ? " profile " : "", profile != NULL ? profile : "",
        HAK_BUILD, free_route_name(), hak_verifies() ? ", verified" : "");
    text_boxes(t);
    text_counters(t);
    add(t, "memory %s in boxes, %s kept for reuse, %s purged, %s metadata\n",
        human(used, f.used_bytes), human(idle, f.free_bytes),
        human(purged, f.purged_bytes), human(meta, hak_meta_bytes()));
    text_routes(t);
    text_sample(t);
    text_learner(t);
}

/* ---- JSON ---- */

static void add_quoted(struct text *t, const char *s)
{
    add(t, "\"");
    for (; *s != 0; s++) {
        if (*s == '"' || *s == '\\')
            add(t, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            add(t, "\\u%04x", (unsigned)*s);
        else
            add(t, "%c", *s);
    }
    add(t, "\"");
}

static void json_box(struct text *t, struct hak_loaded *b)
{
    struct hak_stats s;
    hak_figures(b, &s);
    add(t, "{\"name\":");
    add_quoted(t, b->box.name);
    add(t, ",\"id\":");
    add_quoted(t, b->entry->id);
    const struct {
        const char *name;
        uint64_t value;
    } figures[] = {
        {"allocs", s.allocs},
        {"frees", s.frees},
        {"live", s.live_count},
        {"live_bytes", s.live_bytes},
        {"peak_bytes", s.peak_bytes},
        {"mapped_bytes", s.mapped_bytes},
        {"mapped_peak_bytes", s.mapped_peak_bytes},
        {"cached_bytes", s.cached_bytes},
        {"refills", s.refills},
        {"remote_frees", s.remote_frees},
        {"declines", s.declines},
        {"retired_pages", s.retired_pages},
        {"adopted_pages", s.adopted_pages},
    };
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        add(t, ",\"%s\":%" PRIu64, figures[i].name, figures[i].value);
    struct hak_counter counter[COUNTERS_MOST];
    uint32_t n = read_counters(b, counter);
    add(t, ",\"counters\":{");
    for (uint32_t k = 0; k < n; k++)
        add(t, "%s\"%s\":%" PRIu64, k == 0 ? "" : ",", counter[k].name,
            counter[k].value);
    add(t, "}}");
}

static void json_routes(struct text *t)
{
    for (uint32_t i = 0; i <= HAK_LANES;) {
        const struct hak_chain *chain = hak_chain_of(i);
        uint32_t last = run_end(i);
        add(t, "%s{\"from\":%zu,", i == 0 ? "" : ",",
            i == 0 ? 0 : hak_index_bytes(i - 1) + 1);
        if (last < HAK_LANES)
            add(t, "\"to\":%zu,", hak_index_bytes(last));
        add(t, "\"chain\":[");
        for (uint32_t k = 0; chain->box[k] != NULL; k++) {
            add_quoted(t, chain->box[k]->box.name);
            add(t, ",");
        }
        add(t, "\"%s\"],\"route\":",
            chain->last == HAK_FALLBACK_LIBC ? "libc" : "none");
        add_quoted(t, chain->route);
        add(t, "}");
        i = last + 1;
    }
}

static void json_class(struct text *t, uint32_t c,
                       const struct hak_learner_class_figures *k)
{
    add(t, "%s{\"class\":\"C%u\",\"route\":", c == 0 ? "" : ",", c);
    add_quoted(t, k->route);
    add(t, ",\"rule\":");
    if (k->rule != NULL)
        add_quoted(t, k->rule);
    else
        add(t, "null");
    add(t,
        ",\"retires\":%" PRIu64 ",\"allocations\":%" PRIu64
        ",\"switches\":%" PRIu64
        ",\"share_bps\":%u,\"retire_bps\":%u,\"utilisation_bps\":%u,"
        "\"free_hit_bps\":%u}",
        k->retires, k->allocations, k->switches, k->share_bps, k->retire_bps,
        k->utilisation_bps, k->free_hit_bps);
}

static void json_learner(struct text *t)
{
    struct hak_learner_figures f;
    if (!hak_routes_may_change() || hak_learner_read(&f) != 0)
        return;
    add(t,
        ",\"learner\":{\"mode\":\"%s\",\"evaluations\":%" PRIu64
        ",\"decisions\":%" PRIu64 ",\"window_retires\":%" PRIu64
        ",\"utilisation_bps\":%u,\"free_hit_bps\":%u,\"classes\":[",
        f.mode, f.evaluations, f.decisions, f.window_retires, f.utilisation_bps,
        f.free_hit_bps);
    for (uint32_t c = 0; c < HAK_CLASSES; c++)
        json_class(t, c, &f.classes[c]);
    add(t, "]}");
}

static void as_json(struct text *t)
{
    struct hak_space_figures f;
    hak_space_read(&f);
    add(t, "{\"hakmem\":\"%s\",\"program\":", HAK_VERSION);
    add_quoted(t, program());
    add(t, ",\"pid\":%d,\"conf\":", (int)getpid());
    add_quoted(t, hak_conf.file);
    add(t, ",\"profile\":");
    if (hak_conf.profile != NULL)
        add_quoted(t, hak_conf.profile);
    else
        add(t, "null");
    add(t, ",\"build\":\"%s\",\"free_route\":\"%s\",\"boxes\":[", HAK_BUILD,
        free_route_name());
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        add(t, "%s", i == 0 ? "" : ",");
        json_box(t, hak_boxes.walk[i]);
    }
    add(t,
        "],\"libc_allocs\":%" PRIu64 ",\"used_bytes\":%" PRIu64
        ",\"kept_bytes\":%" PRIu64 ",\"purged_bytes\":%" PRIu64
        ",\"meta_bytes\":%" PRIu64 ",\"routes\":[",
        hak_libc_allocs(), f.used_bytes, f.free_bytes, f.purged_bytes,
        hak_meta_bytes());
    json_routes(t);
    add(t, "]");
    if (hak_samples()) {
        add(t, ",\"sample\":{\"every\":%u,\"box\":", hak_sampling.every);
        add_quoted(t, hak_sampling.box->box.name);
        add(t, "}");
    }
    json_learner(t);
    add(t, "}\n");
}

/* ---- out ---- */

static int write_all(int fd, const char *bytes, size_t n)
{
    while (n != 0) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            bytes += done;
            n -= (size_t)done;
        }
    }
    return 0;
}

static struct hak_lock lock;

void hak_report_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&lock, phase);
}

/* What is written next; under the lock, but at start. */
static HAK_SPARSE struct text text;

int hak_report_write(int fd, bool json)
{
    if (hak_core.mode != HAK_MODE_BOXES)
        return -ENOSYS;
    if (hak_is_forking())
        return -EAGAIN;
    hak_lock_take(&lock);
    text.used = 0;
    (json ? as_json : as_text)(&text);
    int error = write_all(fd, text.bytes, text.used);
    hak_lock_drop(&lock);
    return error;
}

/*
 * What at_exit writes to, taken at start: the program may be in a sandbox by
 * then, and coreutils and others close stderr in an exit handler of theirs.
 */
static struct hak_held held_stderr, held_file;

static bool is_stderr(const char *to)
{
    return strcasecmp(to, "stderr") == 0;
}

/* Also where another process is to report. */
static bool is_none(const char *to)
{
    return to == NULL || strcasecmp(to, "none") == 0 ||
           (hak_conf.stats_pid != 0 &&
            hak_conf.stats_pid != (uint32_t)getpid());
}

static void tell(const char *key, const char *name, const char *what,
                 const char *why)
{
    int fd = hak_held_stderr(&held_stderr);
    if (fd >= 0)
        hak_say_to(fd, "[stats] %s = %s: cannot be %s: %s", key, name, what,
                   why);
}

static void add_routes(void)
{
    text.used = 0;
    add(&text, "hakmem %s: %s (%d), %s%s%s\n", HAK_VERSION, program(),
        (int)getpid(), hak_conf.file,
        hak_conf.profile != NULL ? ", profile " : "",
        hak_conf.profile != NULL ? hak_conf.profile : "");
    text_routes(&text);
    text_sample(&text);
}

/* [stats] at_start: the table of routes. */
static void routes_at_start(const char *to)
{
    char path[4096], why[256];
    int fd = is_stderr(to)
                 ? STDERR_FILENO
                 : hak_log_open(to, path, sizeof path, why, sizeof why);
    if (fd < 0) {
        tell("at_start", path, "opened", why);
        return;
    }
    add_routes();
    int error = write_all(fd, text.bytes, text.used);
    if (error != 0)
        tell("at_start", to, "written", strerrordesc_np(-error));
    if (!is_stderr(to))
        close(fd);
}

void hak_report_start(void)
{
    const char *at_start = hak_conf.stats_at_start;
    const char *at_exit = hak_conf.stats_at_exit;
    if (is_none(at_start) && is_none(at_exit))
        return;
    hak_hold_stderr(&held_stderr);
    if (!is_none(at_start))
        routes_at_start(at_start);
    if (is_none(at_exit) || is_stderr(at_exit))
        return;
    char path[4096], why[256];
    if (!hak_hold_file(&held_file, at_exit, path, sizeof path, why, sizeof why))
        tell("at_exit", path, "opened", why);
}

/* One write a process, appended: reports of many may be in one file. */
static void report_to(int fd, const char *name)
{
    int error = hak_report_write(fd, hak_conf.stats_json);
    if (error != 0)
        tell("at_exit", name, "written", strerrordesc_np(-error));
}

void hak_report_at_exit(void)
{
    char path[4096], why[256];
    const char *to = hak_conf.stats_at_exit;
    if (hak_core.mode != HAK_MODE_BOXES || is_none(to))
        return;
    if (is_stderr(to)) {
        int fd = hak_held_stderr(&held_stderr);
        if (fd >= 0)
            report_to(fd, to);
        return;
    }
    int fd = hak_held_open(&held_file, path, sizeof path, why, sizeof why);
    if (fd < 0) { /* told at the start, if it was so then */
        if (held_file.was_open)
            tell("at_exit", path, "opened", why);
        return;
    }
    report_to(fd, path);
    hak_held_done(&held_file, fd);
}
