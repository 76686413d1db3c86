/* SPDX-License-Identifier: MIT
 * hakctl_prometheus.c - writes a snapshot of processes in Prometheus's text
 * format, which prometheus.io/docs/instrumenting/exposition_formats describes.
 *
 * All samples of a metric stand together, behind its HELP and TYPE lines.
 */
#include "hakctl_fleet.h"

#include <inttypes.h>

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

/* A label's value: \, " and newlines are escaped. */
static void print_value(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != 0; text++) {
        if (*text == '\\' || *text == '"')
            fputc('\\', out);
        if (*text == '\n')
            fputs("\\n", out);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

static void print_head(FILE *out, const char *prefix, const struct metric *m)
{
    fprintf(out, "# HELP hakmem_%s%s %s\n# TYPE hakmem_%s%s %s\n", prefix,
            m->name, m->help, prefix, m->name,
            m->type == COUNTER ? "counter" : "gauge");
}

static void print_sample(FILE *out, const char *prefix, const char *name,
                         const struct fleet_process *p)
{
    fprintf(out, "hakmem_%s%s{pid=\"%d\",program=", prefix, name, (int)p->pid);
    print_value(out, p->program != NULL ? p->program : "");
}

static void print_processes(FILE *out, const struct fleet *fleet)
{
    static const struct metric up = {
        "up", GAUGE, 0, "1 if the process answered the scrape, else 0."};
    static const struct metric info = {
        "process_info", GAUGE, 0, "Always 1; the labels say what is running."};
    print_head(out, "", &up);
    for (size_t i = 0; i < fleet->n; i++) {
        const struct fleet_process *p = &fleet->process[i];
        if (p->state == FLEET_ENDED)
            continue;
        print_sample(out, "", up.name, p);
        fprintf(out, "} %d\n", p->state == FLEET_ANSWERED);
    }
    print_head(out, "", &info);
    for (size_t i = 0; i < fleet->n; i++) {
        const struct fleet_process *p = &fleet->process[i];
        if (p->state != FLEET_ANSWERED)
            continue;
        print_sample(out, "", info.name, p);
        fputs(",ini=", out);
        print_value(out, p->ini);
        fputs(",version=", out);
        print_value(out, p->version);
        fputs("} 1\n", out);
    }
}

static void print_wholes(FILE *out, const struct fleet *fleet,
                         const struct metric *m)
{
    print_head(out, "process_", m);
    for (size_t i = 0; i < fleet->n; i++) {
        const struct fleet_process *p = &fleet->process[i];
        if (p->state != FLEET_ANSWERED)
            continue;
        print_sample(out, "process_", m->name, p);
        fprintf(out, "} %" PRIu64 "\n", p->value[m->figure]);
    }
}

/* Boxes that do not count allocs by class have none to show. */
static bool is_told(const struct fleet_row *row, const struct metric *m)
{
    bool counts = row->value[FLEET_ALLOCS] != 0;
    return row->slot_bytes == 0 || m->type != COUNTER || counts;
}

static void print_rows(FILE *out, const struct fleet *fleet, bool classes,
                       const struct metric *m)
{
    const char *prefix = classes ? "class_" : "box_";
    print_head(out, prefix, m);
    for (size_t i = 0; i < fleet->n; i++) {
        const struct fleet_process *p = &fleet->process[i];
        for (size_t k = 0; k < p->nrows; k++) {
            const struct fleet_row *row = &p->row[k];
            if (p->state != FLEET_ANSWERED ||
                (row->slot_bytes != 0) != classes || !is_told(row, m))
                continue;
            print_sample(out, prefix, m->name, p);
            fputs(",box=", out);
            print_value(out, row->box);
            if (classes)
                fprintf(out, ",class=\"%" PRIu64 "\"", row->slot_bytes);
            fprintf(out, "} %" PRIu64 "\n", row->value[m->figure]);
        }
    }
}

void fleet_print_metrics(FILE *out, const struct fleet *fleet)
{
    print_processes(out, fleet);
    for (size_t i = 0; i < sizeof of_process / sizeof of_process[0]; i++)
        print_wholes(out, fleet, &of_process[i]);
    for (size_t i = 0; i < sizeof of_box / sizeof of_box[0]; i++)
        print_rows(out, fleet, false, &of_box[i]);
    for (size_t i = 0; i < OF_CLASS; i++)
        print_rows(out, fleet, true, &of_box[i]);
}
