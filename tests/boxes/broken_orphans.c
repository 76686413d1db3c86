/* SPDX-License-Identifier: MIT
 * broken_orphans.c - like whole.c, but no thread can adopt the pages of an
 * ended thread.
 *
 * breaks: thousand_threads_leave_a_block
 * says: is not used again
 */
#include "whole.h"

static void abandoning_heap_close(struct hak_box *box, void *heap)
{
    struct lanes *s = box->state;
    lanes_heap_close(box, heap);
    for (uint32_t c = 0; c < CLASSES; c++)
        s->orphans[c] = NULL;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_orphans"),
    .ops = {WHOLE_OPS, .heap_close = abandoning_heap_close},
};
