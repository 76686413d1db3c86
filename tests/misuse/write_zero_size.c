/* SPDX-License-Identifier: MIT
 * write_zero_size.c - a block of 0 bytes is written to.
 *
 * fault: write to a block of 0 bytes
 * default: no
 * hardened: at once
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(0));
    step("now");
    p[0] = 1;
}
