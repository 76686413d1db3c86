/* SPDX-License-Identifier: MIT
 * write_after_free.c - a freed block is written to.
 *
 * fault: write behind the second word after free
 * default: no
 * hardened: at reuse: written to since
 * guard: by sampling
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    free(p);
    p[40] = 1;
    step("reuse");
    take_many(100);
}
