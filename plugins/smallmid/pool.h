/* SPDX-License-Identifier: MIT
 * pool.h - the slabs of one class: slots leave and return in batches.
 *
 * `slabs` holds those with a free slot, last used first: slots come from the
 * front, so the slabs at the back have time to become empty.
 *
 *     out == sum of `used` over the class's slabs
 */
#ifndef SMALLMID_POOL_H
#define SMALLMID_POOL_H

#include "superslab.h"

enum {
    LIST_MAX = 64, /* capacity for slots of 16 bytes */
};

struct pool {
    _Alignas(64) struct hak_lock lock;
    struct superslabs *supers;
    struct hak_link slabs;
    uint64_t out; /* slots not in slabs: live, or in a thread's list */
    uint32_t slot_bytes;
    uint8_t class_number;
    uint8_t tag;
    uint8_t capacity; /* of a thread's list */
    uint8_t batch;    /* what a refill takes, and an overflow returns */
};

void pool_init(struct pool *pool, struct superslabs *supers,
               uint32_t class_number, uint32_t slot_bytes);

/*
 * pool_take - up to n slots into out[]. Returns how many: fewer than n only
 *             without memory.
 * pool_give - n slots of the class return to their slabs.
 * The caller holds the lock of the pool.
 */
uint32_t pool_take(struct pool *pool, void **out, uint32_t n);
void pool_give(struct pool *pool, void *const *slots, uint32_t n);

/* Nobody else may use the box meanwhile. */
void pool_check(const struct pool *pool);

#endif
