/* SPDX-License-Identifier: MIT
 * with_tls.c - the box has a thread-local variable, which lint rejects.
 *
 * breaks: file_tls
 * says: has thread-local variables
 */
#include "common.h"

static __thread unsigned calls;

static void *tls_alloc(struct hak_box *box, size_t size_bytes)
{
    calls++;
    return calls == 0 ? box->host->map(box, size_bytes, 0, 0) : NULL;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("with_tls", "1.0"),
    .ops = {.alloc = tls_alloc, .free = none_free, .owns = none_owns},
};
