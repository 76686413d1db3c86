/* SPDX-License-Identifier: MIT
 * broken_refill_alone.c - like whole.c, but it has refill() without triggered()
 * and remote_free(), which refill() requires.
 *
 * breaks: entry_operations
 * says: e.ops.triggered
 */
#include "whole.h"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_refill_alone"),
    .ops = {WHOLE_OPS, .triggered = NULL, .remote_free = NULL},
};
