/* SPDX-License-Identifier: MIT
 * broken_unchecked.c - like three.c, but alloc() writes to its result even if
 * that is NULL.
 *
 * breaks: exhaustion
 * says: fails: SIGSEGV
 */
#define THREE_NO_ENTRY
#include "three.c"

static void *unchecked_alloc(struct hak_box *box, size_t size_bytes)
{
    char *p = three_alloc(box, size_bytes);
    __asm__("" : "+r"(p)); /* hides from the compiler that p may be NULL */
    *p = 0;
    return p;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("broken_unchecked", "1.0"),
    .ops = {.alloc = unchecked_alloc, .free = three_free, .owns = three_owns},
};
