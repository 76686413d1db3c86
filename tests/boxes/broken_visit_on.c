/* SPDX-License-Identifier: MIT
 * broken_visit_on.c - like whole.c, but visit_slots() goes on after the
 * callback returned false.
 *
 * breaks: visit_slots
 * says: v.met == v.stop_at
 */
#include "whole.h"

struct until {
    hak_visit *visit;
    void *context;
};

static bool go_on(void *context, void *p, size_t slot_bytes)
{
    struct until *u = context;
    u->visit(u->context, p, slot_bytes);
    return true;
}

static void endless_visit_slots(struct hak_box *box, hak_visit *visit,
                                void *context)
{
    lanes_visit_slots(box, go_on, &(struct until){visit, context});
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_visit_on"),
    .ops = {WHOLE_OPS, .visit_slots = endless_visit_slots},
};
