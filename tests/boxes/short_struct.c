/* SPDX-License-Identifier: MIT
 * short_struct.c - struct_size ends before owns: refused.
 *
 * breaks: entry_versions
 * says: struct_size
 */
#include "common.h"

#pragma GCC diagnostic ignored "-Woverride-init" /* what it is made by */

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("short_struct", "1.0"),
    .struct_size = offsetof(struct hak_box_entry, ops.owns),
    .ops = {NONE_OPS},
};
