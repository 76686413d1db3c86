/* SPDX-License-Identifier: MIT
 * overflow_large.c - a block of 1 MiB is overrun by 68 KiB.
 *
 * fault: overflow of 1 MiB by 64 KiB
 * default: no
 * hardened: at once
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(1 << 20));
    char *q = opaque(malloc(1 << 20)); /* lies beside p in memory */
    p = p < q ? p : q;
    step("now");
    for (size_t i = 0; i < 65536 + 4096; i += 64)
        p[(1 << 20) + i] = 1;
}
