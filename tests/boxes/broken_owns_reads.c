/* SPDX-License-Identifier: MIT
 * broken_owns_reads.c - like whole.c, but owns() reads the memory that p points
 * to.
 *
 * breaks: owns_no_wild_pointer
 * says: SIGSEGV
 */
#include "whole.h"

static bool reading_owns(struct hak_box *box, const void *p)
{
    return p && *(const volatile char *)p != 0x7b && lanes_owns(box, p);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_owns_reads"),
    .ops = {WHOLE_OPS, .owns = reading_owns},
};
