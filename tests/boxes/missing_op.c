/* SPDX-License-Identifier: MIT
 * missing_op.c - the operation free is missing, so the core refuses the box.
 *
 * breaks: entry_operations
 * says: e.ops.free
 */
#include "common.h"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("missing_op", "1.0"),
    .ops = {.alloc = none_alloc, .owns = none_owns},
};
