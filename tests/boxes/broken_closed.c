/* SPDX-License-Identifier: MIT
 * broken_closed.c - like whole.c, but zalloc() returns memory that is reserved
 * and not open for access.
 *
 * breaks: zalloc
 * says: is on pages that are closed
 */
#include "whole.h"

static void *closed_zalloc(struct hak_box *box, size_t size_bytes)
{
    size_t bytes = (size_bytes + HAK_GRANULE_BYTES - 1) / HAK_GRANULE_BYTES *
                   HAK_GRANULE_BYTES;
    return box->host->reserve(box, bytes, 0);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_closed"),
    .ops = {WHOLE_OPS, .zalloc = closed_zalloc},
};
