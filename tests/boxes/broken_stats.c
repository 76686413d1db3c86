/* SPDX-License-Identifier: MIT
 * broken_stats.c - like whole.c, but slots that another thread freed count as
 * live until their owner collects them.
 *
 * breaks: stats
 * says: live_count
 */
#include "whole.h"

static void late_stats(struct hak_box *box, struct hak_box_stats *out)
{
    lanes_stats(box, out);
    for (struct page *p = pages_ever(box); p; p = p->made_before)
        out->live_count += p->remote_count;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_stats"),
    .ops = {WHOLE_OPS, .stats = late_stats},
};
