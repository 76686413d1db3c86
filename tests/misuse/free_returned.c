/* SPDX-License-Identifier: MIT
 * free_returned.c - a large block is freed again after its memory went back to
 * the system.
 *
 * fault: free of memory given back
 * default: at once: given back
 * hardened: at once: given back
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(8 << 20));
    free(p);
    malloc_trim(0);
    step("now");
    free(p);
}
