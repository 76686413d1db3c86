/* SPDX-License-Identifier: MIT
 * overflow_rounding.c - one byte behind a block is written to, inside of its
 * longer slot.
 *
 * fault: write of 1 byte behind 4096
 * default: no
 * hardened: at free: overflow
 * guard: by sampling
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(4096));
    step("now");
    p[4096] = 42;
    step("free");
    free(p);
    step("reuse");
    take_many(4096);
}
