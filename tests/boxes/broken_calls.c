/* SPDX-License-Identifier: MIT
 * broken_calls.c - like whole.c, but heap_open() calls malloc.
 *
 * breaks: file_calls
 * says: calls malloc
 * verify: heap_open() called malloc
 */
#include <stdlib.h>

#include "whole.h"

static void *malloc_heap_open(struct hak_box *box, struct hak_thread *thread)
{
    struct heap *heap = malloc(sizeof *heap);
    (void)box;
    if (heap)
        *heap = (struct heap){.thread = thread};
    return heap;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_calls"),
    .ops = {WHOLE_OPS, .heap_open = malloc_heap_open},
};
