/* SPDX-License-Identifier: MIT
 * ledger.c - live and peak bytes, see ledger.h. */
#include "ledger.h"
#include "bigcache.h"

int64_t ledger_live(const struct bigcache *cache)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < cache->nshards; i++)
        sum += ledger_read(&cache->shard[i].account.live);
    return sum;
}

int64_t ledger_nlive(const struct bigcache *cache)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < cache->nshards; i++)
        sum += ledger_read(&cache->shard[i].account.nlive);
    return sum;
}

int64_t ledger_came(const struct bigcache *cache)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < cache->nshards; i++)
        sum += ledger_read(&cache->shard[i].account.came);
    return sum;
}

/*
 * Set all reserves anew, so that they exceed the live bytes by `slack` in all.
 * Each other account keeps half of the reserve that it does not use, as far as
 * slack goes; ours gets the rest. The locks of all shards are held.
 */
static void share_out(struct bigcache *cache, struct account *ours,
                      int64_t slack)
{
    for (uint32_t i = 0; i < cache->nshards; i++) {
        struct account *other = &cache->shard[i].account;
        if (other == ours)
            continue;
        int64_t half = (other->reserve - other->live) / 2;
        half = half < slack ? half : slack;
        other->reserve = other->live + half;
        slack -= half;
    }
    ours->reserve = ours->live + slack;
}

static void add_slowly(struct ledger *ledger, struct bigcache *cache,
                       struct account *ours, int64_t nblocks, int64_t nbytes)
{
    bigcache_lock(cache);
    account_count(ours, nblocks, nbytes);
    int64_t live = ledger_live(cache);
    if (live > ledger->high)
        ledger_write(&ledger->high, live);
    if (live > ledger->peak)
        ledger_write(&ledger->peak, live);
    share_out(cache, ours, ledger->high - live);
    bigcache_unlock(cache);
}

void ledger_add(struct ledger *ledger, struct bigcache *cache, uint32_t shard,
                int64_t nblocks, int64_t nbytes)
{
    struct shard *s = &cache->shard[shard];
    hak_lock_take(&s->lock);
    bool done = account_add(&s->account, nblocks, nbytes);
    hak_lock_drop(&s->lock);
    if (!done)
        add_slowly(ledger, cache, &s->account, nblocks, nbytes);
}

/* Lowering `high` loses nothing of `peak`, since high <= peak at all times. */
void ledger_turn(struct ledger *ledger, struct bigcache *cache)
{
    bigcache_lock(cache);
    ledger_write(&ledger->high_before, ledger->high);
    ledger_write(&ledger->high, ledger_live(cache));
    for (uint32_t i = 0; i < cache->nshards; i++) {
        struct shard *s = &cache->shard[i];
        s->account.reserve = s->account.live;
        __atomic_store_n(&s->allowance, 0, __ATOMIC_RELAXED);
    }
    bigcache_unlock(cache);
}

void ledger_check(struct ledger *ledger, struct bigcache *cache)
{
    int64_t reserve = 0;
    bigcache_lock(cache);
    for (uint32_t i = 0; i < cache->nshards; i++) {
        const struct account *a = &cache->shard[i].account;
        HAK_ALWAYS(a->live <= a->reserve);
        reserve += a->reserve;
    }
    HAK_ALWAYS(ledger_live(cache) >= 0 && ledger_nlive(cache) >= 0);
    HAK_ALWAYS(reserve <= ledger->high && ledger->high <= ledger->peak);
    bigcache_unlock(cache);
}
