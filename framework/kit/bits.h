/* SPDX-License-Identifier: MIT
 * bits.h - kit layer 2: bitmaps of 64-bit words, and runs of bits in them.
 *
 * Positions count from 0. No bounds are checked: the caller's map covers
 * [0, end). Nothing is atomic.
 */
#ifndef HAK_KIT_BITS_H
#define HAK_KIT_BITS_H

#include "base.h"

#define HAK_BITS_NONE SIZE_MAX
#define HAK_BITS_WORDS(n) (((n) + 63) / 64)

static inline bool hak_bit(const uint64_t *map, size_t i)
{
    return (map[i >> 6] >> (i & 63)) & 1;
}

/* The bits of word w that lie in [from, from + n). */
static inline uint64_t hak_bits_mask(size_t w, size_t from, size_t n)
{
    size_t low = w * 64 < from ? from - w * 64 : 0;
    size_t high = from + n - w * 64; /* exclusive; may be above 64 */
    uint64_t mask = ~0ull << low;
    return high >= 64 ? mask : mask & ((1ull << high) - 1);
}

static inline void hak_bits_set(uint64_t *map, size_t from, size_t n)
{
    for (size_t w = from >> 6; w * 64 < from + n; w++)
        map[w] |= hak_bits_mask(w, from, n);
}

static inline void hak_bits_clear(uint64_t *map, size_t from, size_t n)
{
    for (size_t w = from >> 6; w * 64 < from + n; w++)
        map[w] &= ~hak_bits_mask(w, from, n);
}

static inline size_t hak_bits_count(const uint64_t *map, size_t from, size_t n)
{
    size_t count = 0;
    for (size_t w = from >> 6; w * 64 < from + n; w++)
        count +=
            (size_t)__builtin_popcountll(map[w] & hak_bits_mask(w, from, n));
    return count;
}

/*
 * The first position in [from, end) whose bit is 1 (flip = 0) or 0 (flip = ~0);
 * end if there is none.
 */
static inline size_t hak_bits_next(const uint64_t *map, uint64_t flip,
                                   size_t from, size_t end)
{
    if (from >= end)
        return end;
    size_t w = from >> 6;
    uint64_t word = (map[w] ^ flip) & (~0ull << (from & 63));
    while (word == 0) {
        if (++w * 64 >= end)
            return end;
        word = map[w] ^ flip;
    }
    return hak_min(w * 64 + (size_t)__builtin_ctzll(word), end);
}

/*
 * The start of the first run of n bits in [from, end) that are all 1 (flip = 0)
 * or all 0 (flip = ~0), at a multiple of align (a power of two); or
 * HAK_BITS_NONE. Cost: the words up to the run.
 */
static inline size_t hak_bits_run(const uint64_t *map, uint64_t flip,
                                  size_t from, size_t end, size_t n,
                                  size_t align)
{
    size_t at = from;
    for (;;) {
        at = hak_bits_next(map, flip, at, end);
        at = hak_round_up(at, align);
        if (at >= end || end - at < n)
            return HAK_BITS_NONE;
        size_t stop = hak_bits_next(map, ~flip, at, at + n);
        if (stop == at + n)
            return at;
        at = stop + 1;
    }
}

#endif
