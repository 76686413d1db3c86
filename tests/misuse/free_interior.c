/* SPDX-License-Identifier: MIT
 * free_interior.c - an address inside of a block is freed.
 *
 * fault: free of the middle of a block
 * default: at once: not the start
 * hardened: at once: not the start
 * guard: by sampling
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    step("now");
    free(p + 16);
}
