/* SPDX-License-Identifier: MIT
 * broken_lane_drop.c - like whole.c, but the box never calls lane_drop().
 *
 * breaks: span_reuse
 * says: lane_first or lane_last of span
 */
#include "whole.h"

static void drop_nothing(struct hak_span *span)
{
    (void)span;
}

static int dropless_init(struct hak_box *box)
{
    host_copy(box)->lane_drop = drop_nothing;
    return lanes_init(box);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_lane_drop"),
    .ops = {WHOLE_OPS, .init = dropless_init},
};
