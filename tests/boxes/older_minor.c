/* SPDX-License-Identifier: MIT
 * older_minor.c - like whole.c, but with the entry of minor version 2: the box
 * loads, without lanes.
 */
#include "whole.h"

/* The layout of the entry up to minor 5. Minor 2 had fewer operations in it. */
struct older_entry {
    uint64_t magic;
    uint16_t abi_major, abi_minor, host_minor_min, param_bytes;
    uint32_t struct_size, nparams;
    const char *id, *version, *summary;
    const struct hak_param *params;
    size_t min_bytes, max_bytes;
    struct hak_box_ops ops;
};

/* The symbol that box.h names, but with the older type. */
extern const struct older_entry older_entry __asm__(HAK_BOX_SYMBOL);
HAK_BOX_EXPORT const struct older_entry older_entry = {
    .magic = HAK_BOX_MAGIC,
    .abi_major = HAK_ABI_MAJOR,
    .abi_minor = 2,
    .param_bytes = sizeof(struct hak_param),
    .struct_size = sizeof(struct older_entry),
    .nparams = WHOLE_NPARAMS,
    .id = "older_minor",
    .version = "1.0",
    .params = whole_params,
    .ops = {WHOLE_OPS},
};
