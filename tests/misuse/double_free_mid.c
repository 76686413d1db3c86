/* SPDX-License-Identifier: MIT
 * double_free_mid.c - a block of 20000 bytes is freed twice.
 *
 * fault: double free of 20000 bytes
 * default: at once: freed twice
 * hardened: at once: freed twice
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(20000));
    free(p);
    step("now");
    free(p);
}
