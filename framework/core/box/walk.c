/* SPDX-License-Identifier: MIT
 * walk.c - the owns() walk: asks each box, in order of priority.
 */
#include <core/box/walk.h>

#include <base/sections.h>
#include <core/state/directory.h>
#include <core/state/ops.h>

#include <string.h>

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
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_in_walk(i);
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
    if (hak_blames() || hak_conf.free_route != HAK_FREE_DIRECTORY)
        return NULL;
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        if (!hak_box_at(i)->far)
            continue;
        if (sole != NULL)
            return NULL;
        sole = hak_box_at(i);
    }
    return sole != NULL && sole->quick ? sole : NULL;
}

static void add(struct hak_loaded *b)
{
    uint32_t n = hak_boxes.n, at = n;
    while (at > 0 && hak_boxes.walk[at - 1]->priority > b->priority) {
        hak_boxes.walk[at] = hak_boxes.walk[at - 1];
        at--;
    }
    hak_boxes.walk[at] = b;
    hak_boxes.all[n] = b;
    __atomic_store_n(&hak_boxes.n, n + 1, __ATOMIC_RELEASE);
}

/* Put b in the place of old in both lists. */
static void replace(const struct hak_loaded *old, uint32_t index,
                    struct hak_loaded *b)
{
    uint32_t at = 0;
    while (hak_boxes.walk[at] != old)
        at++;
    __atomic_store_n(&hak_boxes.walk[at], b, __ATOMIC_RELEASE);
    __atomic_store_n(&hak_boxes.all[index], b, __ATOMIC_RELEASE);
}

/* ---- places without a box ------------------------------------------------ */

static bool own_nothing(struct hak_box *box, const void *p)
{
    (void)box, (void)p;
    return false;
}

static const struct hak_box_entry vacant_entry = {.id = "", .version = ""};
static struct hak_loaded_now vacant_now;
HAK_SEALED struct hak_loaded hak_vacant = {
    .box = {.name = "", .state_now = HAK_BOX_CLOSED, .ops = &hak_vacant.ops},
    .ops = {.owns = own_nothing},
    .entry = &vacant_entry,
    .now = &vacant_now,
    .path = "",
};

void hak_walk_leave(const struct hak_loaded *b)
{
    replace(b, b->box.index, &hak_vacant);
    __atomic_store_n(&hak_boxes.sole, find_sole(), __ATOMIC_RELEASE);
}

struct hak_loaded *hak_box_named(const char *name)
{
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_at(i);
        if (b != &hak_vacant && strcmp(b->box.name, name) == 0)
            return b;
    }
    return NULL;
}

void hak_walk_enter(struct hak_loaded *b)
{
    if (b->box.index < hak_boxes.n)
        replace(&hak_vacant, b->box.index, b);
    else
        add(b);
    __atomic_store_n(&hak_boxes.sole, find_sole(), __ATOMIC_RELEASE);
}
