/* SPDX-License-Identifier: MIT
 * overflow_page.c - a block is overrun by far.
 *
 * fault: overflow by 1 MiB
 * default: no
 * hardened: at once
 * guard: by sampling
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    step("now");
    for (size_t i = 0; i < 1 << 20; i += 64)
        p[i] = 1;
}
