/* SPDX-License-Identifier: MIT
 * broken_set_param.c - like whole.c, but set_param() returns EINVAL instead of
 * -EINVAL.
 *
 * breaks: set_param
 * says: neither 0 nor -errno
 */
#include "whole.h"

static int positive_set_param(struct hak_box *box, uint32_t param)
{
    return box->params[param].i > 4096 ? EINVAL : 0;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_set_param"),
    .ops = {WHOLE_OPS, .set_param = positive_set_param},
};
