/* SPDX-License-Identifier: MIT
 * overflow_zero.c - the zero at the end of a string is written behind the
 * block.
 *
 * fault: write of a 0 behind the block
 * default: no
 * hardened: at free: overflow
 * guard: by sampling
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(calloc(1, 24));
    step("now");
    p[24] = 0;
    step("free");
    free(p);
    step("reuse");
    take_many(24);
}
