/* SPDX-License-Identifier: MIT
 * other_major.c - built for another major of the ABI: refused.
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
