/* SPDX-License-Identifier: MIT
 * broken_exit.c - like whole.c, but init() ends the process with exit status 0.
 *
 * breaks: init
 * says: with exit status 0 (broken_exit.so, in init(), seed 1)
 */
#include "whole.h"

#include <unistd.h>

static int leaving_init(struct hak_box *box)
{
    (void)box;
    _exit(0);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_exit"),
    .ops = {WHOLE_OPS, .init = leaving_init},
};
