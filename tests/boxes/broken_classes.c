/* SPDX-License-Identifier: MIT
 * broken_classes.c - like whole.c, but by class, slots that another thread
 * freed count as live until their owner collects them.
 *
 * breaks: classes
 * says: sum.live_count
 */
#include "whole.h"

static uint32_t late_classes(struct hak_box *box, struct hak_class *out,
                             uint32_t n)
{
    uint32_t have = whole_classes(box, out, n);
    for (struct page *p = pages_ever(box); p; p = p->made_before)
        if (p->cls < CLASSES)
            out[p->cls].live_count += p->remote_count;
    return have;
}

static const void *late_extension(struct hak_box *box, const char *id)
{
    static const struct hak_classes_1 classes = {
        .struct_bytes = sizeof classes,
        .read = late_classes,
    };
    return whole_get_extension(box, id) ? &classes : NULL;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_classes"),
    .ops = {WHOLE_OPS, .get_extension = late_extension},
};
