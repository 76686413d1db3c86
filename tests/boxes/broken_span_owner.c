/* SPDX-License-Identifier: MIT
 * broken_span_owner.c - like whole.c, but refill() returns a span without an
 * owner.
 *
 * breaks: span_fields
 * says: has another owner
 */
#include "whole.h"

static struct hak_span *ownerless_refill(struct hak_box *box, void *heap,
                                         size_t size_bytes)
{
    struct hak_span *span = lanes_refill(box, heap, size_bytes);
    if (span)
        span->owner = NULL;
    return span;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_span_owner"),
    .ops = {WHOLE_OPS, .refill = ownerless_refill},
};
