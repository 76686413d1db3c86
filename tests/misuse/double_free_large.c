/* SPDX-License-Identifier: MIT
 * double_free_large.c - a block with a mapping of its own is freed twice.
 *
 * fault: double free of 1 MiB
 * default: at once: not a live slot
 * hardened: at once: freed twice
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(1 << 20));
    free(p);
    step("now");
    free(p);
}
