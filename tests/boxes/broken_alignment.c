/* SPDX-License-Identifier: MIT
 * broken_alignment.c - like three.c, but slots are aligned to 8 bytes only.
 *
 * breaks: alignment
 * says: is not 16-byte aligned
 * verify: which is not 16-byte aligned
 */
#define THREE_NO_ENTRY
#include "three.c"

static void *shifted_alloc(struct hak_box *box, size_t size_bytes)
{
    char *p = three_alloc(box, size_bytes + 8);
    return p ? p + 8 : NULL;
}

static void shifted_free(struct hak_box *box, void *p)
{
    three_free(box, (char *)p - 8);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_alignment", "1.0"),
    .ops = {.alloc = shifted_alloc, .free = shifted_free, .owns = three_owns},
};
