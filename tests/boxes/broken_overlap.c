/* SPDX-License-Identifier: MIT
 * broken_overlap.c - like three.c, but every 64th slot overlaps with the next
 * one.
 *
 * breaks: blocks_are_distinct
 * says: overlaps one that is out
 * verify: which overlaps
 */
#define THREE_NO_ENTRY
#include "three.c"

static void *overlap_alloc(struct hak_box *box, size_t size_bytes)
{
    static unsigned calls;
    char *p = three_alloc(box, size_bytes);
    if (!p || size_bytes > HAK_SMALL_MAX_BYTES)
        return p;
    bool shift = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) % 64 == 0;
    return shift ? p + HAK_ALIGN_BYTES : p;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_overlap", "1.0"),
    .ops = {.alloc = overlap_alloc, .free = three_free, .owns = three_owns},
};
