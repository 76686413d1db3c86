/* SPDX-License-Identifier: MIT
 * broken_default.c - like whole.c, but the default of a parameter is out of its
 * bounds.
 *
 * breaks: entry_words
 * says: default of share is out of range
 */
#include "whole.h"

static const struct hak_param outside[] = {
    {.name = "share",
     .type = HAK_PARAM_INT,
     .min = 1,
     .max = 100,
     .def = 0,
     .help = "percent that is kept"},
};

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_default"),
    .params = outside,
    .nparams = 1,
    .ops = {WHOLE_OPS},
};
