/* SPDX-License-Identifier: MIT
 * near.h - a thread's last freed blocks of up to 512 KiB, without a lock.
 *
 *     free  --> near, while it has room --> BigCache --> the host
 *     alloc --> near, exact or a little larger --> BigCache --> the host
 *
 * An atomic instruction waits for all stores that the program has on their way
 * to memory, and whoever frees a block of this size has just written to it. So
 * the shortest way has none: these lists belong to their thread, and a block
 * on them is CACHED by a plain store.
 *
 * For the ledger such a block is live as it was; what is not so, the heap
 * counts itself:
 *
 *     live blocks = ledger's - sum of count
 *     live bytes  = ledger's - sum of kept_bytes + sum of drift
 *
 * Of each list, what was not needed for an age goes on to the BigCache.
 */
#ifndef LARGE_NEAR_H
#define LARGE_NEAR_H

#include "blocks.h"

enum {
    NEAR_GRANULES = 8, /* the longest block */
    NEAR_DEPTH = 16,   /* blocks of one length */
};

struct near_list {
    uint32_t n;
    uint32_t least; /* of n, in this age */
    struct block *block[NEAR_DEPTH];
};

/* The box's heap of one thread; type-stable, all of them chained for ever. */
struct near {
    struct near *next, *all_next; /* next: without a thread */
    uint64_t most_bytes, age_ms, aged_ms;
    uint32_t calls;
    /* written by the owner, read by anybody */
    uint64_t count, bytes, kept_bytes;
    uint64_t drift; /* sizes handed out here less those before, modulo 2^64 */
    struct near_list list[NEAR_GRANULES]; /* by granules, from 1 */
};

static inline void near_count(struct near *near, struct block *b, bool in)
{
    uint64_t one = in ? 1 : (uint64_t)-1;
    hak_count(&near->count, one);
    hak_count(&near->bytes, one * block_bytes(b));
    hak_count(&near->kept_bytes, one * block_size(b));
}

/* b, LIVE, becomes CACHED and the first of its list. False: no room. */
static inline bool near_put(struct near *near, struct block *b)
{
    if (b->ngranules > NEAR_GRANULES ||
        near->bytes + block_bytes(b) > near->most_bytes)
        return false;
    struct near_list *list = &near->list[b->ngranules - 1];
    if (list->n == NEAR_DEPTH)
        return false;
    __atomic_store_n(&b->state, BLOCK_CACHED, __ATOMIC_RELAXED);
    list->block[list->n++] = b;
    near_count(near, b, true);
    return true;
}

/* The last of a list, or NULL; no request yet. */
static inline struct block *near_pop(struct near *near, size_t ngranules)
{
    struct near_list *list = &near->list[ngranules - 1];
    if (list->n == 0)
        return NULL;
    struct block *b = list->block[--list->n];
    list->least = list->least < list->n ? list->least : list->n;
    near_count(near, b, false);
    return b;
}

/* A block for a request of ngranules, at most `most`; or NULL. */
static inline struct block *near_take(struct near *near, size_t ngranules,
                                      size_t most, size_t size_bytes)
{
    most = most < NEAR_GRANULES ? most : NEAR_GRANULES;
    for (size_t n = ngranules; n <= most; n++) {
        struct block *b = near_pop(near, n);
        if (b == NULL)
            continue;
        hak_count(&near->drift, size_bytes - block_size(b));
        return b;
    }
    return NULL;
}

#endif
