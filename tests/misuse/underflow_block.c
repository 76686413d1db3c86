/* SPDX-License-Identifier: MIT
 * underflow_block.c - one byte before a block with a mapping of its own is
 * written to, inside of its first OS page.
 *
 * fault: write of 1 byte before 200000
 * default: no
 * hardened: at free: underflow
 * scudo: at free
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(200000));
    step("now");
    p[-12] ^= 42;
    step("free");
    free(p);
}
