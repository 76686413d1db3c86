/* SPDX-License-Identifier: MIT
 * threshold.h - learns the size from which a freed block goes straight to the
 * system.
 *
 *     a block of `direct_bytes` or more is freed   it goes back; its size and
 *                                                  time are remembered (gone_*)
 *     a request of half to twice that size finds   the threshold goes up to the
 *       no kept block, before the block that went  next power of two above the
 *       would have been too old                    size of the block that went
 *     a kept block of `least_bytes` or more has    the threshold goes down to
 *       become too old without a use               that block's size
 *
 * The threshold never goes below least_bytes, which is the INI's direct_bytes:
 * shorter blocks are worth keeping within the bounds of supply.c.
 *
 * Any thread may call this, without a lock. Of two calls at the same moment one
 * may be lost, which does no harm.
 */
#ifndef LARGE_THRESHOLD_H
#define LARGE_THRESHOLD_H

#include "bigcache.h"

/*
 * Every member is atomic.
 *
 * direct_bytes  the threshold now
 * least_bytes   the least that it may be
 * gone_*        size, time and turn of the last block that went straight back;
 *               gone_bytes is 0 when there is none
 * moves         how often the threshold moved
 */
struct threshold {
    uint64_t least_bytes, direct_bytes;
    uint64_t gone_bytes;
    uint32_t gone_ms;
    uint8_t gone_turn;
    bool on;
    uint64_t moves;
};

/* Start again, with nothing learned. */
void threshold_start(struct threshold *t, bool on, uint64_t least_bytes);

/* Does a block of this size go straight to the system? */
static inline bool threshold_direct(const struct threshold *t, uint64_t nbytes)
{
    return nbytes >= __atomic_load_n(&t->direct_bytes, __ATOMIC_RELAXED);
}

/* A block went straight to the system. */
void threshold_gone(struct threshold *t, const struct bigcache *cache,
                    uint64_t nbytes, uint64_t now_ms);

/* A request for nbytes found no kept block.
 * age_ms  how long a freed block is kept */
void threshold_missed(struct threshold *t, const struct bigcache *cache,
                      uint64_t nbytes, uint64_t now_ms, uint64_t age_ms);

/* A kept block of nbytes has become too old without a use. */
void threshold_unused(struct threshold *t, uint64_t nbytes);

#endif
