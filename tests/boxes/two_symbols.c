/* SPDX-License-Identifier: MIT
 * two_symbols.c - the shared object exports a second symbol, which lint
 * rejects.
 *
 * breaks: file_exports
 * says: exports second_symbol
 */
#include "common.h"

HAK_BOX_EXPORT extern int second_symbol;
HAK_BOX_EXPORT int second_symbol = 1;

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("two_symbols", "1.0"),
    .ops = {NONE_OPS},
};
