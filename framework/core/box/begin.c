/* SPDX-License-Identifier: MIT
 * begin.c - starts a box whose entry was checked, and adds it to hak_boxes.
 *
 * A box that has blocks stays until the process ends.
 */
#include <core/box/load.h>

#include <base/log.h>
#include <base/meta.h>
#include <core/box/abi.h>
#include <core/box/host.h>
#include <core/box/walk.h>
#include <core/state/core.h>

#include <errno.h>
#include <hakmem/foreign.h>
#include <stdio.h>

/*
 * Why a box may not have lanes, as the end of a message; NULL: it may. With
 * lanes, malloc and free use the box's spans inline, so core and box must agree
 * on struct hak_span and on the number of lanes.
 */
static const char *why_no_lanes(const struct hak_box_entry *e)
{
    if (e->abi_minor < HAK_ABI_LANES_MINOR)
        return "whose spans are used otherwise";
    if (e->span_bytes < HAK_ABI_SPAN_LEAST)
        return "whose spans are shorter";
    return e->lanes != HAK_LANES ? "with another number of lanes" : NULL;
}

static int fill_loaded(struct hak_loaded *b, const struct hak_conf_box *conf,
                       const struct hak_box_entry *e, uint32_t index)
{
    b->ops = e->ops;
    b->entry = e;
    b->priority = conf->priority;
    b->header_bytes = b->ops.usable_size == NULL ? 16 : 0;
    b->slow.box = &b->box;
    b->box.host = hak_host_table();
    b->box.ops = &b->ops;
    b->box.name = conf->name;
    b->box.params = b->values;
    b->box.index = index;
    b->box.state_now = HAK_BOX_LOADED;
    b->box.lanes =
        conf->lanes && b->ops.refill != NULL && why_no_lanes(e) == NULL;
    b->now = hak_meta(sizeof *b->now);
    return b->now != NULL ? 0 : -ENOMEM;
}

/*
 * Take over the table of a foreign box. The owners of two residual boxes cannot
 * be told apart, so the second one is refused (-EEXIST).
 */
static int become_foreign(struct hak_loaded *b)
{
    struct hak_foreign_box_1 table;
    struct hak_box_ops ops;
    if (!hak_abi_foreign(b->entry, &b->box, &table, &ops))
        return 0;
    if (table.residual && hak_boxes.residual != NULL) {
        snprintf(b->said, sizeof b->said,
                 "owns = residual, as box %s has; one box of a process may "
                 "be so, give one of them owns = SYMBOL(ptr) -> bool",
                 hak_boxes.residual->box.name);
        return -EEXIST;
    }
    b->foreign = true;
    b->residual = table.residual;
    b->far = !table.inside;
    b->ops = ops;
    b->header_bytes = b->ops.usable_size == NULL ? 16 : 0;
    return 0;
}

/* The box's extension hak.requests/1, or NULL. A box may return some table for
 * every id, so its length is checked. */
static const struct hak_requests_1 *requests_of(const struct hak_loaded *b)
{
    const struct hak_requests_1 *table = NULL;
    if (b->ops.get_extension != NULL && b->ops.resize != NULL && !b->foreign)
        table = b->ops.get_extension((struct hak_box *)(uintptr_t)&b->box,
                                     HAK_REQUESTS_1);
    return table != NULL && table->struct_bytes >= sizeof *table ? table : NULL;
}

int hak_box_begin(struct hak_loaded *b, const struct hak_conf_box *conf,
                  const struct hak_box_entry *e, uint32_t index)
{
    int error = fill_loaded(b, conf, e, index);
    if (error == 0 && b->ops.init != NULL)
        error = b->ops.init(&b->box);
    if (error != 0)
        return error;
    if (b->said[0] != 0)
        hak_say("box %s: %s", b->box.name, b->said);
    error = become_foreign(b);
    if (error != 0)
        return error;
    b->requests = requests_of(b);
    b->quick = b->header_bytes == 0 && !hak_conf.verify &&
               (b->foreign || (!b->box.lanes && b->ops.stats != NULL));
    b->box.state_now = HAK_BOX_ACTIVE;
    if (conf->lanes && b->ops.refill != NULL && !b->box.lanes)
        hak_say("box %s: built for box ABI %u.%u, %s: it gets no lanes but a "
                "call each time; rebuild it with this core's hakmem/box.h",
                b->box.name, e->abi_major, e->abi_minor, why_no_lanes(e));
    return 0;
}

void hak_box_enter(struct hak_loaded *b)
{
    hak_boxes.keeps_requests |= b->requests != NULL;
    if (b->residual)
        hak_boxes.residual = b;
    hak_walk_enter(b);
}
