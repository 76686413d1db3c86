/* SPDX-License-Identifier: MIT
 * broken_content.c - like three.c, but alloc() writes into the slot of the call
 * before.
 *
 * breaks: content_kept
 * says: was written to
 */
#define THREE_NO_ENTRY
#include "three.c"

static void *scribbling_alloc(struct hak_box *box, size_t size_bytes)
{
    static char *before;
    if (before)
        before[24]++; /* behind the header of the core */
    before = size_bytes > 32 ? three_alloc(box, size_bytes) : NULL;
    return before ? before : three_alloc(box, size_bytes);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_content", "1.0"),
    .ops = {.alloc = scribbling_alloc, .free = three_free, .owns = three_owns},
};
