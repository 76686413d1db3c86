/* SPDX-License-Identifier: MIT
 * hakctl_prometheus.c - writes a snapshot of processes in Prometheus's text
 * format, which prometheus.io/docs/instrumenting/exposition_formats describes.
 *
 * All samples of a metric stand together, behind its HELP and TYPE lines.
 */
#include "hakctl.h"
#include "hakctl_fleet.h"

#include <inttypes.h>
#include <stdlib.h>

enum type { GAUGE, COUNTER };

struct metric {
    const char *name;
    enum type type;
    int figure;
    const char *help;
};

/* The metric hakmem_PREFIX_NAME, with the labels pid and program, and box and
 * class where it has them. */
static const struct metric of_process[] = {
    {"uptime_seconds", GAUGE, FLEET_UPTIME, "Time since hakmem started."},
    {"resident_memory_bytes", GAUGE, FLEET_RSS,
     "Resident memory of the process, of all allocators and files."},
    {"minor_page_faults_total", COUNTER, FLEET_MINOR_FAULTS,
     "Page faults that needed no input."},
    {"major_page_faults_total", COUNTER, FLEET_MAJOR_FAULTS,
     "Page faults that waited for input."},
    {"used_bytes", GAUGE, FLEET_USED,
     "Memory that boxes hold: live blocks, cached ones and fragmentation."},
    {"kept_bytes", GAUGE, FLEET_KEPT,
     "Mapped memory that no box holds, purged or not."},
    {"purge_pending_bytes", GAUGE, FLEET_DIRTY,
     "Memory that no box holds and that waits for its purge."},
    {"purged_bytes_total", COUNTER, FLEET_PURGED,
     "Memory that was given back to the system."},
    {"purges_total", COUNTER, FLEET_PURGES,
     "How often memory was given back to the system."},
    {"purges_refused_total", COUNTER, FLEET_PURGES_REFUSED,
     "How often the system refused to take memory back, since it is locked."},
    {"metadata_bytes", GAUGE, FLEET_META, "Metadata of the allocator."},
    {"libc_allocs_total", COUNTER, FLEET_LIBC_ALLOCS,
     "Allocations that no box served, so libc did."},
};

static const struct metric of_box[] = {
    {"allocs_total", COUNTER, FLEET_ALLOCS, "Blocks that were handed out."},
    {"frees_total", COUNTER, FLEET_FREES, "Blocks that were freed."},
    {"live_blocks", GAUGE, FLEET_LIVE, "Blocks that the program has."},
    {"live_bytes", GAUGE, FLEET_LIVE_BYTES,
     "Bytes of the blocks that the program has."},
    {"mapped_bytes", GAUGE, FLEET_MAPPED, "Memory that is mapped for it."},
    {"cached_bytes", GAUGE, FLEET_CACHED,
     "Free memory that is kept for reuse."},
    {"peak_bytes", GAUGE, FLEET_PEAK, "Most bytes ever in use."},
    {"mapped_peak_bytes", GAUGE, FLEET_MAPPED_PEAK,
     "Most memory ever mapped for it."},
    {"refills_total", COUNTER, FLEET_REFILLS,
     "How often a thread asked for more slots."},
    {"remote_frees_total", COUNTER, FLEET_REMOTE,
     "Blocks that another thread than their owner freed."},
    {"declines_total", COUNTER, FLEET_DECLINES, "Requests that it declined."},
    {"retired_pages_total", COUNTER, FLEET_RETIRED,
     "Pages that became empty and were given back."},
    {"adopted_pages_total", COUNTER, FLEET_ADOPTED,
     "Pages that were taken over from threads that ended."},
};
enum { OF_CLASS = FLEET_CLASS_FIGURES }; /* the first ones of of_box */

/* ---- labels -------------------------------------------------------------- */

/* The labels of each sample, formatted once: most of a scrape is labels. */
struct text {
    char *bytes;
    size_t n;
};

struct labels {
    struct text process; /* pid="1",program="x" */
    struct text *row;    /* of each row: the same, then box and class */
};

