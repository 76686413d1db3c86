/* SPDX-License-Identifier: MIT
 * text.c - the report as a table.
 */
#include <report/report.h>

#include <base/meta.h>
#include <core/memory/space.h>
#include <core/state/core.h>
#include <hakmem/module.h>
#include <hakmem/version.h>
#include <core/state/modules.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <string.h>

void hak_text_print(struct hak_text *t, const char *format, ...)
{
    size_t room = sizeof t->bytes - t->used;
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(t->bytes + t->used, room, format, ap);
    va_end(ap);
    if (n > 0)
        t->used += hak_min((size_t)n, room - 1);
}

/* Format bytes with a binary unit, in at most 7 columns. */
static const char *format_bytes(char out[24], uint64_t bytes)
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

static const char *format_count(char out[24], uint64_t n, bool known)
{
    snprintf(out, 24, known ? "%" PRIu64 : "-", n);
    return out;
}

const char *hak_program(void)
{
    return program_invocation_short_name;
}

static void text_boxes(struct hak_text *t)
{
    hak_text_print(t, "%-10s %11s %11s %9s %8s %8s %8s %9s %9s %8s\n", "box",
                   "allocs", "frees", "live", "bytes", "peak", "mapped",
                   "refills", "remote", "declined");
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_in_walk(i);
        struct hak_stats s;
        char count[3][24], live[24], peak[24], mapped[24];
        if (b == &hak_vacant)
            continue;
        hak_figures(b, &s);
        /* Without ops->stats there are only the core's counts of calls, which
         * are complete if the box has no lanes. */
        bool knows = b->ops.stats != NULL && !hak_report_is_stuck(b);
        bool counted = knows || !b->box.lanes;
        hak_text_print(t,
                       "%-10s %11s %11s %9s %8s %8s %8s %9" PRIu64 " %9" PRIu64
                       " %8" PRIu64 "\n",
                       b->box.name, format_count(count[0], s.allocs, counted),
                       format_count(count[1], s.frees, counted),
                       format_count(count[2], s.live_count, counted),
                       counted ? format_bytes(live, s.live_bytes) : "-",
                       knows ? format_bytes(peak, s.peak_bytes) : "-",
                       format_bytes(mapped, s.mapped_bytes), s.refills,
                       s.remote_frees, s.declines);
    }
    hak_text_print(t, "%-10s %11" PRIu64 "   (the last resort)\n", "libc",
                   hak_libc_allocs());
}

/* Boxes' own counters. Those that are 0 are left out. */
static void text_counters(struct hak_text *t)
{
    struct hak_counter counter[HAK_COUNTERS_MOST];
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_in_walk(i);
        uint32_t n = hak_counters(b, counter), told = 0;
        for (uint32_t k = 0; k < n; k++) {
            if (counter[k].value == 0)
                continue;
            if (told++ == 0)
                hak_text_print(t, "counts %s:", b->box.name);
            hak_text_print(t, "%s %s %" PRIu64, told == 1 ? "" : ",",
                           counter[k].name, counter[k].value);
        }
        if (told != 0)
            hak_text_print(t, "\n");
    }
}

static void add_chain(struct hak_text *t, const struct hak_chain *chain)
{
    for (uint32_t i = 0; chain->box[i] != NULL; i++)
        hak_text_print(t, "%s%s", i == 0 ? "" : " > ", chain->box[i]->box.name);
    hak_text_print(t, "%s%s", chain->box[0] != NULL ? " > " : "",
                   chain->last == HAK_FALLBACK_LIBC ? "libc" : "none");
}

/* Does the route's name repeat what its chain says? It does if the route is
 * named after its first box, or has no box. */
static bool names_itself(const struct hak_chain *chain)
{
    return chain->box[0] == NULL ||
           strcmp(chain->box[0]->box.name, chain->route) == 0;
}

uint32_t hak_route_end(uint32_t first)
{
    uint32_t last = first;
    while (last < HAK_LANES && hak_chain_of(last + 1) == hak_chain_of(first) &&
           hak_class_of_index(last + 1) == hak_class_of_index(first))
        last++;
    return last;
}

