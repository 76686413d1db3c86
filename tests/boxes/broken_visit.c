/* SPDX-License-Identifier: MIT
 * broken_visit.c - like whole.c, but visit_slots() visits free slots too.
 *
 * breaks: visit_slots
 * says: which is not live
 */
#include "whole.h"

static void whole_page_visit(struct hak_box *box, hak_visit *visit,
                             void *context)
{
    for (struct page *p = pages_ever(box); p; p = p->made_before) {
        if (p->cls == NO_CLASS)
            continue;
        size_t size = p->cls == LARGE ? p->bytes : p->span.slot_bytes;
        for (size_t at = 0; at < p->bytes; at += size)
            if (!visit(context, p->base + at, size))
                return;
    }
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_visit"),
    .ops = {WHOLE_OPS, .visit_slots = whole_page_visit},
};
