/* SPDX-License-Identifier: MIT
 * calls.c - calls.so: malloc returns the next of some addresses, free does
 * nothing. Preloaded under `pair`, which never touches its blocks, it measures
 * the cost of the two calls alone.
 */
#include <stdlib.h>

enum { BYTES = 1 << 20, STEP = 64 };
static _Alignas(STEP) char memory[2 * BYTES];
static size_t at;

#define EXPORT __attribute__((visibility("default")))

EXPORT void *malloc(size_t size_bytes)
{
    at = (at + STEP) & (BYTES - 1);
    return size_bytes <= BYTES ? memory + at : NULL;
}

EXPORT void free(void *p)
{
    (void)p;
}
