/* SPDX-License-Identifier: MIT
 * pool.h - the slabs of one class, and the thread lists that hold them.
 *
 * A slab in use is held by one list: only that one takes its slots, and the
 * directory names the list's span for it, so what the holder's thread frees
 * goes on the list inline. Slabs of ended threads are held by nobody until a
 * list that has run out takes them over.
 *
 *     out == sum of `used` over the class's slabs
 *     nalloc - nfree == slots out of the slabs that the list holds, less what
 *                       other threads gave back and the list has not counted
 */
#ifndef SMALLMID_POOL_H
#define SMALLMID_POOL_H

#include "superslab.h"

enum {
    LISTS_MOST = 4,             /* of the parameter `lists` */
    LIST_MAX = 64 * LISTS_MOST, /* capacity for slots of 16 bytes */
    AWAY_MAX = LIST_MAX / 2,
};

struct pool {
    _Alignas(64) struct hak_lock lock;
    struct superslabs *supers;
    struct hak_link left; /* slabs with a free slot that no list holds */
    uint64_t out;         /* slots not in slabs: live, listed or away */
    uint64_t taken_over;  /* slots that were out of slabs taken over, ever */
    /* The largest figures that were told, so that they never seem to decrease;
     * atomic. */
    uint64_t told_allocs, told_frees;
    uint64_t key; /* of marks: hakmem/box.h, hak_span */
    uint32_t slot_bytes;
    uint8_t class_number;
    uint8_t tag;
    uint16_t capacity; /* of a thread's list */
    uint16_t batch;    /* what a refill takes, and an overflow returns */
};

/*
 * A thread's free slots of one class: span.local, a chain through the slots,
 * which malloc and free of the core work inline.
 *
 *     slots on it = base + nfree - nalloc < 2 * capacity
 *
 * It is looked at every `capacity` frees, and cut when it has more than that:
 * an exact bound would be asked for at each free of a program that takes and
 * frees in turn.
 *
 * away  slots of slabs that others hold, freed by this thread: they go to
 *       their slabs a batch at a time
 */
struct list {
    struct hak_span span;
    struct pool *pool;
    uint64_t base;
    uint64_t naway;
    void *away[AWAY_MAX];
    /* with the pool's lock */
    struct hak_link open, full; /* slabs held: with a free slot, without */
    uint64_t returned;          /* to held slabs by others, not in nfree yet */
};

/* lists: the capacity in multiples of the notes', 1..LISTS_MOST. */
void pool_init(struct pool *pool, struct superslabs *supers,
               uint32_t class_number, uint32_t slot_bytes, uint32_t lists);

/*
 * list_refill    a batch from held slabs, else of one that is taken over or
 *                new. By the owner; the list is empty. False = no memory.
 * list_overflow  a capacity of frees came: a batch goes if there are more.
 * list_flush     all of it, and what is away, to the slabs.
 * list_leave     the same, and no slab is held any more. The span has no
 *                owner.
 * list_send      what is away, to the slabs.
 */
bool list_refill(struct list *list);
void list_overflow(struct list *list);
void list_flush(struct list *list);
void list_leave(struct list *list);
void list_send(struct list *list);

/* A slot goes to its slab, by a thread without a list. */
void pool_give_one(struct pool *pool, void *p);

/* Slots on the list; of another thread's a guess within its bounds. */
static inline uint64_t list_count(const struct list *list)
{
    uint64_t n = hak_counted(&list->base) + hak_counted(&list->span.nfree) -
                 hak_counted(&list->span.nalloc);
    return (int64_t)n < 0 ? 0 : hak_min(n, (uint64_t)2 * list->pool->capacity);
}

/* Is a marked slot of the slab in its free list? Cost: a lock, that list. */
bool pool_has_free(struct pool *pool, const struct slab *slab, const void *p);
/* Or on the list, or away? Of another thread's as far as it stands still. */
bool list_has(const struct list *list, const void *p);

/* Nobody else may use the box meanwhile. */
void pool_check(const struct pool *pool);

#endif
