/* SPDX-License-Identifier: MIT
 * broken_marks.c - like whole.c, but the first free slot after a refill has no
 * mark.
 *
 * breaks: marks
 * says: has no mark
 */
#include "whole.h"

static struct hak_span *bare_refill(struct hak_box *box, void *heap,
                                    size_t size_bytes)
{
    struct hak_span *span = lanes_refill(box, heap, size_bytes);
    if (span)
        *(uintptr_t *)span->local = 0;
    return span;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_marks"),
    .ops = {WHOLE_OPS, .refill = bare_refill},
};
