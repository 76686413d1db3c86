/* SPDX-License-Identifier: MIT
 * classes.h - which slot size serves a request: the list of `slots`.
 *
 *     slot_bytes[0] < slot_bytes[1] < ... < slot_bytes[n - 1] == 1024
 *     of_index[i] = the first class whose slots hold hak_index_bytes(i)
 */
#ifndef MID_V35_CLASSES_H
#define MID_V35_CLASSES_H

#include <kit/page.h>

enum {
    CLASSES_MAX = 64, /* every multiple of 16 up to 1024 */
};

struct classes {
    uint32_t n;
    uint16_t slot_bytes[CLASSES_MAX];
    uint8_t of_index[HAK_INDEX_SMALL_MAX + 1];
};

/*
 * classes_parse - read a list of slot sizes, "256,320,1024".
 * Ascending multiples of 16 up to 1024, the last one 1024, so that there is a
 * slot for every request; blanks around a number are allowed.
 * Returns NULL, or what is wrong; *at is then where in the text, and *out
 * unchanged.
 */
const char *classes_parse(const char *text, struct classes *out,
                          const char **at);

/* size_bytes: any. HAK_CLASS_NONE = none is large enough. */
static inline uint32_t class_of(const struct classes *classes,
                                size_t size_bytes)
{
    return size_bytes > HAK_SMALL_MAX_BYTES
               ? HAK_CLASS_NONE
               : classes->of_index[hak_index_of(size_bytes)];
}

/* The first class whose slots all lie at multiples of align_bytes. */
static inline uint32_t class_of_aligned(const struct classes *classes,
                                        size_t align_bytes, size_t size_bytes)
{
    uint32_t c = class_of(classes, size_bytes);
    while (c < classes->n && classes->slot_bytes[c] % align_bytes != 0)
        c++;
    return c < classes->n ? c : HAK_CLASS_NONE;
}

#endif
