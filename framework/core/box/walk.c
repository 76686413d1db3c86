/* SPDX-License-Identifier: MIT
 * walk.c - the owns() walk: asks each box, in order of priority.
 */
#include <core/box/walk.h>

#include <core/state/directory.h>
#include <core/state/ops.h>

/*
 * The memory of most boxes is in the window. For a p outside of the window,
 * only boxes that may have memory there (`far`) are asked. A box with headers
 * is asked about p itself, which is inside its slot, and not about the address
 * 16 bytes before: that one may lie in a slot of this box although p is the
 * start of another box's slot.
 */
struct hak_loaded *hak_walk(const void *p)
{
    bool outside = !hak_directory_in_window(p);
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        struct hak_loaded *b = hak_boxes.walk[i];
        if (b->residual || b->now->untrusted || (outside && !b->far))
            continue;
        if (hak_box_owns(b, p))
            return b;
    }
    return NULL;
}

/* hak_boxes.sole: the only box with `far`, if it is quick; else NULL. */
static struct hak_loaded *find_sole(void)
{
    struct hak_loaded *sole = NULL;
    if (hak_conf.verify || hak_conf.free_route != HAK_FREE_DIRECTORY)
        return NULL;
    for (uint32_t i = 0; i < hak_boxes.n; i++) {
        if (!hak_boxes.all[i]->far)
            continue;
        if (sole != NULL)
            return NULL;
        sole = hak_boxes.all[i];
    }
    return sole != NULL && sole->quick ? sole : NULL;
}

void hak_walk_enter(struct hak_loaded *b)
{
    uint32_t at = hak_boxes.n;
    while (at > 0 && hak_boxes.walk[at - 1]->priority > b->priority) {
        hak_boxes.walk[at] = hak_boxes.walk[at - 1];
        at--;
    }
    hak_boxes.walk[at] = b;
    hak_boxes.all[hak_boxes.n] = b;
    hak_boxes.n++;
    hak_boxes.sole = find_sole();
}
