/* SPDX-License-Identifier: MIT
 * broken_free_beside_lanes.c - like whole.c, but free() puts a slot on the list
 * of its span without counting it.
 *
 * breaks: content_kept_beside_lanes
 * says: live_count
 */
#include "whole.h"

static void uncounted_free(struct hak_box *box, void *p)
{
    struct page *page = page_at(box, p);
    if (page->cls == LARGE) {
        page_release(box, page);
        return;
    }
    link_slot(page, p, page->span.local);
    page->span.local = p;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_free_beside_lanes"),
    .ops = {WHOLE_OPS, .free = uncounted_free},
};
