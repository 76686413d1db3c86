/* SPDX-License-Identifier: MIT
 * whole.c - a correct box with every operation of box.h, so that check-box
 * skips no property.
 */
#include "whole.h"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("whole"),
    .ops = {WHOLE_OPS},
};
