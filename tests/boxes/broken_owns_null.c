/* SPDX-License-Identifier: MIT
 * broken_owns_null.c - like whole.c, but owns() is true for NULL.
 *
 * breaks: owns_no_wild_pointer
 * says: owns((nil)) is true
 */
#include "whole.h"

static bool null_owns(struct hak_box *box, const void *p)
{
    return !p || lanes_owns(box, p);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_owns_null"),
    .ops = {WHOLE_OPS, .owns = null_owns},
};
