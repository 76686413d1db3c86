/* SPDX-License-Identifier: MIT
 * broken_id.c - like whole.c, but the id has characters that an id must not
 * have.
 *
 * breaks: entry_words
 * says: is_name(e.id)
 */
#include "whole.h"

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_id"),
    .id = "Broken Box",
    .ops = {WHOLE_OPS},
};
