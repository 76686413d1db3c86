/* SPDX-License-Identifier: MIT
 * broken_owns_middle.c - like whole.c, but owns() is false for an address in
 * the middle of a slot.
 *
 * breaks: owns_live_slots
 * says: owns() is false for byte 9
 */
#include "whole.h"

static bool aligned_owns(struct hak_box *box, const void *p)
{
    return (uintptr_t)p % 16 != 9 && lanes_owns(box, p);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_owns_middle"),
    .ops = {WHOLE_OPS, .owns = aligned_owns},
};
