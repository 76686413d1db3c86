/* SPDX-License-Identifier: MIT
 * broken_aligned_alloc.c - like whole.c, but aligned_alloc() ignores the
 * alignment.
 *
 * breaks: aligned_blocks
 * says: aligned_alloc(
 */
#include "whole.h"

static void *unaligned_alloc(struct hak_box *box, size_t align_bytes,
                             size_t size_bytes)
{
    (void)align_bytes;
    return lanes_alloc(box, size_bytes);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_aligned_alloc"),
    .ops = {WHOLE_OPS, .aligned_alloc = unaligned_alloc},
};
