/* SPDX-License-Identifier: MIT
 * write_stale.c - a freed block is written to by its old pointer, after a block
 * of the same size was allocated.
 *
 * fault: write by an old pointer after its size was asked for again
 * default: no
 * hardened: at reuse: written to since
 * guard: by sampling
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    char *old = opaque(malloc(100));
    free(old);
    char *p = opaque(malloc(100));
    step("now");
    memset(old, 42, 90);
    step("free");
    free(p);
    step("reuse");
    take_many(100);
}
