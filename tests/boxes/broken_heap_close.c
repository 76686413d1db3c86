/* SPDX-License-Identifier: MIT
 * broken_heap_close.c - like whole.c, but pages keep naming the ended thread as
 * their owner.
 *
 * The core gives the struct hak_thread to another thread later. That thread
 * would then free slots into these pages as their owner.
 *
 * breaks: blocks_outlive_their_thread
 * says: names the closed thread
 */
#include "whole.h"

static void keeping_heap_close(struct hak_box *box, void *h)
{
    struct heap *heap = h;
    struct hak_thread *thread = heap->thread;
    lanes_heap_close(box, heap);
    struct lanes *s = box->state;
    for (uint32_t c = 0; c < CLASSES; c++)
        if (s->orphans[c])
            s->orphans[c]->span.owner = thread;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_heap_close"),
    .ops = {WHOLE_OPS, .heap_close = keeping_heap_close},
};
