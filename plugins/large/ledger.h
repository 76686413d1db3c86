/* SPDX-License-Identifier: MIT
 * ledger.h - how much is live, and the most that ever was, exactly.
 *
 * Threads that count in one place meet there. So each shard has an account
 * of its own, and a reserve up to which it may count without asking:
 *
 *     account.live <= account.reserve                  in each shard
 *     sum of live <= sum of reserve <= high <= peak
 *
 * While no account exceeds its reserve, the sum cannot be a new maximum and
 * nobody need know it. One that does takes all locks, adds up, raises high
 * and peak if it must, and gets half of what reserve the others do not use.
 * A free of another shard's block makes that shard's live negative: only
 * sums mean anything.
 */
#ifndef LARGE_LEDGER_H
#define LARGE_LEDGER_H

#include <kit/sync.h>

struct bigcache;

/* In a shard, under its lock; bytes. Read without it for sums.
 * came  of all blocks that became live */
struct account {
    int64_t live, nlive;
    int64_t reserve;
    int64_t came;
};

/*
 * Under the locks of all shards; read without them.
 * high, high_before  most live bytes in this stretch of time and the last
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

/* Under the lock of the account's shard, whatever its reserve. */
static inline void account_count(struct account *account, int64_t nblocks,
                                 int64_t nbytes)
{
    ledger_write(&account->live, account->live + nbytes);
    ledger_write(&account->nlive, account->nlive + nblocks);
    if (nblocks > 0)
        ledger_write(&account->came, account->came + nbytes);
}

/* Count, or return false with nothing changed: the reserve is too small. */
static inline bool account_add(struct account *account, int64_t nblocks,
                               int64_t nbytes)
{
    if (unlikely(account->live + nbytes > account->reserve))
        return false;
    account_count(account, nblocks, nbytes);
    return true;
}

/* Count in one shard, by way of all if it must be. No lock held. */
void ledger_add(struct ledger *ledger, struct bigcache *cache, uint32_t shard,
                int64_t nblocks, int64_t nbytes);

/* The figures now; exact while no other thread counts. */
int64_t ledger_live(const struct bigcache *cache);
int64_t ledger_nlive(const struct bigcache *cache);
int64_t ledger_came(const struct bigcache *cache);

/* The most live bytes of late: in this stretch of time and the last. */
static inline int64_t ledger_high(const struct ledger *ledger)
{
    int64_t high = ledger_read(&ledger->high);
    int64_t before = ledger_read(&ledger->high_before);
    return before > high ? before : high;
}

/* A new stretch of time begins: high starts again at what is live. */
void ledger_turn(struct ledger *ledger, struct bigcache *cache);

void ledger_check(struct ledger *ledger, struct bigcache *cache);

#endif
