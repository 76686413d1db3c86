/* SPDX-License-Identifier: MIT
 * json.c - the report as one line of JSON.
 */
#include <report/report.h>

#include <base/meta.h>
#include <base/utf8.h>
#include <core/memory/space.h>
#include <core/state/core.h>
#include <hakmem/version.h>
#include <kit/sync.h>

#include <inttypes.h>
#include <unistd.h>

static void add_quoted(struct hak_text *t, const char *s)
{
    char character[8];
    hak_text_print(t, "\"");
    while (*s != 0) {
        s += hak_json_character(character, s);
        hak_text_print(t, "%s", character);
    }
    hak_text_print(t, "\"");
}

/* Only classes that were ever used, and as many as leave room for the rest of
 * the report. */
static void json_classes(struct hak_text *t, struct hak_loaded *b)
{
    enum { REST_BYTES = 96 << 10 };
    const struct hak_class *c = t->classes;
    uint32_t n = hak_classes(b, t->classes), told = 0;
    hak_text_print(t, ",\"classes\":[");
    for (uint32_t i = 0; i < n && sizeof t->bytes - t->used > REST_BYTES;
         i++, c++)
        if (c->allocs != 0 || c->mapped_bytes != 0)
            hak_text_print(
                t,
                "%s{\"slot_bytes\":%" PRIu64 ",\"allocs\":%" PRIu64
                ",\"frees\":%" PRIu64 ",\"live\":%" PRIu64
                ",\"live_bytes\":%" PRIu64 ",\"mapped_bytes\":%" PRIu64
                ",\"cached_bytes\":%" PRIu64 "}",
                told++ == 0 ? "" : ",", c->slot_bytes, c->allocs, c->frees,
                c->live_count, c->live_bytes, c->mapped_bytes, c->cached_bytes);
    hak_text_print(t, "]");
}

static void json_box(struct hak_text *t, struct hak_loaded *b)
{
    struct hak_stats s;
    hak_figures(b, &s);
    hak_text_print(t, "{\"name\":");
    add_quoted(t, b->box.name);
    hak_text_print(t, ",\"id\":");
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
        hak_text_print(t, ",\"%s\":%" PRIu64, figures[i].name,
                       figures[i].value);
    struct hak_counter counter[HAK_COUNTERS_MOST];
    uint32_t n = hak_counters(b, counter);
    hak_text_print(t, ",\"counters\":{");
    for (uint32_t k = 0; k < n; k++)
        hak_text_print(t, "%s\"%s\":%" PRIu64, k == 0 ? "" : ",",
                       counter[k].name, counter[k].value);
    hak_text_print(t, "}");
    json_classes(t, b);
    hak_text_print(t, "}");
}

/* The memory of the process, and the box that holds most of it. */
static void json_memory(struct hak_text *t)
{
    struct hak_space_figures f;
    const struct hak_loaded *largest = NULL;
    uint64_t most = 0;
    hak_space_read(&f);
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        const struct hak_loaded *b = hak_box_at(i);
        uint64_t bytes = hak_counted(&b->now->mapped_bytes);
        if (bytes > most) {
            most = bytes;
            largest = b;
        }
    }
    hak_text_print(t,
                   ",\"used_bytes\":%" PRIu64 ",\"kept_bytes\":%" PRIu64
                   ",\"dirty_bytes\":%" PRIu64 ",\"purged_bytes\":%" PRIu64
                   ",\"purges\":%" PRIu64 ",\"purges_refused\":%" PRIu64
                   ",\"meta_bytes\":%" PRIu64 ",\"largest\":",
                   f.used_bytes, f.free_bytes, f.dirty_bytes, f.purged_bytes,
                   f.purges, f.purges_refused, hak_meta_bytes());
    if (largest == NULL) {
        hak_text_print(t, "null");
        return;
    }
    hak_text_print(t, "{\"box\":");
    add_quoted(t, largest->box.name);
    hak_text_print(t, ",\"mapped_bytes\":%" PRIu64 "}", most);
}

static void json_routes(struct hak_text *t)
{
    for (uint32_t i = 0; i <= HAK_LANES;) {
        const struct hak_chain *chain = hak_chain_of(i);
        uint32_t last = hak_route_end(i);
        hak_text_print(t, "%s{\"from\":%zu,", i == 0 ? "" : ",",
                       i == 0 ? 0 : hak_index_bytes(i - 1) + 1);
        if (last < HAK_LANES)
            hak_text_print(t, "\"to\":%zu,", hak_index_bytes(last));
        hak_text_print(t, "\"chain\":[");
        for (uint32_t k = 0; chain->box[k] != NULL; k++) {
            add_quoted(t, chain->box[k]->box.name);
            hak_text_print(t, ",");
        }
        hak_text_print(t, "\"%s\"],\"route\":",
                       chain->last == HAK_FALLBACK_LIBC ? "libc" : "none");
        add_quoted(t, chain->route);
        hak_text_print(t, "}");
        i = last + 1;
    }
}

static void json_stuck(struct hak_text *t, const struct hak_stuck *stuck,
                       uint32_t n)
{
    hak_text_print(t, ",\"stuck\":[");
    for (uint32_t i = 0; i < n; i++) {
        hak_text_print(t, "%s{\"thread\":%u,\"box\":", i == 0 ? "" : ",",
                       stuck[i].thread);
        add_quoted(t, stuck[i].box);
        hak_text_print(t, ",\"operation\":\"%s\",\"seconds\":%" PRIu64 "}",
                       stuck[i].operation, stuck[i].seconds);
    }
    hak_text_print(t, "]");
}

void hak_report_json(struct hak_text *t)
{
    struct hak_stuck stuck[HAK_STUCK_MOST];
    uint32_t nstuck = hak_report_stuck(stuck); /* before stats are asked for */
    hak_text_print(t, "{\"hakmem\":\"%s\",\"program\":", HAK_VERSION);
    add_quoted(t, hak_program());
    hak_text_print(t, ",\"pid\":%d,\"conf\":", (int)getpid());
    add_quoted(t, hak_conf.file);
    hak_text_print(t, ",\"profile\":");
    if (hak_conf.profile != NULL)
        add_quoted(t, hak_conf.profile);
    else
        hak_text_print(t, "null");
    hak_text_print(t, ",\"build\":\"%s\",\"free_route\":\"%s\",\"boxes\":[",
                   HAK_BUILD, hak_free_route_name());
    const char *comma = "";
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_in_walk(i);
        if (b == &hak_vacant)
            continue;
        hak_text_print(t, "%s", comma);
        json_box(t, b);
        comma = ",";
    }
    hak_text_print(t, "],\"libc_allocs\":%" PRIu64, hak_libc_allocs());
    json_memory(t);
    hak_text_print(t, ",\"routes\":[");
    json_routes(t);
    hak_text_print(t, "]");
    if (hak_blames())
        json_stuck(t, stuck, nstuck);
    if (hak_samples_for_box()) {
        hak_text_print(
            t, ",\"sample\":{\"every\":%u,\"box\":", hak_core.sample_every);
        add_quoted(t, hak_core.sample_box->box.name);
        hak_text_print(t, "}");
    }
    hak_report_modules(t, true);
    hak_text_print(t, "}\n");
}
