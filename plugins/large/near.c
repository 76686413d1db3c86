/* SPDX-License-Identifier: MIT
 * near.c - heaps of near blocks: opened, aged, flushed, summed. */
#include "large.h"

/* A thread may keep an equal share of NEAR_ALL_BYTES, counted when its heap is
 * opened, but at least NEAR_LEAST_BYTES: room for a few of the shortest. */
#define NEAR_ALL_BYTES ((uint64_t)16 << 20)
#define NEAR_LEAST_BYTES ((uint64_t)256 << 10)
enum { NEAR_CALLS = 256 }; /* frees between two looks at the clock */

static struct near *make(struct large *large)
{
    struct near *near = large->box->host->meta(large->box, sizeof *near);
    if (near == NULL)
        return NULL;
    hak_lock_take(&large->near_lock);
    near->all_next = large->all_near;
    /* Pairs with the acquire in near_sum, which follows the chain without
     * the lock. */
    __atomic_store_n(&large->all_near, near, __ATOMIC_RELEASE);
    hak_lock_drop(&large->near_lock);
    return near;
}

struct near *near_open(struct large *large)
{
    hak_lock_take(&large->near_lock);
    struct near *near = large->spare_near;
    if (near != NULL)
        large->spare_near = near->next;
    uint64_t n = ++large->nnear;
    hak_lock_drop(&large->near_lock);
    if (near == NULL)
        near = make(large);
    if (near == NULL)
        return NULL;
    uint64_t most = settings_get(&large->settings.near_bytes);
    uint64_t share = hak_max(NEAR_ALL_BYTES / n, NEAR_LEAST_BYTES);
    most = hak_min(most, settings_get(&large->settings.cache_bytes));
    near->most_bytes = hak_min(most, share);
    near->age_ms = supply_age_ms(large);
    return near;
}

/* Flush the oldest blocks of a list, all but `keep`. */
static void flush_list(struct large *large, struct near *near, uint32_t list,
                       uint32_t keep)
{
    struct near_list *l = &near->list[list];
    uint32_t n = l->n - keep;
    struct block *out[NEAR_DEPTH];
    memcpy(out, l->block, n * sizeof out[0]);
    memmove(l->block, l->block + n, keep * sizeof out[0]);
    l->n = l->least = keep;
    for (uint32_t i = 0; i < n; i++) {
        near_count(near, out[i], false);
        supply_free(large, out[i]);
    }
}

void near_flush(struct large *large, struct near *near)
{
    for (uint32_t i = 0; i < NEAR_GRANULES; i++)
        flush_list(large, near, i, 0);
}

void near_close(struct large *large, struct near *near)
{
    near_flush(large, near);
    hak_lock_take(&large->near_lock);
    large->nnear--;
    near->next = large->spare_near;
    large->spare_near = near;
    hak_lock_drop(&large->near_lock);
}

void near_age(struct large *large, struct near *near)
{
    if (likely(++near->calls % NEAR_CALLS != 0))
        return;
    uint64_t now_ms = large->box->host->now_ms();
    if (now_ms - near->aged_ms < near->age_ms)
        return;
    near->aged_ms = now_ms;
    for (uint32_t i = 0; i < NEAR_GRANULES; i++)
        flush_list(large, near, i, near->list[i].n - near->list[i].least);
}

struct near_sums near_sum(const struct large *large)
{
    struct near_sums sum = {0};
    const struct near *near =
        __atomic_load_n(&large->all_near, __ATOMIC_ACQUIRE);
    for (; near != NULL; near = near->all_next) {
        sum.count += hak_counted(&near->count);
        sum.bytes += hak_counted(&near->bytes);
        sum.live_bytes -= hak_counted(&near->kept_bytes);
        sum.live_bytes += hak_counted(&near->drift);
    }
    return sum;
}
