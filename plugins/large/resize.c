/* SPDX-License-Identifier: MIT
 * resize.c - realloc of a block: where it is, by remap, or not at all.
 *
 *     fits, and wastes no more than the cache may     size changes, no more
 *     fits, wastes more                               the tail is given back
 *     too small, at least remap_bytes mapped          host->remap, some ahead
 *     too small, less                                 NULL: the core copies
 *     a smaller box fits better                       NULL: the core copies
 */
#include "large.h"

/* An eighth more than asked: n steps of growth cost log n moves, and address
   space that is not touched costs nothing. */
enum { AHEAD_SHIFT = 3 };

static void set_size(struct large *large, struct block *b, size_t nbytes)
{
    size_t old = b->size_bytes;
    __atomic_store_n(&b->size_bytes, nbytes, __ATOMIC_RELAXED);
    ledger_add(&large->ledger, &large->cache, large_shard(large), 0,
               (int64_t)nbytes - (int64_t)old);
}

/*
 * The table forgets the block before the host may give its place away, and
 * learns the new place before the program does.
 */
static bool remap(struct large *large, struct block *b, size_t ngranules)
{
    struct hak_box *box = large->box;
    uint32_t old = b->ngranules;
    blocks_leave(&large->blocks, b);
    char *q = box->host->remap(box, b->base, block_bytes(b),
                               ngranules << HAK_GRANULE_SHIFT);
    if (q != NULL) {
        hak_count_shared(&large->moved, q != b->base);
        b->base = q;
        __atomic_store_n(&b->ngranules, (uint32_t)ngranules, __ATOMIC_RELAXED);
        hak_count_shared(ngranules > old ? &large->grown : &large->shrunk, 1);
    }
    blocks_enter(&large->blocks, b);
    return q != NULL;
}

static bool grow(struct large *large, struct block *b, size_t ngranules)
{
    size_t most = large->blocks.n;
    size_t ahead = hak_min(ngranules + (ngranules >> AHEAD_SHIFT), most);
    if (ngranules > most ||
        block_bytes(b) < settings_get(&large->settings.remap_bytes))
        return false;
    if (remap(large, b, ahead))
        return true;
    return supply_make_way(large) && remap(large, b, ngranules);
}

void *large_resize(struct hak_box *box, void *p, size_t size_bytes)
{
    struct large *large = large_of(box);
    struct block *b = blocks_at(&large->blocks, p);
    if (b == NULL || block_state(b) != BLOCK_LIVE || size_bytes == 0 ||
        size_bytes > PTRDIFF_MAX)
        return NULL;
    if (size_bytes <= HAK_LANE_MAX_BYTES && size_bytes < b->size_bytes / 2)
        return NULL;
    size_t nbytes = slot_bytes(large, size_bytes);
    size_t ngranules = granules_of(b->color + nbytes);
    if (ngranules > b->ngranules && !grow(large, b, ngranules))
        return NULL;
    if (nbytes < b->size_bytes &&
        b->ngranules > bigcache_most(&large->cache, ngranules)) {
        set_size(large, b, nbytes); /* first: blocks_enter's invariant */
        remap(large, b, ngranules); /* if it fails, it stays longer */
        return block_slot(b);
    }
    set_size(large, b, nbytes);
    return block_slot(b);
}
