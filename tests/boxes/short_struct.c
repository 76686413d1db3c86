/* SPDX-License-Identifier: MIT
 * short_struct.c - struct_size ends before owns: refused.
 *
 * breaks: entry_versions
 * says: struct_size
 */
#include "common.h"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    .magic = HAK_BOX_MAGIC,
    .abi_major = HAK_ABI_MAJOR,
    .abi_minor = HAK_ABI_MINOR,
    .struct_size = offsetof(struct hak_box_entry, ops.owns),
    .id = "short_struct",
    .version = "1.0",
    .ops = {NONE_OPS},
};
