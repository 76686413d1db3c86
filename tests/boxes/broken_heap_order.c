/* SPDX-License-Identifier: MIT
 * broken_heap_order.c - like whole.c, but heap_close() closes the heap that was
 * opened last.
 *
 * breaks: heaps_in_any_order
 * says: lane_drop by a thread that is not the owner
 */
#include "whole.h"

static void *opened_last;

static void *noting_heap_open(struct hak_box *box, struct hak_thread *thread)
{
    opened_last = lanes_heap_open(box, thread);
    return opened_last;
}

static void last_heap_close(struct hak_box *box, void *heap)
{
    (void)heap;
    lanes_heap_close(box, opened_last);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_heap_order"),
    .ops = {WHOLE_OPS, .heap_open = noting_heap_open,
            .heap_close = last_heap_close},
};
