/* SPDX-License-Identifier: MIT
 * wipe_turns.h - the functions of wipe.c for vectors of VECTOR_BYTES, by the
 * instructions of TARGET: NAMED(is_zero), NAMED(wipe).
 *
 * A length between two powers of two is its first part and its last, which
 * overlap: no loop whose end is guessed wrong every other time.
 */
#define vector NAMED(vector)
#define EACH_OF(n) \
    _Pragma("GCC unroll 32") for (size_t k = 0; k < (n) / VECTOR_BYTES; k++)

typedef uint64_t vector
    __attribute__((vector_size(VECTOR_BYTES), aligned(16), may_alias));

TARGET static inline bool NAMED(none)(vector any)
{
    uint64_t all = 0;
    for (size_t k = 0; k < VECTOR_BYTES / 8; k++)
        all |= any[k];
    return all == 0;
}

/* n: a constant, at least half of what there is */
#define SEE_BOTH_ENDS(n)                     \
    do {                                     \
        const vector *b = (const void *)(end - (n)); \
        EACH_OF(n)                           \
            any |= a[k] | b[k];              \
        return NAMED(none)(any);             \
    } while (0)

TARGET static bool NAMED(is_zero)(const void *p, size_t bytes)
{
    const char *at = p, *end = at + bytes;
    const vector *a = p;
    vector any = {0};
    if (bytes >= 1024) {
        for (; (size_t)(end - at) > TURN_BYTES; at += TURN_BYTES) {
            a = (const void *)at;
            EACH_OF(TURN_BYTES)
                any |= a[k];
        }
        a = (const void *)(end - TURN_BYTES);
        SEE_BOTH_ENDS(TURN_BYTES);
    }
    if (bytes >= 512)
        SEE_BOTH_ENDS(512);
    if (bytes >= 256)
        SEE_BOTH_ENDS(256);
    if (bytes >= 128)
        SEE_BOTH_ENDS(128);
    if (bytes >= 64)
        SEE_BOTH_ENDS(64);
    if (bytes >= 32)
        SEE_BOTH_ENDS(32);
    const uint64_t *word = p;
    return (word[0] | word[1]) == 0;
}

#define WIPE_BOTH_ENDS(n)        \
    do {                         \
        vector *b = (void *)(end - (n)); \
        EACH_OF(n)               \
            a[k] = b[k] = zero;  \
        return;                  \
    } while (0)

TARGET static void NAMED(wipe)(void *p, size_t bytes)
{
    char *at = p, *end = at + bytes;
    vector *a = p, zero = {0};
    if (bytes >= 1024) {
#ifdef READ_FIRST
        for (;; at += TURN_BYTES) {
            if ((size_t)(end - at) < TURN_BYTES) at = end - TURN_BYTES;
            vector any = {0};
            a = (void *)at;
            EACH_OF(TURN_BYTES)
                any |= a[k];
            if (!NAMED(none)(any)) EACH_OF(TURN_BYTES) a[k] = zero;
            if (at == end - TURN_BYTES) return;
        }
#else
        memset(p, 0, bytes);
        return;
#endif
    }
    if (bytes >= 512)
        WIPE_BOTH_ENDS(512);
    if (bytes >= 256)
        WIPE_BOTH_ENDS(256);
    if (bytes >= 128)
        WIPE_BOTH_ENDS(128);
    if (bytes >= 64)
        WIPE_BOTH_ENDS(64);
    if (bytes >= 32)
        WIPE_BOTH_ENDS(32);
    uint64_t *word = p;
    word[0] = word[1] = 0;
}

#undef vector
#undef EACH_OF
#undef SEE_BOTH_ENDS
#undef WIPE_BOTH_ENDS
#undef NAMED
#undef TARGET
#undef VECTOR_BYTES
