/* SPDX-License-Identifier: MIT
 * retires.c - figures of retired pages, for a learner.
 */
#include "mid_v35.h"

#include <errno.h>

static uint32_t basis_points(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (uint32_t)(part * 10000 / whole);
}

void retires_add(struct retires *r, const struct hak_page *page)
{
    const struct segment_page *entry = page->source;
    uint64_t frees = page->span.nfree - entry->nfree;
    uint64_t local = frees - hak_counted(&entry->remote_frees);
    struct hak_retire one = {
        .class_number = page->class_number,
        .slot_bytes = page->span.slot_bytes,
        .allocations = page->span.nalloc - entry->nalloc,
        .frees = frees,
        .capacity = page->capacity,
        .carved = page->carved,
        .free_hit_bps = basis_points(local, frees),
    };
    struct hak_retires_class *sum = &r->of_class[page->class_number];
    hak_lock_take(&r->lock);
    sum->retires++;
    sum->allocations += one.allocations;
    sum->frees += frees;
    sum->local_frees += local;
    sum->capacity += one.capacity;
    sum->carved += one.carved;
    r->recent[r->n++ % MID_V35_RECENT] = one;
    hak_lock_drop(&r->lock);
}

/* ---- hak.retires/1 ----------------------------------------------------- */

static void set_ratios(struct hak_retires *out)
{
    struct hak_retires_class all = {0};
    for (uint32_t c = 0; c < out->nclasses; c++) {
        all.frees += out->classes[c].frees;
        all.local_frees += out->classes[c].local_frees;
        all.capacity += out->classes[c].capacity;
        all.carved += out->classes[c].carved;
    }
    out->utilisation_bps = basis_points(all.carved, all.capacity);
    out->free_hit_bps = basis_points(all.local_frees, all.frees);
}

static int snapshot(struct hak_box *box, struct hak_retires *out)
{
    struct mid_v35 *m = mid_v35_of(box);
    if (out->struct_bytes < sizeof *out)
        return -EINVAL;
    hak_lock_take(&m->retires.lock);
    out->retires = m->retires.n;
    memcpy(out->classes, m->retires.of_class, sizeof out->classes);
    hak_lock_drop(&m->retires.lock);
    out->nclasses = m->classes.n;
    for (uint32_t c = 0; c < m->classes.n; c++)
        out->classes[c].slot_bytes = m->classes.slot_bytes[c];
    set_ratios(out);
    return 0;
}

static uint32_t recent(struct hak_box *box, struct hak_retire *out, uint32_t n)
{
    struct retires *r = &mid_v35_of(box)->retires;
    hak_lock_take(&r->lock);
    n = (uint32_t)hak_min(n, hak_min(r->n, MID_V35_RECENT));
    for (uint32_t i = 0; i < n; i++)
        out[i] = r->recent[(r->n - 1 - i) % MID_V35_RECENT];
    hak_lock_drop(&r->lock);
    return n;
}

const struct hak_retires_1 mid_v35_retires = {
    .struct_bytes = sizeof mid_v35_retires,
    .snapshot = snapshot,
    .recent = recent,
};
