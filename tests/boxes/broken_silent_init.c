/* SPDX-License-Identifier: MIT
 * broken_silent_init.c - like whole.c, but an init() that fails logs no reason.
 *
 * breaks: init_says_why_it_fails
 * says: "faulty" not in
 */
#include "whole.h"

static void keep_silent(struct hak_box *box, enum hak_log_level level,
                        const char *format, ...)
{
    (void)box;
    (void)level;
    (void)format;
}

static int silent_init(struct hak_box *box)
{
    host_copy(box)->log = keep_silent;
    return lanes_init(box);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_silent_init"),
    .ops = {WHOLE_OPS, .init = silent_init},
};
