/* SPDX-License-Identifier: MIT
 * usable_interior.c - malloc_usable_size of the middle of a block.
 *
 * fault: malloc_usable_size of the middle of a block
 * default: at once: not a live slot
 * hardened: at once: not a live slot
 * guard: by sampling
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(100));
    p += 16;
    step("now");
    (void)!malloc_usable_size(p);
}
