/* SPDX-License-Identifier: MIT
 * newer_minor_ok.c - a newer minor that runs on any host: loads.
 *
 * Its entry is longer than this header knows, as a newer header's would be;
 * the host reads no further than its own struct.
 */
#include "common.h"

#pragma GCC diagnostic ignored "-Woverride-init" /* what it is made by */

struct newer_entry {
    struct hak_box_entry known;
    void (*later[4])(void);
};

/* The symbol of box.h, with a type that box.h does not have. */
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
