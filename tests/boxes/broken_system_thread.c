/* SPDX-License-Identifier: MIT
 * broken_system_thread.c - like whole.c, but refill() serves only the system
 * thread that opened the newest heap.
 *
 * breaks: heaps_change_threads
 * says: were declined
 */
#include <unistd.h>

#include "whole.h"

static pid_t opener; /* the thread that opened the newest heap */

static void *noting_heap_open(struct hak_box *box, struct hak_thread *thread)
{
    opener = gettid();
    return lanes_heap_open(box, thread);
}

static struct hak_span *true_refill(struct hak_box *box, void *heap,
                                    size_t size_bytes)
{
    if (opener == gettid())
        return lanes_refill(box, heap, size_bytes);
    return NULL;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_system_thread"),
    .ops = {WHOLE_OPS, .heap_open = noting_heap_open, .refill = true_refill},
};
