/* SPDX-License-Identifier: MIT
 * broken_remote_free.c - like whole.c, but every second remote_free() loses its
 * slot.
 *
 * breaks: remote_frees_both_ways
 * says: is not used again
 */
#include "whole.h"

static void losing_remote_free(struct hak_span *span, void *p)
{
    static unsigned calls;
    if (__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) % 2)
        lanes_remote_free(span, p);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_remote_free"),
    .ops = {WHOLE_OPS, .remote_free = losing_remote_free},
};
