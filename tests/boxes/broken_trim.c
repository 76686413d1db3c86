/* SPDX-License-Identifier: MIT
 * broken_trim.c - like whole.c, but trim() purges pages that have live slots.
 *
 * breaks: trim_keeps_the_living
 * says: is out
 */
#include "whole.h"

static size_t rough_trim(struct hak_box *box)
{
    size_t bytes = lanes_trim(box);
    for (struct page *p = pages_ever(box); p; p = p->made_before)
        if (p->cls != NO_CLASS)
            box->host->purge(box, p->base, p->bytes);
    return bytes;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_trim"),
    .ops = {WHOLE_OPS, .trim = rough_trim},
};
