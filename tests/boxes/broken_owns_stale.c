/* SPDX-License-Identifier: MIT
 * broken_owns_stale.c - like three.c, but owns() stays true for memory that
 * free() unmapped.
 *
 * breaks: owns_nothing_of_others
 * says: not its own
 */
#define THREE_NO_ENTRY
#include "three.c"

static void stale_free(struct hak_box *box, void *p)
{
    uint32_t *kind = kind_at(box, box->state, p), was = *kind;
    three_free(box, p);
    *kind = was;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_owns_stale", "1.0"),
    .ops = {.alloc = three_alloc, .free = stale_free, .owns = three_owns},
};
