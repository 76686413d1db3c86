/* SPDX-License-Identifier: MIT
 * midmt.h - the box's state, and the layer that makes pages of spans.
 *
 *     midmt.c     operations
 *     pages.c     page = a span with slots of one class; the tick
 *     pool.c      which segment a span comes from
 *     segment.h   granules of a segment
 *
 * A file includes only what stands below it.
 */
#ifndef MIDMT_H
#define MIDMT_H

#include "pool.h"

enum {
    MIDMT_FIRST_INDEX = HAK_INDEX_SMALL_MAX, /* 1 KiB: class 0 */
    MIDMT_SIZES = HAK_LANES - MIDMT_FIRST_INDEX,
    MIDMT_CLASSES = 2 * MIDMT_SIZES, /* the second half: aligned */
};

struct midmt {
    struct hak_heaps heaps;
    struct segments segments;
    uint8_t ngranules[MIDMT_CLASSES]; /* of a page of that class */
};

/* The box's part of a heap; the owner's alone. */
struct midmt_heap {
    struct pool pool;
    uint64_t next_tick_ms;
};

/* Its class; that of aligned slots is MIDMT_SIZES further on. */
static inline uint32_t midmt_class(size_t size_bytes)
{
    return size_bytes <= HAK_SMALL_MAX_BYTES
               ? 0
               : hak_index_of(size_bytes) - MIDMT_FIRST_INDEX;
}

/*
 * Slots 4 KiB apart all begin in one set of a cache of the first level, and
 * those 256 bytes apart in a quarter of them: such slots are a cache line
 * longer, and begin in every set. Aligned ones are what the index says, so
 * that a slot of a multiple of an alignment has it.
 */
static inline uint32_t midmt_slot_bytes(uint32_t class_number)
{
    enum { LINE_BYTES = 64, FEW_SETS_BYTES = 4 * LINE_BYTES };
    uint32_t size = class_number % MIDMT_SIZES;
    uint32_t bytes = (uint32_t)hak_index_bytes(size + MIDMT_FIRST_INDEX);
    bool spread =
        class_number < MIDMT_SIZES && size != 0 && bytes % FEW_SETS_BYTES == 0;
    return bytes + (spread ? LINE_BYTES : 0);
}

static inline struct midmt *midmt_of(const struct hak_box *box)
{
    return box->state;
}

/* Granules of a page: at least 32 slots, tail of a sixteenth at most. */
uint32_t midmt_page_granules(uint32_t slot_bytes);

/* What struct hak_heaps wants of a box. */
struct hak_page *midmt_page_get(struct hak_heap *heap, uint32_t class_number);
void midmt_page_put(struct hak_heap *heap, struct hak_page *page);

void midmt_own_init(void *own);
void midmt_own_close(struct hak_heap *heap);

/* Called on slow paths: gives back what has not been used for a while. */
void midmt_tick(struct hak_heap *heap);

/* Gives back all that the heap does not need. */
void midmt_heap_trim(struct hak_heap *heap);

/* While no other thread uses the box. */
void midmt_check(const struct midmt *m);

#endif
