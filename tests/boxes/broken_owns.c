/* SPDX-License-Identifier: MIT
 * broken_owns.c - like three.c, but owns() is true for the whole window.
 *
 * breaks: owns_nothing_of_others
 * says: not its own
 */
#define THREE_NO_ENTRY
#include "three.c"

static bool window_owns(struct hak_box *box, const void *p)
{
    return three_owns(box, p) ||
           (uintptr_t)p - box->host->window_base < box->host->window_bytes;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_owns", "1.0"),
    .ops = {.alloc = three_alloc, .free = three_free, .owns = window_owns},
};
