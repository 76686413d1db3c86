/* SPDX-License-Identifier: MIT
 * profile.c - what is in the file: profile.proto of pprof.
 *
 * Numbers of fields are those of
 * https://github.com/google/pprof/blob/main/proto/profile.proto. Its strings
 * are a table, whose numbers the other messages name:
 *
 *     words[]  names of threads  names of boxes  name and build id of mappings
 *     comments
 *
 * Numbers of locations and mappings begin with 1.
 */
#include "heap_profile.h"
#include "regions.h"

#include <base/os.h>
#include <conf/conf.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Fields of Profile, ValueType, Sample, Label, Mapping, Line and Location. */
enum {
    PROFILE_SAMPLE_TYPE = 1,
    PROFILE_SAMPLE = 2,
    PROFILE_MAPPING = 3,
    PROFILE_LOCATION = 4,
    PROFILE_STRING = 6,
    PROFILE_TIME_NANOS = 9,
    PROFILE_DURATION_NANOS = 10,
    PROFILE_PERIOD_TYPE = 11,
    PROFILE_PERIOD = 12,
    PROFILE_COMMENT = 13,
    PROFILE_DEFAULT_SAMPLE_TYPE = 14,
    TYPE_TYPE = 1,
    TYPE_UNIT = 2,
    SAMPLE_LOCATION = 1,
    SAMPLE_VALUE = 2,
    SAMPLE_LABEL = 3,
    LABEL_KEY = 1,
    LABEL_TEXT = 2,
    LABEL_NUMBER = 3,
    LABEL_UNIT = 4,
    MAPPING_ID = 1,
    MAPPING_START = 2,
    MAPPING_LIMIT = 3,
    MAPPING_OFFSET = 4,
    MAPPING_NAME = 5,
    MAPPING_BUILD_ID = 6,
    LOCATION_ID = 1,
    LOCATION_MAPPING = 2,
    LOCATION_ADDRESS = 3,
};

/* The fixed strings, by their numbers. */
enum word {
    W_EMPTY,
    W_COUNT,
    W_BYTES,
    W_KIB2,
    W_SPACE,
    W_THREAD,
    W_BOX,
    W_LIFETIME,
    W_TYPES, /* the names of the values; then those of lifetimes */
    NTYPES = 11,
    W_LIFETIMES = W_TYPES + NTYPES,
    NWORDS = W_LIFETIMES + HAK_PROFILE_LIFETIMES,
};
static const char *const words[W_LIFETIMES] = {
    "",
    "count",
    "bytes",
    "kib2",
    "space",
    "thread",
    "box",
    "lifetime",
    "alloc_objects",
    "alloc_space",
    "inuse_objects",
    "inuse_space",
    "peak_objects",
    "peak_space",
    "slot_overhead",
    "page_overhead",
    "inuse_samples",
    "inuse_variance",
    "freed_objects",
};
enum { INUSE_SPACE = W_TYPES + 3, FREED = NTYPES - 1 };
static const uint8_t units[NTYPES] = {
    W_COUNT, W_BYTES, W_COUNT, W_BYTES, W_COUNT, W_BYTES,
    W_BYTES, W_BYTES, W_COUNT, W_KIB2,  W_COUNT,
};

/* What is written. Static, as one dump runs at a time and may run on a small
 * stack. */
static struct view {
    struct hak_profile_out *out;
    const struct hak_profile_copy *copy;
    struct hak_profile_message m, inner;
    uint32_t nstrings;
    struct hak_profile_regions regions;
    char text[PATH_MAX + 64];
} view;

/* ---- strings ------------------------------------------------------------- */

static void write_string(struct view *v, const char *text)
{
    hak_profile_write(v->out, PROFILE_STRING, text, strlen(text));
    v->nstrings++;
}

static uint32_t string_of_thread(uint32_t thread)
{
    return NWORDS + thread;
}

static uint32_t string_of_box(const struct view *v, uint32_t box)
{
    return NWORDS + v->copy->nthreads + box;
}

static void write_names(struct view *v)
{
    for (int i = 0; i < W_LIFETIMES; i++)
        write_string(v, words[i]);
    for (int i = 0; i < HAK_PROFILE_LIFETIMES; i++)
        write_string(v, hak_profile_lifetimes[i]);
    for (uint32_t i = 0; i < v->copy->nthreads; i++)
        write_string(v, hak_profile_at(&hak_profile_threads, i));
    for (uint32_t i = 0; i < v->copy->nboxes; i++)
        write_string(v, hak_profile_at(&hak_profile_boxes, i));
}

/* ---- types --------------------------------------------------------------- */

static void write_type(struct view *v, uint32_t field, uint32_t type,
                       uint32_t unit)
{
    v->m.n = 0;
    hak_profile_put(&v->m, TYPE_TYPE, type);
    hak_profile_put(&v->m, TYPE_UNIT, unit);
    hak_profile_write_message(v->out, field, &v->m);
}

