/* SPDX-License-Identifier: MIT
 * threshold.c - the learned threshold, see threshold.h. */
#include "threshold.h"

static uint64_t get(const uint64_t *figure)
{
    return __atomic_load_n(figure, __ATOMIC_RELAXED);
}

static void set(uint64_t *figure, uint64_t value)
{
    __atomic_store_n(figure, value, __ATOMIC_RELAXED);
}

static void move_to(struct threshold *t, uint64_t nbytes)
{
    set(&t->direct_bytes, nbytes);
    hak_count_shared(&t->moves, 1);
}

void threshold_start(struct threshold *t, bool on, uint64_t least_bytes)
{
    __atomic_store_n(&t->on, on, __ATOMIC_RELAXED);
    set(&t->least_bytes, least_bytes);
    set(&t->direct_bytes, least_bytes);
    set(&t->gone_bytes, 0);
}

void threshold_gone(struct threshold *t, const struct bigcache *cache,
                    uint64_t nbytes, uint64_t now_ms)
{
    if (!__atomic_load_n(&t->on, __ATOMIC_RELAXED))
        return;
    __atomic_store_n(&t->gone_ms, (uint32_t)now_ms, __ATOMIC_RELAXED);
    __atomic_store_n(&t->gone_turn,
                     __atomic_load_n(&cache->turn, __ATOMIC_RELAXED),
                     __ATOMIC_RELAXED);
    set(&t->gone_bytes, nbytes);
}

void threshold_missed(struct threshold *t, const struct bigcache *cache,
                      uint64_t nbytes, uint64_t now_ms, uint64_t age_ms)
{
    uint64_t gone = get(&t->gone_bytes);
    if (gone < nbytes / 2 || gone / 2 > nbytes)
        return;
    uint32_t gone_ms = __atomic_load_n(&t->gone_ms, __ATOMIC_RELAXED);
    uint8_t gone_turn = __atomic_load_n(&t->gone_turn, __ATOMIC_RELAXED);
    set(&t->gone_bytes, 0);
    if (bigcache_is_old(cache, gone_ms, gone_turn, now_ms, age_ms) ||
        !threshold_direct(t, gone))
        return;
    uint32_t log2 = 63 - (uint32_t)__builtin_clzll(gone);
    move_to(t, log2 < 63 ? (uint64_t)2 << log2 : UINT64_MAX);
}

void threshold_unused(struct threshold *t, uint64_t nbytes)
{
    if (nbytes >= get(&t->least_bytes) && !threshold_direct(t, nbytes))
        move_to(t, nbytes);
}
