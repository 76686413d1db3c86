/* SPDX-License-Identifier: MIT
 * near.h - a thread's own few freed blocks, taken and put without a lock.
 *
 * One list a size, 1..NEAR_GRANULES granules, exact fit, newest first. Only
 * its thread touches it, but for the counters, which others may read. For the
 * shared part of the box the blocks in here are live; statistics take them
 * off again.
 */
#ifndef LARGE_NEAR_H
#define LARGE_NEAR_H

#include "bigcache.h"

#include <boxkit/sync.h>

enum { NEAR_GRANULES = 16 }; /* 1 MiB */

struct near {
    struct block *list[NEAR_GRANULES]; /* by next_spare */
    uint64_t count, bytes;
    uint64_t emptied_ms;
    struct near *next;     /* spare */
    struct near *all_next; /* all, push only */
};

static inline bool near_fits(size_t bytes)
{
    return bytes <= NEAR_GRANULES * HAK_GRANULE_BYTES;
}

static inline void near_put(struct near *n, struct block *b)
{
    struct block **list = &n->list[(b->bytes >> HAK_GRANULE_SHIFT) - 1];
    __atomic_store_n(&b->state, (uint32_t)BLOCK_CACHED, __ATOMIC_RELAXED);
    b->next_spare = *list;
    *list = b;
    hak_count(&n->count, 1);
    hak_count(&n->bytes, b->bytes);
}

/* A block of exactly these bytes, or NULL. */
static inline struct block *near_get(struct near *n, size_t bytes)
{
    struct block **list = &n->list[(bytes >> HAK_GRANULE_SHIFT) - 1];
    struct block *b = *list;
    if (b == NULL)
        return NULL;
    *list = b->next_spare;
    hak_count(&n->count, (uint64_t)-1);
    hak_count(&n->bytes, -b->bytes);
    __atomic_store_n(&b->state, (uint32_t)BLOCK_LIVE, __ATOMIC_RELAXED);
    return b;
}

/* Any block, or NULL when there is none. */
static inline struct block *near_any(struct near *n)
{
    for (size_t i = NEAR_GRANULES; i > 0; i--)
        if (n->list[i - 1] != NULL)
            return near_get(n, i << HAK_GRANULE_SHIFT);
    return NULL;
}

#endif
