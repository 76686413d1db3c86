/* SPDX-License-Identifier: MIT
 * newer_minor_needed.c - the entry requires a newer host than this one, so the
 * core refuses the box.
 *
 * breaks: entry_versions
 * says: host_minor_min
 */
#include "common.h"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    .magic = HAK_BOX_MAGIC,
    .abi_major = HAK_ABI_MAJOR,
    .abi_minor = 9,
    .host_minor_min = 9,
    .struct_size = sizeof(struct hak_box_entry),
    .id = "newer_minor_needed",
    .version = "1.0",
    .ops = {NONE_OPS},
};
