/* SPDX-License-Identifier: MIT
 * pool.c - a fixed number of slots, each between two guard pages.
 *
 * The pool is address space that the host has reserved. Only the slots of live
 * blocks are mapped in it. So a live block takes one mapping of the kernel,
 * which its free gives back, and a guard page takes none. Slots that were never
 * used are taken first. After that the slot that was freed longest ago is
 * taken, as long as more than `quarantine` freed slots wait. So a freed block
 * stays unmapped until at least that many others have been freed.
 */
#include "guard.h"

bool pool_init(struct pool *pool, struct hak_box *box, uint32_t nslots,
               uint32_t quarantine, size_t slot_bytes)
{
    const struct hak_host *host = box->host;
    pool->box = box;
    pool->page_bytes = host->os_page_bytes;
    pool->slot_bytes = hak_round_up(slot_bytes, pool->page_bytes);
    pool->stride_bytes = pool->slot_bytes + pool->page_bytes;
    pool->pool_bytes = hak_round_up(
        nslots * pool->stride_bytes + pool->page_bytes, HAK_GRANULE_BYTES);
    pool->nslots = nslots;
    pool->quarantine = quarantine;
    pool->slot = host->meta(box, nslots * sizeof *pool->slot);
    pool->queue = host->meta(box, nslots * sizeof *pool->queue);
    return pool->slot != NULL && pool->queue != NULL;
}

uintptr_t pool_slot(const struct pool *pool, const struct slot *slot)
{
    return pool->base + pool->page_bytes +
           (size_t)(slot - pool->slot) * pool->stride_bytes;
}

/* Reserve the pool's address space at the first call. pool->lock is held. */
static bool open_pool(struct pool *pool)
{
    if (pool->base != 0)
        return true;
    struct hak_box *box = pool->box;
    void *p = box->host->reserve(box, pool->pool_bytes, 0);
    if (p == NULL)
        return false;
    __atomic_store_n(&pool->base, (uintptr_t)p, __ATOMIC_RELEASE);
    return true;
}

/* The slot to be used next, or NULL: none may be used. pool->lock is held. */
static struct slot *next(struct pool *pool)
{
    if (!open_pool(pool))
        return NULL;
    if (pool->nfresh < pool->nslots)
        return &pool->slot[pool->nfresh++];
    if (pool->count <= pool->quarantine)
        return NULL;
    struct slot *slot = &pool->slot[pool->queue[pool->first]];
    pool->first = (pool->first + 1) % pool->nslots;
    pool->count--;
    return slot;
}

static void enqueue(struct pool *pool, struct slot *slot)
{
    hak_lock_take(&pool->lock);
    slot_set(slot, SLOT_FREED);
    pool->queue[(pool->first + pool->count++) % pool->nslots] =
        (uint32_t)(slot - pool->slot);
    hak_lock_drop(&pool->lock);
}

struct slot *pool_take(struct pool *pool)
{
    hak_lock_take(&pool->lock);
    struct slot *slot = next(pool);
    if (slot != NULL)
        slot_set(slot, SLOT_BUSY);
    hak_lock_drop(&pool->lock);
    if (slot == NULL)
        return NULL;
    struct hak_box *box = pool->box;
    if (!slot->open &&
        box->host->open_pages(box, (void *)pool_slot(pool, slot),
                              pool->slot_bytes, HAK_OPEN_NOW) != 0) {
        enqueue(pool, slot); /* no memory, or no mapping of the kernel left */
        return NULL;
    }
    slot->open = true;
    return slot;
}

void pool_give(struct pool *pool, struct slot *slot)
{
    struct hak_box *box = pool->box;
    slot->open = !box->host->close_pages(box, (void *)pool_slot(pool, slot),
                                         pool->slot_bytes);
    enqueue(pool, slot);
}

bool pool_owns(const struct pool *pool, const void *p)
{
    uintptr_t base = __atomic_load_n(&pool->base, __ATOMIC_ACQUIRE);
    return base != 0 && (uintptr_t)p - base < pool->pool_bytes;
}

/* ---- from an address to a slot ---- */

static uintptr_t distance(const struct slot *slot, uintptr_t p)
{
    if (p < slot->start)
        return slot->start - p;
    return p >= slot->start + slot->bytes ? p - slot->start - slot->bytes : 0;
}

static bool is_better(const struct slot *a, const struct slot *b, uintptr_t p)
{
    uint32_t state = slot_state(a), other = b ? slot_state(b) : SLOT_FRESH;
    if (state == SLOT_FRESH || a->start == 0)
        return false;
    if (other == SLOT_FRESH || (state == SLOT_LIVE) != (other == SLOT_LIVE))
        return other == SLOT_FRESH || state == SLOT_LIVE;
    return distance(a, p) < distance(b, p);
}

struct slot *pool_near(const struct pool *pool, uintptr_t p)
{
    size_t at = p - pool->base;
    size_t i = at / pool->stride_bytes; /* the guard page at p is before it */
    bool in_slot = at % pool->stride_bytes >= pool->page_bytes;
    struct slot *found = NULL;
    if (!in_slot && i > 0 && i <= pool->nslots &&
        is_better(&pool->slot[i - 1], NULL, p))
        found = &pool->slot[i - 1];
    if (i < pool->nslots && is_better(&pool->slot[i], found, p))
        found = &pool->slot[i];
    return found;
}
