/* SPDX-License-Identifier: MIT
 * broken_print.c - like whole.c, but refill() prints to stdout.
 *
 * breaks: alignment
 * says: the box printed "more memory"; host->log is for that
 */
#include "whole.h"

#include <unistd.h>

static struct hak_span *talking_refill(struct hak_box *box, void *heap,
                                       size_t size_bytes)
{
    (void)!write(1, "more memory\n", 12);
    return lanes_refill(box, heap, size_bytes);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_print"),
    .ops = {WHOLE_OPS, .refill = talking_refill},
};
