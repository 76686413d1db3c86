/* SPDX-License-Identifier: MIT
 * broken_unmap_live.c - like whole.c, but trim() unmaps a page that has live
 * slots.
 *
 * breaks: trim_keeps_the_living
 * says: is out
 */
#include "whole.h"

static size_t hasty_trim(struct hak_box *box)
{
    size_t bytes = lanes_trim(box);
    for (struct page *p = pages_ever(box); p; p = p->made_before)
        if (p->cls != NO_CLASS)
            return bytes + page_release(box, p);
    return bytes;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_unmap_live"),
    .ops = {WHOLE_OPS, .trim = hasty_trim},
};
