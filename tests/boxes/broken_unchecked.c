/* SPDX-License-Identifier: MIT
 * broken_unchecked.c - three.c, but it writes to what map gives, got or not.
 *
 * breaks: exhaustion
 * says: fails: SIGSEGV
 */
#define THREE_NO_ENTRY
#include "three.c"

static void *unchecked_alloc(struct hak_box *box, size_t size_bytes)
{
    char *p = three_alloc(box, size_bytes);
    __asm__("" : "+r"(p)); /* or the compiler sees the fault */
    *p = 0;
    return p;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_unchecked", "1.0"),
    .ops = {.alloc = unchecked_alloc, .free = three_free, .owns = three_owns},
};
