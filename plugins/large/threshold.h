/* SPDX-License-Identifier: MIT
 * threshold.h - learns the size from which a freed block goes straight to the
 * system.
 *
 *     a block of `direct_bytes` or more is freed   it goes back, and what it
 *                                                  was is remembered (`gone`)
 *     a request comes of half to twice its size,   the threshold goes to the
 *       before it would have been too old          next doubling above it
 *     a kept block of `least_bytes` or more has    the threshold goes down to
 *       become too old, unused                     that block's size
 *
 * It is never below least_bytes, the parameter direct_bytes: what is shorter is
 * worth keeping as long as it is bounded, see supply.c.
 *
 * Any thread, no lock: two that meet here learn one thing instead of two.
 */
#ifndef LARGE_THRESHOLD_H
#define LARGE_THRESHOLD_H

#include "bigcache.h"

/* All atomic. gone_bytes 0: none. */
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

/* A request for nbytes met no kept block. age_ms  how long one is kept */
void threshold_missed(struct threshold *t, const struct bigcache *cache,
                      uint64_t nbytes, uint64_t now_ms, uint64_t age_ms);

/* A kept block has become too old. */
void threshold_unused(struct threshold *t, uint64_t nbytes);

#endif
