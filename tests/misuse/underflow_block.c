/* SPDX-License-Identifier: MIT
 * underflow_block.c - before a block of its own, inside of its first page.
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
