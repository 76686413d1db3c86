/* SPDX-License-Identifier: MIT
 * broken_two_instances.c - like whole.c, but all instances share one state.
 *
 * breaks: two_instances
 * says: testhost: box
 */
#include "whole.h"

static int static_init(struct hak_box *box)
{
    static void *state;
    int error = state ? 0 : lanes_init(box);
    state = state ? state : box->state;
    box->state = state;
    return error;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_two_instances"),
    .ops = {WHOLE_OPS, .init = static_init},
};
