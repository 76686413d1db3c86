/* SPDX-License-Identifier: MIT
 * overflow_byte.c - one byte behind the usable size of a block is written to.
 *
 * fault: write of 1 byte behind the block
 * default: no
 * hardened: at free: overflow
 * guard: by sampling
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    p[malloc_usable_size(p)] = 1;
    step("free");
    free(p);
}
