/* SPDX-License-Identifier: MIT
 * whole.c - every operation of box.h, no fault: check-box skips nothing.
 */
#include "whole.h"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("whole"),
    .ops = {WHOLE_OPS},
};
