/* SPDX-License-Identifier: MIT
 * overflow_into_free.c - a write behind a block goes into the free slot after
 * it.
 *
 * fault: overflow into a free neighbour
 * default: at reuse: written to since
 * hardened: at free: overflow
 * guard: by sampling
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    char *block[8];
    for (int i = 0; i < 8; i++)
        block[i] = opaque(malloc(100));
    for (int i = 1; i < 8; i++)
        free(block[i]);
    memset(block[0] + malloc_usable_size(block[0]), 1, 16);
    step("free");
    free(block[0]);
    step("reuse");
    take_many(100);
}
