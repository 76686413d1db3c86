/* SPDX-License-Identifier: MIT
 * ledger.h - exact figures of the live bytes and of the most that ever were.
 *
 * Threads that count in one place wait for its cache line. So each shard has an
 * account of its own, and a reserve up to which it may count by itself:
 *
 *     account.live <= account.reserve                  in each shard
 *     sum of live <= sum of reserve <= high <= peak
 *
 * While no account exceeds its reserve, the sum of them cannot be a new maximum
 * and need not be known. A thread whose account would exceed its reserve takes
 * the locks of all shards, adds up, raises high and peak if needed, and leaves
 * its account half of the reserve that the others do not use. A block may be
 * counted in one shard and freed in another, whose `live` may become negative:
 * only sums mean anything.
 */
#ifndef LARGE_LEDGER_H
#define LARGE_LEDGER_H

#include <kit/sync.h>

struct bigcache;

/* The account of one shard. Guarded by the shard's lock; sums read it without.
 * live, nlive  bytes and number of live blocks
 * reserve      bytes up to which `live` may grow without the other shards
 * came         bytes of all blocks that ever became live */
struct account {
    int64_t live, nlive;
    int64_t reserve;
    int64_t came;
};

/*
 * Written under the locks of all shards, read without them.
 * high, high_before  most live bytes in this stretch of time and the last one
 * peak               most live bytes ever
 */
struct ledger {
    int64_t high, high_before, peak;
};

static inline int64_t ledger_read(const int64_t *figure)
{
    return __atomic_load_n(figure, __ATOMIC_RELAXED);
}

static inline void ledger_write(int64_t *figure, int64_t value)
{
    __atomic_store_n(figure, value, __ATOMIC_RELAXED);
}

/* Count, whatever the reserve is. The lock of the account's shard is held. */
static inline void account_count(struct account *account, int64_t nblocks,
                                 int64_t nbytes)
{
    ledger_write(&account->live, account->live + nbytes);
    ledger_write(&account->nlive, account->nlive + nblocks);
    if (nblocks > 0)
        ledger_write(&account->came, account->came + nbytes);
}

/* Count, or return false with nothing changed when the reserve is too small.
 * The lock of the account's shard is held. */
static inline bool account_add(struct account *account, int64_t nblocks,
                               int64_t nbytes)
{
    if (unlikely(account->live + nbytes > account->reserve))
        return false;
    account_count(account, nblocks, nbytes);
    return true;
}

/* Count in one shard. Takes that shard's lock, or those of all shards when the
 * reserve is too small; the caller holds none. */
void ledger_add(struct ledger *ledger, struct bigcache *cache, uint32_t shard,
                int64_t nblocks, int64_t nbytes);

/* Sums over all shards; exact while no other thread counts. */
int64_t ledger_live(const struct bigcache *cache);
int64_t ledger_nlive(const struct bigcache *cache);
int64_t ledger_came(const struct bigcache *cache);

/* The most live bytes in this stretch of time and the last. */
static inline int64_t ledger_high(const struct ledger *ledger)
{
    int64_t high = ledger_read(&ledger->high);
    int64_t before = ledger_read(&ledger->high_before);
    return before > high ? before : high;
}

/* Begin a new stretch of time: `high` starts again at what is live. */
void ledger_turn(struct ledger *ledger, struct bigcache *cache);

void ledger_check(struct ledger *ledger, struct bigcache *cache);

#endif
