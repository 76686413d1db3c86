/* SPDX-License-Identifier: MIT
 * smallmid.h - the box's state: pools by class, and the threads' lists.
 *
 *     live slots of a class = pool.out - listed and away, over all heaps
 */
#ifndef SMALLMID_H
#define SMALLMID_H

#include "pool.h"

enum {
    CLASSES_MAX = 16, /* what fits beside SLAB_TAG */
    NO_CLASS = 0xff,
};

struct heap {
    uint32_t nclasses;
    struct heap *next; /* spare: without a thread, lists empty, no slab held */
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

/* A heap of empty lists, the thread their spans' owner; or NULL. */
struct heap *heap_open(struct smallmid *sm, struct hak_thread *thread);

/* All its slots go back; the heap will be another thread's. */
void heap_close(struct smallmid *sm, struct heap *heap);

/* All slots of the lists go back to their slabs. By the heap's thread. */
void heap_flush(struct heap *heap);

/* ---- smallmid.c -------------------------------------------------------- */

/* Nobody else may use the box meanwhile. */
void smallmid_check(struct smallmid *sm);

#endif
