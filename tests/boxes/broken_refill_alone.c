/* SPDX-License-Identifier: MIT
 * broken_refill_alone.c - whole.c with refill, but without drained and
 * remote_free, which go with it.
 *
 * breaks: entry_operations
 * says: e.ops.drained
 */
#include "whole.h"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_refill_alone"),
    .ops = {WHOLE_OPS, .drained = NULL, .remote_free = NULL},
};
