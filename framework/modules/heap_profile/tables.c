/* SPDX-License-Identifier: MIT
 * tables.c - threads, boxes, stacks, and the figures of each.
 *
 * Each is kept once and has a number. An entry is a stack, a thread's name, a
 * box and a slot size, with the figures of the blocks that were allocated so.
 *
 * Peak: every entry would have to be copied whenever the sum of all live bytes
 * rises above its maximum. Instead each peak has a number, and an entry keeps
 * the peak in which it was changed last. Before the first change after a peak,
 * what is live in the entry is what was live at that peak.
 */
#include "heap_profile.h"

#include <base/text.h>
#include <conf/conf.h>

enum {
    THREADS_MOST = 4096, /* names; those that come later are one name */
    BOXES_MOST = 64,
};

struct hak_profile_pool hak_profile_locations = {
    .item_bytes = sizeof(struct hak_profile_location)};
struct hak_profile_pool hak_profile_frames = {.item_bytes = sizeof(uint32_t)};
struct hak_profile_pool hak_profile_stacks = {
    .item_bytes = sizeof(struct hak_profile_stack)};
struct hak_profile_pool hak_profile_entries = {
    .item_bytes = sizeof(struct hak_profile_entry)};
struct hak_profile_pool hak_profile_threads = {.item_bytes =
                                                   HAK_PROFILE_THREAD_BYTES};
struct hak_profile_pool hak_profile_boxes = {.item_bytes =
                                                 HAK_PROFILE_BOX_BYTES};
static struct hak_profile_index by_address, by_frames, by_key, by_name;

/* ---- names --------------------------------------------------------------- */

static uint32_t hash_text(const char *text)
{
    uint64_t h = 5381;
    for (; *text != 0; text++)
        h = h * 33 + (unsigned char)*text;
    return hak_profile_hash(h, 0);
}

static bool is_thread(uint32_t item, const void *key)
{
    return strcmp(hak_profile_at(&hak_profile_threads, item), key) == 0;
}

uint32_t hak_profile_thread(const char *name)
{
    if (hak_profile_threads.n >= THREADS_MOST)
        name = "(others)";
    uint32_t hash = hash_text(name);
    uint32_t i = hak_profile_find(&by_name, hash, is_thread, name);
    if (i != HAK_PROFILE_NONE || !hak_profile_index_room(&by_name))
        return i;
    i = hak_profile_add(&hak_profile_threads, 1);
    if (i == HAK_PROFILE_NONE)
        return i;
    hak_text_copy(hak_profile_at(&hak_profile_threads, i),
                  HAK_PROFILE_THREAD_BYTES, name, strlen(name));
    hak_profile_index_add(&by_name, hash, i);
    return i;
}

static uint32_t find_box(const char *name)
{
    uint32_t n = hak_profile_boxes.n;
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(hak_profile_at(&hak_profile_boxes, i), name) == 0)
            return i;
    uint32_t i =
        n < BOXES_MOST ? hak_profile_add(&hak_profile_boxes, 1) : n - 1;
    if (i == n)
        hak_text_copy(hak_profile_at(&hak_profile_boxes, i),
                      HAK_PROFILE_BOX_BYTES, name, strlen(name));
    return i;
}

/* ---- stacks -------------------------------------------------------------- */

static bool is_location(uint32_t item, const void *key)
{
    const struct hak_profile_location *a =
        hak_profile_at(&hak_profile_locations, item);
    const struct hak_profile_location *b = key;
    return a->address == b->address && a->object == b->object;
}

static uint32_t find_location(uintptr_t address, uint32_t object)
{
    const struct hak_profile_location key = {address, object};
    uint32_t hash = hak_profile_hash(address, object);
    uint32_t i = hak_profile_find(&by_address, hash, is_location, &key);
    if (i != HAK_PROFILE_NONE || !hak_profile_index_room(&by_address))
        return i;
    i = hak_profile_add(&hak_profile_locations, 1);
    if (i == HAK_PROFILE_NONE)
        return i;
    *(struct hak_profile_location *)hak_profile_at(&hak_profile_locations, i) =
        key;
    hak_profile_index_add(&by_address, hash, i);
    return i;
}

/* The locations of a stack. */
struct frames {
    uint32_t n;
    uint32_t location[HAK_PROFILE_FRAMES_MOST];
};

/* Find the locations of a trace, without the frames of ours at its innermost
 * end. False: no memory. */
static bool locate(const struct hak_profile_trace *trace, struct frames *out)
{
    uint32_t object = HAK_PROFILE_NONE;
    bool inside = true; /* of this library */
    out->n = 0;
    for (uint32_t i = 0; i < trace->n && out->n < hak_profile.keys->frames;
         i++) {
        object = hak_profile_object_of(trace->frame[i], object);
        struct hak_profile_object *o =
            object != HAK_PROFILE_NONE
                ? hak_profile_at(&hak_profile_objects, object)
                : NULL;
        inside = inside && o != NULL && o->ours;
        if (inside)
            continue;
        uint32_t location = find_location(trace->frame[i], object);
        if (location == HAK_PROFILE_NONE)
            return false;
        out->location[out->n++] = location;
        if (o != NULL)
            o->used = true;
    }
    return true;
}

static bool is_stack(uint32_t item, const void *key)
{
    const struct hak_profile_stack *s =
        hak_profile_at(&hak_profile_stacks, item);
    const struct frames *f = key;
    return s->n == f->n &&
           (s->n == 0 || memcmp(hak_profile_at(&hak_profile_frames, s->first),
                                f->location, s->n * sizeof(uint32_t)) == 0);
}

