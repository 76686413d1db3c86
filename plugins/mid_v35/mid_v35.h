/* SPDX-License-Identifier: MIT
 * mid_v35.h - the box's state, its cold interface and its figures.
 *
 *     lane --> current page of a class (thread)      hot: no call
 *                  |  empty?   ^ used up?
 *                  v           |
 *          retire_page    refill_page                cold: this header
 *                  |           |
 *                  +-> shared segments, under a lock
 */
#ifndef MID_V35_H
#define MID_V35_H

#include <boxkit/heap.h>

#include "classes.h"
#include "segment.h"

/* The sums, and the latest records as a ring. Guarded by `lock`. */
struct retires {
    struct hak_lock lock;
    struct hak_retires_class of_class[CLASSES_MAX];
    uint64_t n; /* records so far: the next goes to recent[n % ...] */
    struct hak_retire recent[MID_V35_RECENT];
};

/* Locks: none is taken while another is held. */
struct mid_v35 {
    struct hak_heaps heaps;
    struct classes classes;
    struct segments segments;
    struct retires retires;
};

static inline struct mid_v35 *mid_v35_of(struct hak_box *box)
{
    return box->state;
}

/*
 * refill_page - a page of the class for the heap's thread: the only way from
 * the shared segments. NULL = no memory.
 * retire_page - nothing of the page is out: the only way back.
 */
struct hak_page *refill_page(struct hak_heap *heap, uint32_t class_number);
void retire_page(struct hak_heap *heap, struct hak_page *page);

/* A slot of the page comes back by another thread: ops->remote_free. */
void mid_v35_remote_free(struct hak_span *span, void *p);

/* The page, empty, as it goes back. */
void retires_add(struct retires *r, const struct hak_page *page);

extern const struct hak_retires_1 mid_v35_retires;

#endif
