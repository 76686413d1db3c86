/* SPDX-License-Identifier: MIT
 * newer_minor_ok.c - the entry has a newer minor version that runs on any host,
 * so the box loads.
 *
 * The entry is longer than that of this box.h, as the entry of a newer box.h
 * would be. The host must not read beyond the end of its own struct.
 */
#include "common.h"

/* The entry overrides some members that HAK_BOX_HEADER sets. */
#pragma GCC diagnostic ignored "-Woverride-init"

struct newer_entry {
    struct hak_box_entry known;
    void (*later[4])(void);
};

/* The symbol that box.h names, but with the longer type. */
extern const struct newer_entry newer_entry __asm__(HAK_BOX_SYMBOL);
HAK_BOX_EXPORT const struct newer_entry newer_entry = {
    .known =
        {
            HAK_BOX_HEADER("newer_minor_ok", "1.0"),
            .abi_minor = 9,
            .struct_size = sizeof(struct newer_entry),
            .ops = {NONE_OPS},
        },
};
