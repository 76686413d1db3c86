/* SPDX-License-Identifier: MIT
 * double_free_later.c - a block is freed again after other frees and mallocs.
 *
 * fault: double free, after other calls
 * default: at reuse: freed twice
 * hardened: at once: freed twice
 * guard: by sampling
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    char *block[12]; /* fewer than a quarantine holds, so p is not reused */
    for (int i = 0; i < 12; i++)
        block[i] = opaque(malloc(100));
    free(p);
    for (int i = 0; i < 12; i++)
        free(block[i]);
    for (int i = 0; i < 5; i++)
        block[i] = opaque(malloc(100));
    step("now");
    free(p);
    step("reuse");
    take_many(100);
}
