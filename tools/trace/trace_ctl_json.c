/* SPDX-License-Identifier: MIT
 * trace_ctl_json.c - the summary of a trace as JSON (docs/trace.md).
 */
#include "trace_ctl.h"

#include <jansson.h>

static void number(json_t *to, const char *key, uint64_t value)
{
    json_object_set_new(to, key,
                        value <= INT64_MAX ? json_integer((json_int_t)value)
                                           : json_real((double)value));
}

static json_t *calls(const struct trace_counts *c)
{
    json_t *all = json_object();
    for (unsigned kind = 0; kind < TRACE_KINDS; kind++)
        number(all, trace_kind_name(kind), c->calls[kind]);
    return all;
}

static json_t *sizes(const struct trace_counts *c)
{
    json_t *all = json_array();
    for (unsigned i = 0; i < TRACE_SIZE_ROWS; i++) {
        if (c->sizes[i].blocks == 0)
            continue;
        json_t *row = json_object();
        number(row, "from", i == 0 ? 0 : UINT64_C(1) << (i - 1));
        number(row, "blocks", c->sizes[i].blocks);
        number(row, "bytes", c->sizes[i].bytes);
        json_array_append_new(all, row);
    }
    return all;
}

/* The rows have an upper limit, which is not reached, but the last one. */
static json_t *lives(const uint64_t *rows, json_int_t limit)
{
    json_t *all = json_array();
    for (unsigned i = 0; i < TRACE_LIFE_ROWS; i++, limit *= 10) {
        json_t *row = json_object();
        json_object_set_new(row, "under",
                            i < TRACE_LIFE_ROWS - 1 ? json_integer(limit)
                                                    : json_null());
        number(row, "blocks", rows[i]);
        json_array_append_new(all, row);
    }
    return all;
}

void trace_ctl_json(const char *about, const struct trace_counts *c)
{
    json_t *all = json_object(), *from = json_loads(about, 0, NULL);
    json_object_set_new(all, "about", from != NULL ? from : json_string(about));
    number(all, "operations", c->nops);
    number(all, "threads", c->threads);
    number(all, "time_ns", c->time_ns);
    json_object_set_new(all, "cut", json_boolean(c->cut));
    json_object_set_new(all, "damaged", json_boolean(c->damaged));
    number(all, "lost", c->lost);
    json_object_set_new(all, "calls", calls(c));
    number(all, "failed", c->failed);
    number(all, "unknown_frees", c->unknown_frees);
    number(all, "freed_twice", c->twice);
    number(all, "freed_blocks", c->known_frees);
    number(all, "freed_by_another_thread", c->frees_elsewhere);
    number(all, "peak_live_bytes", c->peak_bytes);
    number(all, "peak_live_blocks", c->peak_blocks);
    number(all, "live_bytes", c->live_bytes);
    number(all, "live_blocks", c->live_blocks);
    number(all, "touched_bytes", c->touched_bytes);
    number(all, "touched_of_bytes", c->touched_of_bytes);
    number(all, "touched_blocks", c->touched_blocks);
    number(all, "peak_resident_bytes", c->peak_resident_bytes);
    json_object_set_new(all, "sizes", sizes(c));
    json_object_set_new(all, "lived_ns", lives(c->lived_time, 10000));
    json_object_set_new(all, "lived_blocks", lives(c->lived_blocks, 1));
    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
}
