/* SPDX-License-Identifier: MIT
 * broken_bounds.c - like whole.c, but init() divides by a parameter that may be
 * 0.
 *
 * breaks: parameters_at_bounds
 * says: spare=0: SIGFPE
 */
#include "whole.h"

static int dividing_init(struct hak_box *box)
{
    int64_t spare = box->params[WHOLE_SPARE].i;
    return (1 << 20) / spare < 0 ? -EINVAL : lanes_init(box);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_bounds"),
    .ops = {WHOLE_OPS, .init = dividing_init},
};
