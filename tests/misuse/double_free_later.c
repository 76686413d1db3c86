/* SPDX-License-Identifier: MIT
 * double_free_later.c - a block is freed again after other frees and mallocs.
 *
 * fault: double free, after other calls
 * default: at reuse: freed twice
 * hardened: at once: freed twice
 * guard: by sampling
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    char *block[50];
    for (int i = 0; i < 50; i++)
        block[i] = opaque(malloc(100));
    free(p);
    for (int i = 0; i < 50; i++)
        free(block[i]);
    for (int i = 0; i < 20; i++)
        block[i] = opaque(malloc(100));
    step("now");
    free(p);
    step("reuse");
    take_many(100);
}
