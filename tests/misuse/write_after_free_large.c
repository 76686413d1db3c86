/* SPDX-License-Identifier: MIT
 * write_after_free_large.c - a large block is written to after its free.
 *
 * fault: write after free of 1 MiB
 * default: no
 * hardened: at once
 * scudo: at once
 */
#include "misuse.h"

static void misuse(void)
{
    char *p = opaque(malloc(1 << 20));
    memset(p, 1, 1 << 20);
    free(p);
    step("now");
    p[5000] = 42;
}
