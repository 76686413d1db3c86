/* SPDX-License-Identifier: MIT
 * broken_fork.c - like whole.c, but the child of a fork does not release the
 * box's locks.
 *
 * breaks: fork_with_threads
 * says: timed out after 1 s
 * timeout: 1
 */
#include "whole.h"

static void parents_fork(struct hak_box *box, enum hak_fork_phase phase)
{
    if (phase != HAK_FORK_CHILD)
        lanes_fork(box, phase);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_fork"),
    .ops = {WHOLE_OPS, .fork = parents_fork},
};
