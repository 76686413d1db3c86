/* SPDX-License-Identifier: MIT
 * usable_freed.c - malloc_usable_size of a freed block.
 *
 * fault: malloc_usable_size of a freed block
 * default: at once: not a live slot
 * hardened: at once: not a live slot
 * guard: by sampling
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    free(p);
    step("now");
    (void)!malloc_usable_size(p);
}
