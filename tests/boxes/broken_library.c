/* SPDX-License-Identifier: MIT
 * broken_library.c - like whole.c, but the shared object needs libm.
 *
 * breaks: file_libraries
 * says: needs libm.so.6
 */
#include <math.h>

#include "whole.h"

static size_t curved_slot_size(struct hak_box *box, size_t size_bytes)
{
    double size = (double)lanes_slot_size(box, size_bytes);
    return (size_t)exp2(floor(log2(size) + 0.5));
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_library"),
    .ops = {WHOLE_OPS, .slot_size = curved_slot_size},
};
