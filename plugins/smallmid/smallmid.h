/* SPDX-License-Identifier: MIT
 * smallmid.h - the box's state: pools by class, and the threads' lists.
 *
 *     live slots of a class = pool.out - sum of list.count over all heaps
 */
#ifndef SMALLMID_H
#define SMALLMID_H

#include "pool.h"

enum {
    CLASSES_MAX = 16, /* what fits beside SLAB_TAG */
    NO_CLASS = 0xff,
};

/* Free slots of one class that a thread keeps; slot[count - 1] goes first.
 * An array, not a chain through the slots: pop and push touch no slot, and
 * half of it is returned without a walk. count: written by the owner, read by
 * anybody. */
struct list {
    uint64_t count;
    uint64_t capacity; /* the pool's: that one is beside its lock */
    struct pool *pool;
    void *slot[LIST_MAX];
};

struct heap {
    uint32_t nclasses;
    struct heap *next; /* spare: without a thread, lists empty */
    struct heap *all_next;
    struct list list[];
};

struct smallmid {
    struct hak_box *box;
    uint32_t nclasses;
    uint8_t class_of[HAK_INDEX_SMALL_MAX + 1]; /* by the core's size index */
    struct superslabs supers;
    struct hak_lock heaps_lock; /* spare heaps, additions to all_heaps */
    struct heap *spare_heaps;
    struct heap *all_heaps;
    struct pool pool[CLASSES_MAX];
};

static inline struct smallmid *smallmid_of(const struct hak_box *box)
{
    return box->state;
}

/* The class of a request, or NO_CLASS. */
static inline uint32_t class_of(const struct smallmid *sm, size_t size_bytes)
{
    return size_bytes > HAK_SMALL_MAX_BYTES
               ? NO_CLASS
               : sm->class_of[hak_index_of(size_bytes)];
}

/* ---- heap.c ------------------------------------------------------------ */

/* A heap of empty lists, or NULL. */
struct heap *heap_open(struct smallmid *sm);

/* All its slots go back; the heap will be another thread's. */
void heap_close(struct smallmid *sm, struct heap *heap);

/* All slots of the lists go back to their slabs. By the heap's thread. */
void heap_flush(struct heap *heap);

/* The slow halves. list_refill: false = no memory, the list is empty. */
bool list_refill(struct list *list);
void list_overflow(struct list *list);

/* One slot, past the lists: for a thread without a heap. NULL = no memory. */
void *pool_take_one(struct pool *pool);
void pool_give_one(struct pool *pool, void *p);

static inline void *list_pop(struct list *list)
{
    if (unlikely(list->count == 0) && !list_refill(list))
        return NULL;
    void *p = list->slot[list->count - 1];
    hak_count(&list->count, (uint64_t)-1);
    return p;
}

static inline void list_push(struct list *list, void *p)
{
    if (unlikely(list->count == list->capacity))
        list_overflow(list);
    list->slot[list->count] = p;
    hak_count(&list->count, 1);
}

/* ---- smallmid.c -------------------------------------------------------- */

/* Nobody else may use the box meanwhile. */
void smallmid_check(struct smallmid *sm);

#endif
