/* SPDX-License-Identifier: MIT
 * wrong_magic.c - the entry does not begin with the magic number, so the core
 * refuses the box.
 *
 * breaks: entry_versions
 * says: magic
 */
#include "common.h"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    .magic = HAK_BOX_MAGIC ^ 1,
    .abi_major = HAK_ABI_MAJOR,
    .struct_size = sizeof(struct hak_box_entry),
    .id = "wrong_magic",
    .version = "1.0",
    .ops = {NONE_OPS},
};