static void write_types(struct view *v)
{
    for (uint32_t i = 0; i < NTYPES; i++)
        write_type(v, PROFILE_SAMPLE_TYPE, W_TYPES + i, units[i]);
    write_type(v, PROFILE_PERIOD_TYPE, W_SPACE, W_BYTES);
    hak_profile_write_number(v->out, PROFILE_PERIOD,
                             hak_counted(&hak_profile.every_bytes));
    hak_profile_write_number(v->out, PROFILE_DEFAULT_SAMPLE_TYPE, INUSE_SPACE);
}

/* ---- samples ------------------------------------------------------------- */

static uint64_t rounded(double value)
{
    return value > 0 ? (uint64_t)(value + 0.5) : 0;
}

static uint64_t rounded_up(double value)
{
    uint64_t down = value > 0 ? (uint64_t)value : 0;
    return (double)down < value ? down + 1 : down;
}

static void put_label(struct view *v, uint32_t key, uint32_t text)
{
    v->inner.n = 0;
    hak_profile_put(&v->inner, LABEL_KEY, key);
    hak_profile_put(&v->inner, LABEL_TEXT, text);
    hak_profile_put_bytes(&v->m, SAMPLE_LABEL, v->inner.bytes, v->inner.n);
}

static void put_stack(struct view *v, uint32_t stack)
{
    const struct hak_profile_stack *s =
        hak_profile_at(&hak_profile_stacks, stack);
    v->inner.n = 0;
    for (uint32_t i = 0; i < s->n; i++)
        hak_profile_put_raw(
            &v->inner,
            *(uint32_t *)hak_profile_at(&hak_profile_frames, s->first + i) + 1);
    hak_profile_put_bytes(&v->m, SAMPLE_LOCATION, v->inner.bytes, v->inner.n);
}

/* lifetime: HAK_PROFILE_NONE: none */
static void write_sample(struct view *v, const struct hak_profile_entry *e,
                         const uint64_t value[NTYPES], uint32_t lifetime)
{
    v->m.n = 0;
    put_stack(v, e->stack);
    v->inner.n = 0;
    for (int i = 0; i < NTYPES; i++)
        hak_profile_put_raw(&v->inner, value[i]);
    hak_profile_put_bytes(&v->m, SAMPLE_VALUE, v->inner.bytes, v->inner.n);
    put_label(v, W_THREAD, string_of_thread(e->thread));
    put_label(v, W_BOX, string_of_box(v, e->box));
    if (lifetime != HAK_PROFILE_NONE)
        put_label(v, W_LIFETIME, W_LIFETIMES + lifetime);
    v->inner.n = 0;
    hak_profile_put(&v->inner, LABEL_KEY, W_BYTES);
    hak_profile_put(&v->inner, LABEL_NUMBER, e->slot_bytes);
    hak_profile_put(&v->inner, LABEL_UNIT, W_BYTES);
    hak_profile_put_bytes(&v->m, SAMPLE_LABEL, v->inner.bytes, v->inner.n);
    hak_profile_write_message(v->out, PROFILE_SAMPLE, &v->m);
}

static void write_entry(struct view *v, uint32_t i)
{
    const struct hak_profile_entry *e = hak_profile_at(&hak_profile_entries, i);
    const struct hak_profile_figures *f = &v->copy->figures[i];
    double slots = f->live * (double)e->slot_bytes;
    const uint64_t value[NTYPES] = {
        rounded(f->allocated),
        rounded(f->allocated_bytes),
        rounded(f->live),
        rounded(f->live_bytes),
        rounded(f->peak),
        rounded(f->peak_bytes),
        rounded(slots - f->live_bytes),
        rounded(v->copy->page_overhead[i]),
        f->nsamples,
        rounded_up(f->variance_kib2),
        0,
    };
    write_sample(v, e, value, HAK_PROFILE_NONE);
    for (uint32_t life = 0; life < HAK_PROFILE_LIFETIMES; life++) {
        const uint64_t freed[NTYPES] = {[FREED] = rounded(f->freed[life])};
        if (freed[FREED] != 0)
            write_sample(v, e, freed, life);
    }
}

/* ---- mappings and locations ---------------------------------------------- */

/* The build id of a mapping is the string behind its name. */
static void write_mapping(struct view *v, uint64_t id,
                          const struct hak_profile_region *r)
{
    char hex[2 * HAK_PROFILE_ID_BYTES + 1];
    size_t n = 0;
    for (uint32_t i = 0; i < r->id_bytes; i++) {
        hex[n++] = "0123456789abcdef"[r->id[i] >> 4];
        hex[n++] = "0123456789abcdef"[r->id[i] & 15];
    }
    hex[n] = 0;
    v->m.n = 0;
    hak_profile_put(&v->m, MAPPING_ID, id);
    hak_profile_put(&v->m, MAPPING_START, r->start);
    hak_profile_put(&v->m, MAPPING_LIMIT, r->limit);
    hak_profile_put(&v->m, MAPPING_OFFSET, r->file_offset);
    hak_profile_put(&v->m, MAPPING_NAME, v->nstrings);
    hak_profile_put(&v->m, MAPPING_BUILD_ID, v->nstrings + 1);
    write_string(v, r->name);
    write_string(v, hex);
    hak_profile_write_message(v->out, PROFILE_MAPPING, &v->m);
}

