/* SPDX-License-Identifier: MIT
 * overflow_block.c - a zero is written behind a block with a mapping of its
 * own, into the bytes that are left to its alignment.
 *
 * fault: write of 1 byte behind 200001
 * default: no
 * hardened: at free: overflow
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(200001));
    step("now");
    p[200001] = 0;
    step("free");
    free(p);
}
