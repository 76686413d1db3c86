/* SPDX-License-Identifier: MIT
 * free_interior_mid.c - an address inside of a block of 20000 bytes is freed.
 *
 * fault: free of the middle of 20000 bytes
 * default: at once: not the start
 * hardened: at once: not the start
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(20000));
    step("now");
    free(p + 4096);
}
