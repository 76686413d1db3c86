/* SPDX-License-Identifier: MIT
 * broken_resize.c - like whole.c, but a resize() that moves a block does not
 * copy the content.
 *
 * breaks: resize
 * says: b->p[0] == b->tag
 */
#include "whole.h"

static void *losing_resize(struct hak_box *box, void *p, size_t size_bytes)
{
    if (size_bytes <= lanes_usable_size(box, p))
        return p;
    void *moved = whole_zalloc(box, size_bytes);
    if (moved)
        lanes_free(box, p);
    return moved;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_resize"),
    .ops = {WHOLE_OPS, .resize = losing_resize},
};
