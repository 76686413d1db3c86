/* SPDX-License-Identifier: MIT
 * overflow_page.c - a block is overrun by far.
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
    /* What is behind it is the program's too, where nothing is closed. */
    for (int i = 0; i < 20000; i++)
        memset(opaque(malloc(100)), 1, 100);
    step("now");
    for (size_t i = 0; i < 68 << 10; i += 64)
        p[i] = 1;
}
