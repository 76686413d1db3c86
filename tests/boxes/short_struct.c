/* SPDX-License-Identifier: MIT
 * short_struct.c - struct_size ends before the operation owns, so the core
 * refuses the box.
 *
 * breaks: entry_versions
 * says: struct_size
 */
#include "common.h"

/* The entry overrides struct_size that HAK_BOX_HEADER sets. */
#pragma GCC diagnostic ignored "-Woverride-init"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("short_struct", "1.0"),
    .struct_size = offsetof(struct hak_box_entry, ops.owns),
    .ops = {NONE_OPS},
};
