/* SPDX-License-Identifier: MIT
 * init_fails.c - init() logs a reason and fails, so the core leaves the box
 * out.
 *
 * breaks: init
 * says: init of checked failed: -12
 */
#include <errno.h>

#include "common.h"

static int fail_init(struct hak_box *box)
{
    box->host->log(box, HAK_LOG_ERROR, "no memory for %s", "the test");
    return -ENOMEM;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("init_fails", "1.0"),
    .ops = {NONE_OPS, .init = fail_init},
};
