/* SPDX-License-Identifier: MIT
 * older_minor.c - whole.c as it was built before free slots had marks: loads,
 * without lanes.
 */
#include "whole.h"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("older_minor"),
    .abi_minor = 2,
    .ops = {WHOLE_OPS},
};
