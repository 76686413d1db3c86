/* SPDX-License-Identifier: MIT
 * underflow_page.c - a loop that runs downwards and does not stop.
 *
 * fault: underflow by 64 KiB
 * default: no
 * hardened: at once
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    /* What is below is the program's too, where nothing is closed. */
    for (int i = 0; i < 20000; i++)
        memset(opaque(malloc(1000)), 1, 1000);
    volatile char *p = opaque(malloc(1000));
    step("now");
    for (size_t i = 0; i < (1 << 16); i++)
        p[-(ptrdiff_t)i] = 42;
}
