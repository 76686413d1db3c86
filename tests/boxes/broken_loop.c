/* SPDX-License-Identifier: MIT
 * broken_loop.c - like whole.c, but init() never returns.
 *
 * breaks: init
 * says: timed out after 2 s (broken_loop.so, in init(), seed 1)
 * timeout: 2
 */
#include "whole.h"

static int endless_init(struct hak_box *box)
{
    volatile bool more = true;
    (void)box;
    while (more)
        ;
    return 0;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_loop"),
    .ops = {WHOLE_OPS, .init = endless_init},
};
