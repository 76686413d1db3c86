/* SPDX-License-Identifier: MIT
 * broken_exhausted.c - like three.c, but after one alloc() that fails, all
 * later ones fail.
 *
 * breaks: exhaustion
 * says: request
 */
#define THREE_NO_ENTRY
#include "three.c"

static void *exhausted_alloc(struct hak_box *box, size_t size_bytes)
{
    static bool exhausted;
    void *p = exhausted ? NULL : three_alloc(box, size_bytes);
    exhausted |= p == NULL;
    return p;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_exhausted", "1.0"),
    .ops = {.alloc = exhausted_alloc, .free = three_free, .owns = three_owns},
};
