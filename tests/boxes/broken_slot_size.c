/* SPDX-License-Identifier: MIT
 * broken_slot_size.c - like whole.c, but slot_size() returns less than the size
 * of the request.
 *
 * breaks: slot_size
 * says: slot >= size
 */
#include "whole.h"

static size_t low_slot_size(struct hak_box *box, size_t size_bytes)
{
    return lanes_slot_size(box, size_bytes) / 2;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_slot_size"),
    .ops = {WHOLE_OPS, .slot_size = low_slot_size},
};
