/* SPDX-License-Identifier: MIT
 * broken_owns_locks.c - like whole.c, but owns() takes a lock.
 *
 * breaks: owns_takes_no_lock
 * says: owns() did not return for 1 s
 * timeout: 3
 */
#include "whole.h"

static bool locking_owns(struct hak_box *box, const void *p)
{
    struct lanes *s = box->state;
    lock(&s->locked);
    bool owned = lanes_owns(box, p);
    unlock(&s->locked);
    return owned;
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_owns_locks"),
    .ops = {WHOLE_OPS, .owns = locking_owns},
};
