/* SPDX-License-Identifier: MIT
 * overflow_realloc.c - one byte behind a block is written to, then realloc()
 * makes the block larger in place.
 *
 * fault: write of 1 byte behind the block, then realloc
 * default: no
 * hardened: at free: overflow
 * guard: by sampling
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(1500));
    step("now");
    p[1500] = 42;
    step("free");
    p = opaque(realloc(p, 1510));
    free(p);
}
