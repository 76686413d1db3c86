/* SPDX-License-Identifier: MIT
 * free_misaligned.c - the second byte of a block is freed.
 *
 * fault: free of an address that is not aligned
 * default: at once: not the start
 * hardened: at once: not the start
 * guard: by sampling
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(16));
    step("now");
    free(p + 1);
}
