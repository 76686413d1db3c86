/* SPDX-License-Identifier: MIT
 * resize.c - realloc of a block: in place, by host->remap, or declined.
 *
 *     the block fits, at most `waste` percent too long  only its size changes
 *     the block fits, but is longer than that           its tail is given back
 *     too short, remap_bytes or more are mapped         remap, with an eighth
 *                                                       more than asked for
 *     too short, less is mapped                         NULL: the core copies
 *     to 256 KiB or less, and less than half            NULL: the core copies
 *                                                       to a smaller box
 */
#include "large.h"

/* remap asks for an eighth more, so that growth in n steps costs log n moves.
   Address space that is not touched costs nothing. */
enum { AHEAD_SHIFT = 3 };

static void set_size(struct large *large, struct block *b, size_t nbytes)
{
    size_t old = b->size_bytes;
    __atomic_store_n(&b->size_bytes, nbytes, __ATOMIC_RELAXED);
    ledger_add(&large->ledger, &large->cache, large_shard(large), 0,
               (int64_t)nbytes - (int64_t)old);
}

/*
 * The block leaves the table before remap, since the host may give its old
 * range to another box. It is entered again before the program gets the new
 * address.
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
        /* First: color + size_bytes must fit the shorter block when remap
         * enters it. When remap fails, the block stays as long as it is. */
        set_size(large, b, nbytes);
        remap(large, b, ngranules);
        return block_slot(b);
    }
    set_size(large, b, nbytes);
    return block_slot(b);
}
