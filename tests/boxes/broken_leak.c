/* SPDX-License-Identifier: MIT
 * broken_leak.c - like three.c, but every fourth free() loses its slot.
 *
 * breaks: reuse_is_bounded
 * says: is not used again
 */
#define THREE_NO_ENTRY
#include "three.c"

static void leaking_free(struct hak_box *box, void *p)
{
    static unsigned calls;
    if (__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) % 4 != 0)
        three_free(box, p);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_leak", "1.0"),
    .ops = {.alloc = three_alloc, .free = leaking_free, .owns = three_owns},
};