static uint32_t find_stack(const struct frames *f)
{
    uint32_t hash = f->n;
    for (uint32_t i = 0; i < f->n; i++)
        hash = hak_profile_hash(hash, f->location[i]);
    uint32_t i = hak_profile_find(&by_frames, hash, is_stack, f);
    if (i != HAK_PROFILE_NONE || !hak_profile_index_room(&by_frames))
        return i;
    struct hak_profile_stack s = {.hash = hash, .n = f->n};
    if (f->n != 0)
        s.first = hak_profile_add(&hak_profile_frames, f->n);
    if (s.first == HAK_PROFILE_NONE)
        return HAK_PROFILE_NONE;
    i = hak_profile_add(&hak_profile_stacks, 1);
    if (i == HAK_PROFILE_NONE)
        return i;
    if (f->n != 0)
        memcpy(hak_profile_at(&hak_profile_frames, s.first), f->location,
               f->n * sizeof(uint32_t));
    *(struct hak_profile_stack *)hak_profile_at(&hak_profile_stacks, i) = s;
    hak_profile_index_add(&by_frames, hash, i);
    return i;
}

/* The stack of a trace, or the one of no frames, or NONE. */
static uint32_t stack_of(const struct hak_profile_trace *trace)
{
    static const struct frames none;
    static struct frames f; /* small stacks have no room for it */
    uint32_t i = locate(trace, &f) ? find_stack(&f) : HAK_PROFILE_NONE;
    if (i != HAK_PROFILE_NONE)
        return i;
    hak_profile.totals.nlost_stacks++;
    return find_stack(&none);
}

/* ---- entries ------------------------------------------------------------- */

static struct hak_profile_entry *entry_at(uint32_t i)
{
    return hak_profile_at(&hak_profile_entries, i);
}

static bool is_entry(uint32_t item, const void *key)
{
    const struct hak_profile_entry *a = entry_at(item), *b = key;
    return a->stack == b->stack && a->thread == b->thread && a->box == b->box &&
           a->slot_bytes == b->slot_bytes;
}

uint32_t hak_profile_entry(const struct hak_sample *sample, uint32_t thread,
                           const struct hak_profile_trace *trace)
{
    const struct hak_profile_entry key = {
        .stack = stack_of(trace),
        .thread = thread,
        .box = find_box(sample->box),
        .slot_bytes = sample->slot_bytes,
    };
    if (key.stack == HAK_PROFILE_NONE || key.thread == HAK_PROFILE_NONE ||
        key.box == HAK_PROFILE_NONE)
        return HAK_PROFILE_NONE;
    uint32_t hash = hak_profile_hash((uint64_t)key.stack << 32 | key.thread,
                                     (uint64_t)key.box << 48 ^ key.slot_bytes);
    uint32_t i = hak_profile_find(&by_key, hash, is_entry, &key);
    if (i != HAK_PROFILE_NONE || !hak_profile_index_room(&by_key))
        return i;
    i = hak_profile_add(&hak_profile_entries, 1);
    if (i == HAK_PROFILE_NONE)
        return i;
    *entry_at(i) = key;
    hak_profile_index_add(&by_key, hash, i);
    return i;
}

/* ---- figures ------------------------------------------------------------- */

const char *const hak_profile_lifetimes[HAK_PROFILE_LIFETIMES] = {
    "<1ms", "<10ms", "<100ms", "<1s", "<10s", "<100s", ">=100s"};

uint32_t hak_profile_lifetime(uint64_t us)
{
    uint32_t i = 0;
    for (uint64_t end = 1000; i < HAK_PROFILE_LIFETIMES - 1 && us >= end;
         end *= 10)
        i++;
    return i;
}

/* Keep what was live at the last peak, before the entry changes. */
static struct hak_profile_figures *about_to_change(uint32_t entry)
{
    struct hak_profile_entry *e = entry_at(entry);
    if (e->of_peak != hak_profile.totals.npeaks) {
        e->figures.peak = e->figures.live;
        e->figures.peak_bytes = e->figures.live_bytes;
        e->of_peak = hak_profile.totals.npeaks;
    }
    return &e->figures;
}

/* The variance that a sample adds to the estimate of live bytes. A block of
 * these is sampled with probability 1 / nblocks. */
static double variance_kib2(double nblocks, double asked_bytes)
{
    double kib = asked_bytes / 1024;
    return nblocks * (nblocks - 1) * kib * kib;
}

void hak_profile_count(uint32_t entry, double nblocks, double asked_bytes,
                       uint64_t now_us)
{
    struct hak_profile_figures *f = about_to_change(entry);
    struct hak_profile_totals *t = &hak_profile.totals;
    double bytes = nblocks * asked_bytes;
    f->allocated += nblocks;
    f->allocated_bytes += bytes;
    f->live += nblocks;
    f->live_bytes += bytes;
    f->variance_kib2 += variance_kib2(nblocks, asked_bytes);
    f->nsamples++;
    t->nsamples++;
    t->allocated_bytes += bytes;
    t->live_bytes += bytes;
    if (t->live_bytes > t->peak_bytes) {
        t->peak_bytes = t->live_bytes;
        t->peak_us = now_us;
        t->npeaks++;
    }
}

/* Sums of doubles leave a remainder, which an entry without blocks must not
 * have. */
void hak_profile_uncount(uint32_t entry, double nblocks, double asked_bytes,
                         uint32_t lifetime)
{
    struct hak_profile_figures *f = about_to_change(entry);
    double bytes = nblocks * asked_bytes;
    f->freed[lifetime] += nblocks;
    f->live -= nblocks;
    f->live_bytes -= bytes;
    f->variance_kib2 -= variance_kib2(nblocks, asked_bytes);
    hak_profile.totals.live_bytes -= bytes;
    if (--f->nsamples == 0)
        f->live = f->live_bytes = f->variance_kib2 = 0;
}
