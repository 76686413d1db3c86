/* SPDX-License-Identifier: MIT
 * greedy.c - owns() is true for every address.
 *
 * breaks: owns_no_wild_pointer
 * says: is true: no address of anything
 */
#include "common.h"

static bool greedy_owns(struct hak_box *box, const void *p)
{
    (void)box;
    (void)p;
    return true;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("greedy", "1.0"),
    .ops = {.alloc = none_alloc, .free = none_free, .owns = greedy_owns},
};
