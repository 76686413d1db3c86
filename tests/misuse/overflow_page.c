/* SPDX-License-Identifier: MIT
 * overflow_page.c - a block is overrun by far.
 *
 * fault: overflow by 32 KiB
 * default: no
 * hardened: at once
 * guard: by sampling
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    step("now");
    for (size_t i = 0; i < 32 << 10; i += 64)
        p[i] = 1;
}
