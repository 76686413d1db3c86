/* SPDX-License-Identifier: MIT
 * bounds.h - the bytes around a slot in which free finds overflows.
 *
 *     slot       | asked bytes | canary       | 0 ...        | border |
 *     bytes                      0 to 16                       16
 *     next slot                                                       | ...
 *
 * border  the boundary between two slots. Its value depends on its address
 *         alone and never changes; it is 0 until it is first set. So the free
 *         of the slot on either side can check it, whatever another thread does
 *         with the other slot. malloc sets the border behind its slot
 * canary  right behind what was asked for. When 16 bytes or fewer are left up
 *         to the border, all of them are canary. Else 16 bytes are, and the
 *         others are zero (with parameter `zero`)
 *
 * No byte of a border or canary is 0 or ASCII, so a string that overflows is
 * always found. Their values tell nothing of the secret or of other borders:
 * they are a folded product, as in wyhash.
 */
#ifndef HARDENED_BOUNDS_H
#define HARDENED_BOUNDS_H

#include "hardened.h"

/* Sixteen bytes: a border, a canary or a mask. */
struct pair {
    uint64_t word[2];
};

static inline struct pair load_pair(const void *p)
{
    struct pair v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store_pair(void *p, struct pair v)
{
    memcpy(p, &v, sizeof v);
}

/* Returns 0 when a and b are equal in all bits that are set in the mask. */
static inline uint64_t differ(struct pair a, struct pair b, struct pair mask)
{
    return ((a.word[0] ^ b.word[0]) & mask.word[0]) |
           ((a.word[1] ^ b.word[1]) & mask.word[1]);
}

static const struct pair all_bytes = {{~0ull, ~0ull}};
static const struct pair no_bytes = {{0, 0}};

static inline bool is_same(struct pair a, struct pair b)
{
    return differ(a, b, all_bytes) == 0;
}

static inline struct pair both(struct pair a, struct pair mask)
{
    return (struct pair){{a.word[0] & mask.word[0], a.word[1] & mask.word[1]}};
}

/* The border that ends at p, the boundary of two slots. */
static inline struct pair border_of(const struct hardened *h, const void *p)
{
    unsigned __int128 product =
        (unsigned __int128)((uintptr_t)p ^ h->secret[0]) * h->secret[1];
    uint64_t word = (uint64_t)product ^ (uint64_t)(product >> 64);
    const uint64_t high = 0x8080808080808080ull;
    return (struct pair){{word | high, (word << 32 | word >> 32) | high}};
}

/* The canary of the slot that has this border at its end. */
static inline struct pair canary_of(struct pair border)
{
    return (struct pair){
        {border.word[1] ^ 0x2b3d5713, border.word[0] ^ 0x47192d6b}};
}

/* A mask of the last n of 16 bytes, n below 16. */
static inline struct pair last_bytes(size_t n)
{
    static const uint8_t bytes[32] = {
        [16] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff,        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    };
    return load_pair(bytes + n);
}

/* Are all bytes from p to end zero? */
static inline bool reads_zero(const char *p, const char *end)
{
    for (; end - p >= 16; p += 16)
        if (!is_same(load_pair(p), no_bytes))
            return false;
    for (; p != end; p++)
        if (*p != 0)
            return false;
    return true;
}

/*
 * Write the canary behind the asked bytes of p, in a slot with room for `room`
 * bytes. The asked bytes stay as they are; the bytes behind the canary are zero
 * already.
 */
static inline void set_canary(struct pair border, char *p, size_t asked,
                              size_t room)
{
    struct pair canary = canary_of(border);
    if (likely(room - asked < 16)) {
        struct pair mask = last_bytes(room - asked);
        struct pair old = load_pair(p + room - 16);
        canary = both(canary, mask);
        canary.word[0] |= old.word[0] & ~mask.word[0];
        canary.word[1] |= old.word[1] & ~mask.word[1];
        store_pair(p + room - 16, canary);
    } else {
        store_pair(p + asked, canary);
    }
}

static inline bool canary_is_whole(const struct hardened *h, struct pair border,
                                   const char *p, size_t asked, size_t room)
{
    struct pair canary = canary_of(border);
    if (likely(room - asked < 16))
        return differ(load_pair(p + room - 16), canary,
                      last_bytes(room - asked)) == 0;
    return is_same(load_pair(p + asked), canary) &&
           (!h->zero || reads_zero(p + asked + 16, p + room));
}

/* Zero the canary, before the slot is asked for another number of bytes. */
static inline void drop_canary(char *p, size_t asked, size_t room)
{
    memset(p + asked, 0, hak_min(room - asked, 16));
}

/* Borders are read and written by atomic words: the free of the slot behind may
 * read the border while malloc sets it. */
static inline uint64_t *border_at(char *p)
{
    return (uint64_t *)(void *)(p - BORDER_BYTES);
}

static inline struct pair load_border(const char *p)
{
    const uint64_t *at = border_at((char *)(uintptr_t)p);
    return (struct pair){{__atomic_load_n(at, __ATOMIC_RELAXED),
                          __atomic_load_n(at + 1, __ATOMIC_RELAXED)}};
}

static inline bool border_is(struct pair border, const char *p)
{
    return is_same(load_border(p), border);
}

/* Is the border whole, or still 0, or being set by another thread: one word
 * set, the other still 0? */
static inline bool border_may_be(struct pair border, const char *p)
{
    struct pair v = load_border(p);
    return likely(is_same(v, border)) ||
           ((v.word[0] == 0 || v.word[0] == border.word[0]) &&
            (v.word[1] == 0 || v.word[1] == border.word[1]));
}

static inline void set_border(struct pair border, char *p)
{
    uint64_t *at = border_at(p);
    __atomic_store_n(at, border.word[0], __ATOMIC_RELAXED);
    __atomic_store_n(at + 1, border.word[1], __ATOMIC_RELAXED);
}

#endif
