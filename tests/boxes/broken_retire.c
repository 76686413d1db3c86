/* SPDX-License-Identifier: MIT
 * broken_retire.c - like whole.c, but state_changed() unmaps pages that have
 * live slots.
 *
 * breaks: draining
 * says: is out
 */
#include "whole.h"

static void hasty_retire(struct hak_box *box)
{
    for (struct page *p = pages_ever(box); p; p = p->made_before)
        if (p->cls != NO_CLASS)
            page_release(box, p);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_retire"),
    .ops = {WHOLE_OPS, .state_changed = hasty_retire},
};
