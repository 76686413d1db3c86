/* SPDX-License-Identifier: MIT
 * broken_heap_close.c - lanes.c, but a page stays with the ended thread.
 *
 * The next thread that gets that struct hak_thread would free into the page
 * as its owner. check_box must fail: blocks_outlive_their_thread.
 */
#define LANES_NO_ENTRY
#include "lanes.c"

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
    HAK_BOX_HEADER("broken_heap_close", "1.0"),
    .ops = {.alloc = lanes_alloc,
            .free = lanes_free,
            .owns = lanes_owns,
            .init = lanes_init,
            .usable_size = lanes_usable_size,
            .slot_size = lanes_slot_size,
            .heap_open = lanes_heap_open,
            .heap_close = keeping_heap_close,
            .refill = lanes_refill,
            .drained = lanes_drained,
            .remote_free = lanes_remote_free,
            .fork = lanes_fork,
            .trim = lanes_trim,
            .stats = lanes_stats,
            .walk = lanes_walk},
};
