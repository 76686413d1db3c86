/* SPDX-License-Identifier: MIT
 * free_returned_small.c - a small block is freed again after its page went
 * back.
 *
 * fault: free of a small block given back
 * default: at once: given back
 * hardened: at once: freed twice
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    static char *block[20000];
    for (int i = 0; i < 20000; i++)
        block[i] = opaque(malloc(100));
    for (int i = 0; i < 20000; i++)
        free(block[i]);
    malloc_trim(0);
    step("now");
    free(block[10000]);
}
