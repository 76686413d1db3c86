/* SPDX-License-Identifier: MIT
 * broken_mutable.c - like whole.c, but there is no set_param() although
 * parameters are mutable.
 *
 * breaks: entry_operations
 * says: e.ops.set_param
 */
#include "whole.h"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_mutable"),
    .ops = {WHOLE_OPS, .set_param = NULL},
};
