/* SPDX-License-Identifier: MIT
 * other_major.c - the entry has another major version of the ABI, so the core
 * refuses the box.
 *
 * breaks: entry_versions
 * says: abi_major
 */
#include "common.h"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    .magic = HAK_BOX_MAGIC,
    .abi_major = HAK_ABI_MAJOR + 1,
    .struct_size = sizeof(struct hak_box_entry),
    .id = "other_major",
    .version = "1.0",
    .ops = {NONE_OPS},
};
