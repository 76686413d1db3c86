/* SPDX-License-Identifier: MIT
 * broken_zalloc.c - like whole.c, but zalloc() zeroes only the requested bytes,
 * not the whole slot.
 *
 * breaks: zalloc
 * says: false: p[0] == 0
 */
#include "whole.h"

static void *short_zalloc(struct hak_box *box, size_t size_bytes)
{
    char *p = lanes_alloc(box, size_bytes);
    for (size_t i = 0; p && i < size_bytes; i++)
        p[i] = 0;
    return p;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_zalloc"),
    .ops = {WHOLE_OPS, .zalloc = short_zalloc},
};
