/* SPDX-License-Identifier: MIT
 * list.h - kit layer 2: circular doubly linked lists with the links inside of
 * the items.
 *
 * A head is a link that points at itself when the list is empty. An item that
 * is in no list has next == NULL.
 */
#ifndef HAK_KIT_LIST_H
#define HAK_KIT_LIST_H

#include "base.h"

struct hak_link {
    struct hak_link *next, *prev;
};

static inline void hak_link_init(struct hak_link *head)
{
    head->next = head->prev = head;
}

static inline bool hak_link_empty(const struct hak_link *head)
{
    return head->next == head;
}

static inline void hak_link_after(struct hak_link *at, struct hak_link *item)
{
    item->next = at->next;
    item->prev = at;
    at->next->prev = item;
    at->next = item;
}

static inline void hak_link_remove(struct hak_link *item)
{
    item->next->prev = item->prev;
    item->prev->next = item->next;
    item->next = item->prev = NULL;
}

static inline bool hak_link_in_list(const struct hak_link *item)
{
    return item->next != NULL;
}

/* The item that contains a link. */
#define hak_item(link, type, member) hak_container_of(link, type, member)

#endif