static void format_sizes(char out[48], uint32_t first, uint32_t last)
{
    uint32_t c = hak_class_of_index(first);
    if (last == HAK_INDEX_LARGE) /* first > 0: a run is of one class */
        snprintf(out, 48, "%zu-", hak_index_bytes(first - 1) + 1);
    else if (c < 8 && hak_class_bytes(c) == hak_index_bytes(last))
        snprintf(out, 48, "C%u", c);
    else
        snprintf(out, 48, "%zu-%zu",
                 first == 0 ? 0 : hak_index_bytes(first - 1) + 1,
                 hak_index_bytes(last));
}

static void text_routes(struct hak_text *t)
{
    char from[48], to[48];
    for (uint32_t i = 0; i <= HAK_LANES;) {
        const struct hak_chain *chain = hak_chain_of(i);
        uint32_t last = hak_route_end(i);
        format_sizes(from, i, last);
        strcpy(to, from);
        while (last < HAK_LANES && hak_chain_of(last + 1) == chain) {
            uint32_t first = last + 1;
            last = hak_route_end(first);
            format_sizes(to, first, last);
        }
        hak_text_print(t, "route  %s%s%s: ", from,
                       strcmp(from, to) ? " .. " : "",
                       strcmp(from, to) ? to : "");
        add_chain(t, chain);
        hak_text_print(t, names_itself(chain) ? "\n" : "  (%s)\n",
                       chain->route);
        i = last + 1;
    }
}

static void text_sample(struct hak_text *t)
{
    if (hak_samples_for_box())
        hak_text_print(t, "sample one in %u: %s, then as routed\n",
                       hak_core.sample_every, hak_core.sample_box->box.name);
}

static void text_stuck(struct hak_text *t, const struct hak_stuck *stuck,
                       uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        hak_text_print(t, "thread %u in box %s, %s, for %" PRIu64 " s\n",
                       stuck[i].thread, stuck[i].box, stuck[i].operation,
                       stuck[i].seconds);
}

/* ---- modules ---- */

void hak_report_modules(struct hak_text *t, bool json)
{
    const struct hak_report_part part = {
        .json = json, .add = hak_text_print, .report = t};
    for (uint32_t i = 0; i < hak_modules.n; i++)
        if (hak_modules.entry[i]->report != NULL)
            hak_modules.entry[i]->report(&part);
}

const char *hak_free_route_name(void)
{
    return hak_free_route() == HAK_FREE_OWNS ? "owns" : "directory";
}

void hak_report_text(struct hak_text *t)
{
    struct hak_space_figures f;
    char used[24], idle[24], purged[24], meta[24];
    struct hak_stuck stuck[HAK_STUCK_MOST];
    uint32_t nstuck = hak_report_stuck(stuck); /* before stats are asked for */
    hak_space_read(&f);
    const char *profile = hak_conf.profile;
    hak_text_print(t, "hakmem %s: %s (%d), %s%s%s, %s boxes, free_route %s%s\n",
                   HAK_VERSION, hak_program(), (int)getpid(), hak_conf.file,
                   profile != NULL ? " profile " : "",
                   profile != NULL ? profile : "", HAK_BUILD,
                   hak_free_route_name(), hak_verifies() ? ", verified" : "");
    text_boxes(t);
    text_stuck(t, stuck, nstuck);
    text_counters(t);
    hak_text_print(
        t, "memory %s in boxes, %s kept for reuse, %s purged, %s metadata\n",
        format_bytes(used, f.used_bytes), format_bytes(idle, f.free_bytes),
        format_bytes(purged, f.purged_bytes),
        format_bytes(meta, hak_meta_bytes()));
    text_routes(t);
    text_sample(t);
    hak_report_modules(t, false);
}

void hak_report_routes(struct hak_text *t)
{
    hak_text_print(t, "hakmem %s: %s (%d), %s%s%s\n", HAK_VERSION,
                   hak_program(), (int)getpid(), hak_conf.file,
                   hak_conf.profile != NULL ? ", profile " : "",
                   hak_conf.profile != NULL ? hak_conf.profile : "");
    text_routes(t);
    text_sample(t);
}
