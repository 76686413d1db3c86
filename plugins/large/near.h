/* SPDX-License-Identifier: MIT
 * near.h - a thread's last freed blocks of up to 512 KiB, without a lock.
 *
 *     free  --> near, while it has room --> BigCache --> the host
 *     alloc --> near, exact or a little larger --> BigCache --> the host
 *
 * An atomic read-modify-write waits for all earlier stores of the CPU, and a
 * program has usually just written to the block that it frees. So this path has
 * none: the lists belong to their thread, and a block that goes on one becomes
 * CACHED by a plain store.
 *
 * The ledger goes on counting such a block as live, with the size that it had.
 * The heap counts the difference:
 *
 *     live blocks = ledger's - sum of count
 *     live bytes  = ledger's - sum of kept_bytes + sum of drift
 *
 * Blocks that their list did not need for an age go on to the BigCache.
 */
#ifndef LARGE_NEAR_H
#define LARGE_NEAR_H

#include "blocks.h"

enum {
    NEAR_GRANULES = 8, /* granules of the longest block: 512 KiB */
    NEAR_DEPTH = 16,   /* most blocks of one length */
};

struct near_list {
    uint32_t n;
    uint32_t least; /* the least n in this age: so many blocks are unneeded */
    struct block *block[NEAR_DEPTH];
};

/* The box's heap of one thread. Its memory stays a struct near for the life of
 * the process, and it stays chained by all_next. */
struct near {
    struct near *next, *all_next; /* next: in the list of unused heaps */
    uint64_t most_bytes, age_ms, aged_ms;
    uint32_t calls;
    /* Written by the owner, read by any thread. Of the blocks on the lists:
     * their number, bytes of their mappings, bytes of their slots. */
    uint64_t count, bytes, kept_bytes;
    /* Sum of (new slot size - old slot size) of the blocks that were handed out
     * from here, modulo 2^64. The ledger knows only the old sizes. */
    uint64_t drift;
    struct near_list list[NEAR_GRANULES]; /* list[n - 1]: of n granules */
};

static inline void near_count(struct near *near, struct block *b, bool in)
{
    uint64_t one = in ? 1 : (uint64_t)-1;
    hak_count(&near->count, one);
    hak_count(&near->bytes, one * block_bytes(b));
    hak_count(&near->kept_bytes, one * block_size(b));
}

/* b, which is LIVE, becomes CACHED and the newest of its list. Returns false,
 * with nothing changed, when there is no room. */
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

/* Take the newest block of a list, or NULL. Does not update `drift`. */
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

/* Take a block of ngranules up to `most` granules for a request of size_bytes,
 * or NULL. */
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
