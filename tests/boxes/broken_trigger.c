/* SPDX-License-Identifier: MIT
 * broken_trigger.c - like whole.c, but triggered() does not set span->trigger
 * anew.
 *
 * breaks: triggered
 * says: triggered() left trigger at nfree
 */
#include "whole.h"

static struct hak_span *soon_refill(struct hak_box *box, void *heap,
                                    size_t size_bytes)
{
    struct hak_span *span = lanes_refill(box, heap, size_bytes);
    if (span)
        span->trigger = span->nfree + 1;
    return span;
}

static void idle_triggered(struct hak_span *span)
{
    (void)span;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_trigger"),
    .ops = {WHOLE_OPS, .refill = soon_refill, .triggered = idle_triggered},
};
