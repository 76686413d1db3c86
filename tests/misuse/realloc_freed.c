/* SPDX-License-Identifier: MIT
 * realloc_freed.c - realloc of a freed block.
 *
 * fault: realloc of a freed block
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
    (void)!realloc(p, 5000);
}
