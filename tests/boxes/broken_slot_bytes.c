/* SPDX-License-Identifier: MIT
 * broken_slot_bytes.c - like whole.c, but span->slot_bytes is twice the true
 * size.
 *
 * breaks: span_fields
 * says: usable_size
 */
#include "whole.h"

static struct hak_span *double_refill(struct hak_box *box, void *heap,
                                      size_t size_bytes)
{
    struct hak_span *span = lanes_refill(box, heap, size_bytes);
    if (span)
        span->slot_bytes = 32u << class_of(size_bytes);
    return span;
}

static size_t true_usable_size(struct hak_box *box, const void *p)
{
    const struct page *page = page_at(box, p);
    return page->cls == LARGE ? page->bytes : (size_t)16 << page->cls;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_slot_bytes"),
    .ops = {WHOLE_OPS, .refill = double_refill,
            .usable_size = true_usable_size},
};
