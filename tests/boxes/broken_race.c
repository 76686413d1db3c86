/* SPDX-License-Identifier: MIT
 * broken_race.c - like whole.c, but remote_free() changes the page's list with
 * a load and a store instead of an atomic exchange.
 *
 * breaks: threads_at_once
 * says: threads_at_once:
 */
#include "whole.h"

#include <sched.h>

static void racing_remote_free(struct hak_span *span, void *p)
{
    struct page *page = (struct page *)span;
    void *head = __atomic_load_n(&page->remote, __ATOMIC_RELAXED);
    link_slot(page, p, head);
    sched_yield();
    __atomic_store_n(&page->remote, p, __ATOMIC_RELEASE);
    __atomic_fetch_add(&page->remote_count, 1, __ATOMIC_RELAXED);
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    WHOLE_ENTRY("broken_race"),
    .ops = {WHOLE_OPS, .remote_free = racing_remote_free},
};