/* A label's value: \, " and newlines are escaped. */
static void print_value(FILE *out, const char *text)
{
    fputc('"', out);
    for (; text != NULL && *text != 0; text++) {
        if (*text == '\\' || *text == '"')
            fputc('\\', out);
        if (*text == '\n')
            fputs("\\n", out);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

static FILE *begin_text(struct text *t)
{
    FILE *out = open_memstream(&t->bytes, &t->n);
    if (out == NULL)
        ctl_die("no memory for the metrics");
    return out;
}

static void end_text(FILE *out)
{
    if (fclose(out) != 0)
        ctl_die("no memory for the metrics");
}

static void make_row_labels(struct text *out, const struct text *process,
                            const struct fleet_row *row)
{
    FILE *to = begin_text(out);
    fwrite(process->bytes, 1, process->n, to);
    fputs(",box=", to);
    print_value(to, row->box);
    if (row->slot_bytes != 0)
        fprintf(to, ",class=\"%" PRIu64 "\"", row->slot_bytes);
    end_text(to);
}

static struct labels *make_labels(const struct fleet *fleet)
{
    struct labels *all = calloc(fleet->n + 1, sizeof *all);
    if (all == NULL)
        ctl_die("no memory for the metrics");
    for (size_t i = 0; i < fleet->n; i++) {
        const struct fleet_process *p = &fleet->process[i];
        FILE *to = begin_text(&all[i].process);
        fprintf(to, "pid=\"%d\",program=", (int)p->pid);
        print_value(to, p->program);
        end_text(to);
        all[i].row = calloc(p->nrows + 1, sizeof *all[i].row);
        if (all[i].row == NULL)
            ctl_die("no memory for the metrics");
        for (size_t k = 0; k < p->nrows; k++)
            make_row_labels(&all[i].row[k], &all[i].process, &p->row[k]);
    }
    return all;
}

static void free_labels(struct labels *all, const struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->n; i++) {
        for (size_t k = 0; k < fleet->process[i].nrows; k++)
            free(all[i].row[k].bytes);
        free(all[i].row);
        free(all[i].process.bytes);
    }
    free(all);
}

/* ---- samples ------------------------------------------------------------- */

/* Print HELP and TYPE of a metric, and make its name with a "{" behind it. */
static struct text begin_metric(FILE *out, const char *prefix,
                                const struct metric *m)
{
    struct text name;
    int n = asprintf(&name.bytes, "hakmem_%s%s{", prefix, m->name);
    if (n < 0)
        ctl_die("no memory for the metrics");
    name.n = (size_t)n;
    fprintf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", n - 1, name.bytes, m->help,
            n - 1, name.bytes, m->type == COUNTER ? "counter" : "gauge");
    return name;
}

/* One line. There may be tens of thousands, so printf is not used. */
static void print_sample(FILE *out, const struct text *name,
                         const struct text *labels, uint64_t value)
{
    char text[24], *at = text + sizeof text;
    *--at = '\n';
    do
        *--at = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    *--at = ' ';
    *--at = '}';
    fwrite_unlocked(name->bytes, 1, name->n, out);
    fwrite_unlocked(labels->bytes, 1, labels->n, out);
    fwrite_unlocked(at, 1, (size_t)(text + sizeof text - at), out);
}

static void print_up(FILE *out, const struct fleet *fleet,
                     const struct labels *labels)
{
    static const struct metric up = {
        "up", GAUGE, 0, "1 if the process answered the scrape, else 0."};
    struct text name = begin_metric(out, "", &up);
    for (size_t i = 0; i < fleet->n; i++)
        if (fleet->process[i].state != FLEET_ENDED)
            print_sample(out, &name, &labels[i].process,
                         fleet->process[i].state == FLEET_ANSWERED);
    free(name.bytes);
}

static void print_info(FILE *out, const struct fleet *fleet,
                       const struct labels *labels)
{
    static const struct metric info = {
        "process_info", GAUGE, 0, "Always 1; the labels say what is running."};
    struct text name = begin_metric(out, "", &info);
    for (size_t i = 0; i < fleet->n; i++) {
        const struct fleet_process *p = &fleet->process[i];
        if (p->state != FLEET_ANSWERED)
            continue;
        fprintf(out, "%s%s,ini=", name.bytes, labels[i].process.bytes);
        print_value(out, p->ini);
        fputs(",version=", out);
        print_value(out, p->version);
        fputs("} 1\n", out);
    }
    free(name.bytes);
}

static void print_wholes(FILE *out, const struct fleet *fleet,
                         const struct labels *labels, const struct metric *m)
{
    struct text name = begin_metric(out, "process_", m);
    for (size_t i = 0; i < fleet->n; i++)
        if (fleet->process[i].state == FLEET_ANSWERED)
            print_sample(out, &name, &labels[i].process,
                         fleet->process[i].value[m->figure]);
    free(name.bytes);
}

/* Boxes that do not count allocs by class have none to show. */
static bool is_told(const struct fleet_row *row, const struct metric *m)
{
    bool counts = row->value[FLEET_ALLOCS] != 0;
    return row->slot_bytes == 0 || m->type != COUNTER || counts;
}

static void print_rows(FILE *out, const struct fleet *fleet,
                       const struct labels *labels, bool classes,
                       const struct metric *m)
{
    struct text name = begin_metric(out, classes ? "class_" : "box_", m);
    for (size_t i = 0; i < fleet->n; i++) {
        const struct fleet_process *p = &fleet->process[i];
        for (size_t k = 0; p->state == FLEET_ANSWERED && k < p->nrows; k++)
            if ((p->row[k].slot_bytes != 0) == classes &&
                is_told(&p->row[k], m))
                print_sample(out, &name, &labels[i].row[k],
                             p->row[k].value[m->figure]);
    }
    free(name.bytes);
}

void fleet_print_metrics(FILE *out, const struct fleet *fleet, bool classes)
{
    struct labels *labels = make_labels(fleet);
    print_up(out, fleet, labels);
    print_info(out, fleet, labels);
    for (size_t i = 0; i < sizeof of_process / sizeof of_process[0]; i++)
        print_wholes(out, fleet, labels, &of_process[i]);
    for (size_t i = 0; i < sizeof of_box / sizeof of_box[0]; i++)
        print_rows(out, fleet, labels, false, &of_box[i]);
    for (size_t i = 0; classes && i < OF_CLASS; i++)
        print_rows(out, fleet, labels, true, &of_box[i]);
    free_labels(labels, fleet);
}
