/* SPDX-License-Identifier: MIT
 * mid_v35.h - the box's state and its cold interface.
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

#include <kit/chunks.h>
#include <kit/lost.h>

#include "classes.h"

/* A segment is a chunk of 2 MiB. Metadata is elsewhere: all is pages. */
enum { SEGMENT_PAGES = 32 };
#define SEGMENT_BYTES (SEGMENT_PAGES * HAK_GRANULE_BYTES)

/* heaps first. Locks: none is taken while another is held. */
struct mid_v35 {
    struct hak_heaps heaps;
    struct classes classes;
    struct hak_chunks segments;
};

static inline struct mid_v35 *mid_v35_of(const struct hak_box *box)
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

#endif
