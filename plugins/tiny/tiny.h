/* SPDX-License-Identifier: MIT
 * tiny.h - the state of one instance; for tiny.c, and for its tests.
 */
#ifndef TINY_H
#define TINY_H

#include "magazine.h"

#include <kit/chunks.h>
#include <kit/lost.h>

/* A SuperSlab is a chunk of 16 slabs. A slab is a granule, and one page. */
enum { SUPERSLAB_SHIFT = 20, SLABS = 16 };

#define SUPERSLAB_BYTES ((size_t)1 << SUPERSLAB_SHIFT)
#define SLAB_BYTES HAK_GRANULE_BYTES

struct tiny {
    struct hak_heaps heaps;
    struct hak_chunks superslabs;
    uint32_t with_magazine;         /* bit a slot class; 0: magazine = off */
    uint64_t no_heap[TINY_CLASSES]; /* magazine calls of threads without one */
};

/* p: any value. The page around it, or NULL; no lock. */
static inline struct hak_page *page_at(const struct tiny *t, const void *p)
{
    return hak_map_get(&t->superslabs.holders, p);
}

#endif
