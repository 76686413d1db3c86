/* SPDX-License-Identifier: MIT
 * newer_minor_ok.c - a newer minor that runs on any host: loads.
 *
 * Its entry is longer than this header knows, as a newer header's would be;
 * the host reads no further than its own struct.
 */
#include "common.h"

struct newer_entry {
    struct hak_box_entry known;
    void (*later[4])(void);
};

/* The symbol of box.h, with a type that box.h does not have. */
extern const struct newer_entry newer_entry __asm__(HAK_BOX_SYMBOL);
HAK_BOX_EXPORT const struct newer_entry newer_entry = {
    .known =
        {
            .magic = HAK_BOX_MAGIC,
            .abi_major = HAK_ABI_MAJOR,
            .abi_minor = 9,
            .host_minor_min = 0,
            .struct_size = sizeof(struct newer_entry),
            .id = "newer_minor_ok",
            .version = "1.0",
            .ops = {NONE_OPS},
        },
};
