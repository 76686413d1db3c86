/* SPDX-License-Identifier: MIT
 * free_interior_large.c - an address inside of a block of 1 MiB is freed.
 *
 * fault: free of the middle of 1 MiB
 * default: at once: not a live slot
 * hardened: at once: not the start
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(1 << 20));
    step("now");
    free(p + 4096);
}
