/* SPDX-License-Identifier: MIT
 * overflow_page.c - a block is overrun by 68 KiB.
 *
 * fault: overflow by 68 KiB
 * default: no
 * hardened: at once
 * guard: by sampling
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    /* Without guard pages, the memory behind p now belongs to the program. */
    for (int i = 0; i < 20000; i++)
        memset(opaque(malloc(100)), 1, 100);
    step("now");
    for (size_t i = 0; i < 68 << 10; i += 64)
        p[i] = 1;
}
