/* SPDX-License-Identifier: MIT
 * broken_heap_leak.c - like whole.c, but heap_open() maps memory that is never
 * given back.
 *
 * breaks: thousand_threads_in_turn
 * says: is not used again
 */
#include "whole.h"

static void *mapping_heap_open(struct hak_box *box, struct hak_thread *thread)
{
    if (!box->host->map(box, HAK_GRANULE_BYTES, 0, 0))
        return NULL;
    return lanes_heap_open(box, thread);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_heap_leak"),
    .ops = {WHOLE_OPS, .heap_open = mapping_heap_open},
};
