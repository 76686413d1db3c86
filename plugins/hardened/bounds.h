/* SPDX-License-Identifier: MIT
 * bounds.h - the bytes around a slot that tell of writes before and behind it.
 *
 *     slot       | asked bytes | canary       | 0 ...        | border |
 *     bytes                      1 to 16                       16
 *     next slot                                                       | ...
 *
 * border  of the boundary between two slots, for ever: what is there depends on
 *         the address alone, or it is 0: nobody has needed it yet. So the free
 *         of either slot can look at it, whatever another thread does with the
 *         other one. malloc sets the one behind its slot
 * canary  right behind what was asked for: all that is left of 16 bytes or
 *         fewer; else 16, and zeros, with parameter `zero`
 *
 * No byte of either is 0 or ASCII, so that a string that runs over is seen for
 * sure. What is there says nothing of the secret or of other slots' (a folded
 * product, Yi's wyhash).
 */
#ifndef HARDENED_BOUNDS_H
#define HARDENED_BOUNDS_H

#include "hardened.h"

typedef uint64_t pair
    __attribute__((vector_size(16), aligned(1), may_alias));

static inline pair pair_at(const void *p)
{
    return *(const pair *)p;
}

static inline bool is_all_zero(pair v)
{
    return (v[0] | v[1]) == 0;
}

/* What is at the boundary or behind the bytes that end at this address. */
static inline pair pattern_of(const struct hardened *h, const void *p)
{
    unsigned __int128 product =
        (unsigned __int128)((uintptr_t)p ^ h->secret[0]) * h->secret[1];
    uint64_t word = (uint64_t)product ^ (uint64_t)(product >> 64);
    uint64_t other = word << 32 | word >> 32;
    const uint64_t high = 0x8080808080808080ull;
    return (pair){word | high, other | high};
}

/* The last n bytes of 16, n below 16. */
static inline pair last_bytes(size_t n)
{
    static const uint8_t bytes[32] = {
        [16] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    };
    return pair_at(bytes + n);
}

/* Are all bytes from p to end zero? */
static inline bool reads_zero(const char *p, const char *end)
{
    for (; end - p >= 16; p += 16)
        if (!is_all_zero(pair_at(p)))
            return false;
    for (; p != end; p++)
        if (*p != 0)
            return false;
    return true;
}

/*
 * The canary behind p's asked bytes in a slot with room for `room`; the bytes
 * behind it are zero already. Those in front stay.
 */
static inline void set_canary(const struct hardened *h, char *p, size_t asked,
                              size_t room)
{
    pair pattern = pattern_of(h, p + 1);
    if (likely(room - asked < 16)) {
        pair *at = (pair *)(p + room - 16), mask = last_bytes(room - asked);
        *at = (*at & ~mask) | (pattern & mask);
    } else {
        *(pair *)(p + asked) = pattern;
    }
}

static inline bool canary_is_whole(const struct hardened *h, const char *p,
                                   size_t asked, size_t room)
{
    pair pattern = pattern_of(h, p + 1);
    if (likely(room - asked < 16))
        return is_all_zero((pair_at(p + room - 16) ^ pattern) &
                           last_bytes(room - asked));
    return is_all_zero(pair_at(p + asked) ^ pattern) &&
           (!h->zero || reads_zero(p + asked + 16, p + room));
}

/* Where the canary was, zeros: before its slot is asked for other bytes. */
static inline void drop_canary(char *p, size_t asked, size_t room)
{
    memset(p + asked, 0, hak_min(room - asked, 16));
}

/* The border in front of the boundary p. */
static inline bool border_is_whole(const struct hardened *h, const char *p)
{
    return is_all_zero(pair_at(p - BORDER_BYTES) ^ pattern_of(h, p));
}

/* The same where nobody may have needed it yet. */
static inline bool border_may_be(const struct hardened *h, const char *p)
{
    return likely(border_is_whole(h, p)) ||
           is_all_zero(pair_at(p - BORDER_BYTES));
}

static inline void set_border(const struct hardened *h, char *p)
{
    *(pair *)(p - BORDER_BYTES) = pattern_of(h, p);
}

#endif
