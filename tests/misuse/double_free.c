/* SPDX-License-Identifier: MIT
 * double_free.c - a block is freed twice in a row.
 *
 * fault: double free, in a row
 * default: at once: freed twice
 * hardened: at once: freed twice
 * guard: by sampling
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    char *q = opaque(malloc(100));
    free(q);
    free(p);
    step("now");
    free(p);
}
