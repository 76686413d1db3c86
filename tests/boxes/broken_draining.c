/* SPDX-License-Identifier: MIT
 * broken_draining.c - like whole.c, but owns() is false for all slots while the
 * box is draining.
 *
 * breaks: draining
 * says: false: !b[i].p || ck.box->ops->owns
 */
#include "whole.h"

static bool active_owns(struct hak_box *box, const void *p)
{
    return box->state_now == HAK_BOX_ACTIVE && lanes_owns(box, p);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_draining"),
    .ops = {WHOLE_OPS, .owns = active_owns},
};
