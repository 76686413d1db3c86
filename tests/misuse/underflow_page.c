/* SPDX-License-Identifier: MIT
 * underflow_page.c - a loop writes downwards from a block and does not stop.
 *
 * fault: underflow by 64 KiB
 * default: no
 * hardened: at once
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    /* Without guard pages, the memory before p now belongs to the program. */
    for (int i = 0; i < 20000; i++)
        memset(opaque(malloc(1000)), 1, 1000);
    volatile char *p = opaque(malloc(1000));
    step("now");
    for (size_t i = 0; i < (1 << 16); i++)
        p[-(ptrdiff_t)i] = 42;
}
