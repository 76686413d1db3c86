/* SPDX-License-Identifier: MIT
 * broken_give_back.c - like whole.c, but the box never unmaps memory.
 *
 * breaks: memory_is_given_back
 * says: after trim
 */
#include "whole.h"

static void unmap_nothing(struct hak_box *box, void *p, size_t size_bytes)
{
    (void)box;
    (void)p;
    (void)size_bytes;
}

static int keeping_init(struct hak_box *box)
{
    host_copy(box)->unmap = unmap_nothing;
    return lanes_init(box);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_give_back"),
    .ops = {WHOLE_OPS, .init = keeping_init},
};
