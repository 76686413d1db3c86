/* SPDX-License-Identifier: MIT
 * link_overwrite.c - the first word of a freed block, which holds its link, is
 * overwritten.
 *
 * fault: write to the first word after free
 * default: at reuse: written to since
 * hardened: at reuse: written to since
 * guard: by sampling
 * scudo: no
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    free(p);
    *(void **)p = opaque(&p);
    step("reuse");
    take_many(100);
}
