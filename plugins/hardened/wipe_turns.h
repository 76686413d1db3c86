/* SPDX-License-Identifier: MIT
 * wipe_turns.h - NAMED(is_zero) and NAMED(wipe) for wipe.c, which includes this
 * file once for each kind of vector: VECTOR_BYTES long, with the instructions
 * of TARGET.
 *
 * A length between n and 2n, for a power of two n, is handled as its first n
 * bytes and its last n, which overlap. That needs no loop, whose end the CPU
 * would mispredict.
 */
#define vector NAMED(vector)
#define AT(p) ((vector *)(void *)(p))
#define EACH_OF(n) \
    _Pragma("GCC unroll 32") for (size_t k = 0; k < (n) / VECTOR_BYTES; k++)

typedef uint64_t vector
    __attribute__((vector_size(VECTOR_BYTES), aligned(16), may_alias));

/* Are the first n bytes and the last n zero? */
TARGET static inline __attribute__((always_inline)) bool
NAMED(ends_are_zero)(char *p, size_t bytes, const size_t n)
{
    const vector *first = AT(p), *last = AT(p + bytes - n);
    vector any = {0};
    EACH_OF(n)
    any |= first[k] | last[k];
    uint64_t all = 0;
    for (size_t k = 0; k < VECTOR_BYTES / 8; k++)
        all |= any[k];
    return all == 0;
}

TARGET static bool NAMED(is_zero)(char *p, size_t bytes)
{
    if (bytes >= 1024) {
        for (; bytes > TWO_TURNS; p += TURN_BYTES, bytes -= TURN_BYTES)
            if (!NAMED(ends_are_zero)(p, TURN_BYTES, TURN_BYTES / 2))
                return false;
        return NAMED(ends_are_zero)(p, bytes, TURN_BYTES);
    }
    if (bytes >= 512)
        return NAMED(ends_are_zero)(p, bytes, 512);
    if (bytes >= 256)
        return NAMED(ends_are_zero)(p, bytes, 256);
    if (bytes >= 128)
        return NAMED(ends_are_zero)(p, bytes, 128);
    if (bytes >= 64)
        return NAMED(ends_are_zero)(p, bytes, 64);
    if (bytes >= 32)
        return NAMED(ends_are_zero)(p, bytes, 32);
    const uint64_t *word = (const void *)p;
    return (word[0] | word[1]) == 0;
}

TARGET static inline __attribute__((always_inline)) void
NAMED(wipe_ends)(char *p, size_t bytes, const size_t n)
{
    vector *first = AT(p), *last = AT(p + bytes - n), zero = {0};
    EACH_OF(n)
    first[k] = last[k] = zero;
}

TARGET static void NAMED(wipe)(char *p, size_t bytes)
{
    if (bytes >= 1024)
        memset(p, 0, bytes);
    else if (bytes >= 512)
        NAMED(wipe_ends)(p, bytes, 512);
    else if (bytes >= 256)
        NAMED(wipe_ends)(p, bytes, 256);
    else if (bytes >= 128)
        NAMED(wipe_ends)(p, bytes, 128);
    else if (bytes >= 64)
        NAMED(wipe_ends)(p, bytes, 64);
    else if (bytes >= 32)
        NAMED(wipe_ends)(p, bytes, 32);
    else
        memset(p, 0, HAK_ALIGN_BYTES);
}

#undef vector
#undef AT
#undef EACH_OF
#undef NAMED
#undef TARGET
#undef VECTOR_BYTES
