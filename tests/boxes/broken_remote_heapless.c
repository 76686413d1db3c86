/* SPDX-License-Identifier: MIT
 * broken_remote_heapless.c - like whole.c, but remote_free() by a thread
 * without a heap loses the slot.
 *
 * breaks: remote_frees_one_way
 * says: is not used again
 */
#include "whole.h"

static void heap_remote_free(struct hak_span *span, void *p)
{
    if (span->box->host->heap(span->box, false))
        lanes_remote_free(span, p);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_remote_heapless"),
    .ops = {WHOLE_OPS, .remote_free = heap_remote_free},
};