/* The objects, of which pprof takes the first for the program. Then the regions
 * of code that lie in none, then one for addresses that are not mapped any
 * more. */
static void write_mappings(struct view *v)
{
    static const struct hak_profile_region nowhere = {.name = "[anonymous]"};
    for (uint32_t i = 0; i < v->copy->nobjects; i++) {
        const struct hak_profile_object *o =
            hak_profile_at(&hak_profile_objects, i);
        if (i != 0 && !o->used)
            continue;
        const struct hak_profile_region r = {
            .start = o->start,
            .limit = o->limit,
            .file_offset = o->file_offset,
            .name = o->name,
            .id = o->id,
            .id_bytes = o->id_bytes,
        };
        write_mapping(v, i + 1, &r);
    }
    for (uint32_t i = 0; i < v->regions.n; i++)
        write_mapping(v, v->copy->nobjects + i + 1, &v->regions.region[i]);
    write_mapping(v, v->copy->nobjects + v->regions.n + 1, &nowhere);
}

static uint32_t mapping_of(const struct view *v,
                           const struct hak_profile_location *l)
{
    return l->object != HAK_PROFILE_NONE
               ? l->object + 1
               : v->copy->nobjects +
                     hak_profile_region_of(&v->regions, l->address) + 1;
}

static void write_locations(struct view *v)
{
    for (uint32_t i = 0; i < v->copy->nlocations; i++) {
        const struct hak_profile_location *l =
            hak_profile_at(&hak_profile_locations, i);
        v->m.n = 0;
        hak_profile_put(&v->m, LOCATION_ID, i + 1);
        hak_profile_put(&v->m, LOCATION_MAPPING, mapping_of(v, l));
        hak_profile_put(&v->m, LOCATION_ADDRESS, l->address);
        hak_profile_write_message(v->out, PROFILE_LOCATION, &v->m);
    }
}

/* ---- the rest ------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static void
write_comment(struct view *v, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(v->text, sizeof v->text, format, ap);
    va_end(ap);
    hak_profile_write_number(v->out, PROFILE_COMMENT, v->nstrings);
    write_string(v, v->text);
}

static void write_comments(struct view *v, const char *reason)
{
    const struct hak_profile_totals *t = &v->copy->totals;
    int64_t began_ms = hak_profile.began_ms;
    write_comment(v, "hakmem heap profile 1");
    write_comment(v, "program=%s", hak_profile_command);
    write_comment(v, "pid=%d", (int)getpid());
    write_comment(v, "reason=%s", reason);
    write_comment(v, "every=%" PRIu64, hak_counted(&hak_profile.every_bytes));
    write_comment(v, "samples=%" PRIu64, t->nsamples);
    write_comment(v, "lost_blocks=%" PRIu64,
                  hak_counted(&hak_profile.nlost_blocks));
    write_comment(v, "lost_stacks=%" PRIu64, t->nlost_stacks);
    write_comment(v, "live=%" PRIu64, rounded(t->live_bytes));
    write_comment(v, "peak=%" PRIu64, rounded(t->peak_bytes));
    write_comment(v, "allocated=%" PRIu64, rounded(t->allocated_bytes));
    write_comment(v, "peak_time_ms=%" PRId64,
                  began_ms +
                      (int64_t)(t->npeaks != 0
                                    ? (t->peak_us - hak_profile.began_us) / 1000
                                    : 0));
    write_comment(v, "started_ms=%" PRId64, began_ms);
}

static void write_times(struct view *v)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    hak_profile_write_number(v->out, PROFILE_TIME_NANOS,
                             (uint64_t)now.tv_sec * 1000000000u +
                                 (uint64_t)now.tv_nsec);
    hak_profile_write_number(v->out, PROFILE_DURATION_NANOS,
                             (hak_os_now_us() - hak_profile.began_us) * 1000);
}

static int write_view(struct view *v, int fd, const char *reason)
{
    v->out = hak_profile_out_open(fd);
    if (v->out == NULL)
        return -ENOMEM;
    hak_profile_regions_read(&v->regions);
    write_names(v);
    write_types(v);
    write_times(v);
    for (uint32_t i = 0; i < v->copy->nentries; i++)
        write_entry(v, i);
    write_mappings(v);
    write_locations(v);
    write_comments(v, reason);
    return hak_profile_out_close(v->out);
}

int hak_profile_profile(int fd, const char *reason)
{
    struct hak_profile_copy *copy = hak_profile_copy_take();
    if (copy == NULL)
        return -ENOMEM;
    memset(&view, 0, sizeof view);
    view.copy = copy;
    hak_profile_pages(copy->page_overhead, copy->nentries);
    int error = write_view(&view, fd, reason);
    hak_profile_copy_drop(copy);
    return error;
}
