/* SPDX-License-Identifier: MIT
 * broken_extensions.c - like whole.c, but get_extension() returns a table for
 * every id.
 *
 * breaks: extensions
 * says: get_extension(ck.box, ids[i])
 */
#include "whole.h"

static const void *any_extension(struct hak_box *box, const char *id)
{
    (void)id;
    return box->ops;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_extensions"),
    .ops = {WHOLE_OPS, .get_extension = any_extension},
};
